/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TSC for the whole machine. Deadlines are set on one CPU and read on another, vCPUs move, and
 * a guest's vCPUs compare their clocks: a TSC that is behind another one shows time that goes back.
 * So each CPU is compared with the boot processor as it starts, and corrected; the hardware then
 * keeps them together (SDM vol. 3, "Invariant TSC"). A CPU that cannot be corrected is left out:
 * that costs one CPU of a machine that is broken, where offsets for each CPU would cost every read
 * of the clock on every machine.
 */
#ifndef UMBRA_BASE_TSC_SYNC_H
#define UMBRA_BASE_TSC_SYNC_H

#include "vmm/base/types.h"

enum tsc_sync {
	TSC_SYNC_GOOD,	    /* nobody can see a difference */
	TSC_SYNC_CORRECTED, /* now */
	TSC_SYNC_APART,	    /* it does not stay where it was put, or does not answer */
};

/*
 * Boot processor, while one AP is in tsc_sync_answer: compares and corrects. *ahead is by how many
 * ticks the AP's TSC was found before the boot processor's, negative when behind; 0 when good.
 * Takes a thousand round trips between the CPUs, or a few thousand; an AP that does not answer for
 * 100 ms is given up. No lock.
 */
enum tsc_sync tsc_sync_ask(int64_t *ahead);

/* The AP's side, interrupts off: returns when tsc_sync_ask is through. False: it is apart. */
bool tsc_sync_answer(void);

#endif
