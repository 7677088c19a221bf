/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long work that is not urgent: zeroing the memory of a VM that ended, loading a kernel. A work
 * consists of short steps. Any idle CPU does the next step.
 */
#ifndef UMBRA_HOST_WORK_H
#define UMBRA_HOST_WORK_H

#include "vmm/base/types.h"

/*
 * The owner allocates this structure. After work_add it must not touch it until the last step is
 * done, or until work_take_back has returned true.
 */
struct work {
	struct work *next;
	/*
	 * Does one step, which takes a millisecond at most because interrupts are off. Runs on any
	 * CPU, but on one at a time, with no lock held. Returns false after the last step: the
	 * structure is not touched any more, so the step may have freed it.
	 */
	bool (*step)(void *context);
	void *context;
};

/* Appends the work to the queue. Any CPU. */
void work_add(struct work *work);

/*
 * Takes a work out of the queue, between two steps; a later work_add continues it. Returns false
 * when the work is not in the queue: a CPU is doing a step, or has done the last. Any CPU.
 */
bool work_take_back(struct work *work);

/* Is there work that no CPU is doing? The answer may be out of date at once. Any CPU, no lock. */
bool work_waits(void);

/*
 * Does one step of the work that has waited longest. Returns false when no work waits. After the
 * last step of a work it kicks the boot processor, which starts what follows. Any CPU, interrupts
 * off, no lock held.
 */
bool work_some(void);

#endif
