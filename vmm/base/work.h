/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that waits for nobody and may take long: zeroing what a VM left, loading a kernel. It is
 * done in steps, each by whichever CPU has nothing better to do. The boot processor gives it out.
 */
#ifndef UMBRA_BASE_WORK_H
#define UMBRA_BASE_WORK_H

#include "vmm/base/types.h"

/* Its owner's, who leaves it alone from work_add on until step says that it was the last. */
struct work {
	struct work *next;
	/*
	 * A step, of a millisecond at most: interrupts are off. Any CPU, one at a time, no lock
	 * held. False: it was the last; the structure is not touched any more, and may be gone.
	 */
	bool (*step)(void *context);
	void *context;
};

/* Behind what waits already. Any CPU. */
void work_add(struct work *work);

/*
 * Back to its owner between two steps; work_add lets it go on. False: it does not wait, for a CPU
 * is at a step of it, or was at its last. Any CPU.
 */
bool work_take_back(struct work *work);

/* Is there any that no CPU is at? A moment's reading. */
bool work_waits(void);

/*
 * Does a step of what has waited longest. False: nothing waits. After the last step of a work the
 * boot processor is kicked, for it looks after what comes next. Any CPU, interrupts off, no lock
 * held.
 */
bool work_some(void);

#endif
