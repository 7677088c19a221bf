/* SPDX-License-Identifier: Apache-2.0 */
/* Memory type range registers: the same on every CPU (SDM vol. 3, "MTRRs in MP Systems"). */
#ifndef UMBRA_BASE_MTRR_H
#define UMBRA_BASE_MTRR_H

#include "vmm/base/types.h"

/* Remembers the MTRRs of this CPU, the BSP. Once. */
void mtrr_capture(void);

/*
 * For addresses with KeyIDs: lets no variable range depend on these address bits, in what was
 * captured. false, and nothing is changed, when a range lies where one of them is set. Every CPU
 * is to call mtrr_match_this_cpu after it. Firmware that knows of KeyIDs has done so already
 * (336907, "MTRRs"). BSP.
 */
bool mtrr_free_bits(uint64_t bits);

/* Loads what was captured if this CPU has anything else; returns whether. Interrupts off. */
bool mtrr_match_this_cpu(void);

#endif
