/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory type range registers. They must be the same on every CPU (SDM vol. 3, "MTRRs in MP
 * Systems").
 */
#ifndef UMBRA_HOST_MTRR_H
#define UMBRA_HOST_MTRR_H

#include "vmm/base/types.h"

/* Stores the MTRR values of this CPU, the BSP. Once. */
void mtrr_capture(void);

/*
 * Prepares the stored values for addresses with KeyIDs: changes the mask of each variable range so
 * that it ignores these address bits. Returns false and changes nothing when a range lies where one
 * of the bits is set. Call mtrr_match_this_cpu on every CPU afterwards. Firmware that supports
 * KeyIDs has set the masks so already (336907, "MTRRs"). BSP.
 */
bool mtrr_free_bits(uint64_t bits);

/* Loads the stored values if this CPU's differ. Returns whether they differed. Interrupts off. */
bool mtrr_match_this_cpu(void);

#endif
