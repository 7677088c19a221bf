/* SPDX-License-Identifier: Apache-2.0 */
/* Memory type range registers: the same on every CPU (SDM vol. 3, "MTRRs in MP Systems"). */
#ifndef UMBRA_BASE_MTRR_H
#define UMBRA_BASE_MTRR_H

#include "vmm/base/types.h"

/* Remembers the MTRRs of this CPU, the BSP. Once. */
void mtrr_capture(void);

/* Loads what was captured if this CPU has anything else; returns whether. Interrupts off. */
bool mtrr_match_this_cpu(void);

#endif
