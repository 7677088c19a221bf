/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps one TSC for the whole machine. Deadlines are set on one CPU and read on another, vCPUs move
 * between CPUs, and a guest's vCPUs compare their clocks: if one TSC is behind another, time goes
 * backwards. So each CPU's TSC is compared with the boot processor's when the CPU starts, and
 * corrected; after that the hardware keeps them in step (SDM vol. 3, "Invariant TSC"). A CPU whose
 * TSC cannot be corrected is left out. That costs one CPU of a broken machine; an offset for each
 * CPU would make every read of the clock slower on every machine.
 */
#ifndef UMBRA_HOST_TSC_SYNC_H
#define UMBRA_HOST_TSC_SYNC_H

#include "vmm/base/types.h"

enum tsc_sync {
	TSC_SYNC_GOOD,	    /* the difference is too small to be observed */
	TSC_SYNC_CORRECTED, /* the TSC was wrong and is now right */
	/* The TSC cannot be corrected (it may not keep a value), or the CPU does not answer. */
	TSC_SYNC_APART,
};

/*
 * Compares and corrects an AP's TSC. Boot processor, while one AP is in tsc_sync_answer. *ahead is
 * the number of ticks by which the AP's TSC was ahead of the boot processor's; negative when
 * behind, 0 when good. Takes a thousand to a few thousand round trips between the CPUs. Gives up
 * when the AP does not answer for 100 ms. No lock.
 */
enum tsc_sync tsc_sync_ask(int64_t *ahead);

/*
 * The AP's side: returns when tsc_sync_ask has finished. Returns false for TSC_SYNC_APART.
 * Interrupts off.
 */
bool tsc_sync_answer(void);

#endif
