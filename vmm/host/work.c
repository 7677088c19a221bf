/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of works. A CPU that does a step has removed the work from the queue, so no other CPU can
 * do the same work. The lock is held only for changes of the queue.
 */
#include "vmm/host/work.h"

#include "vmm/base/atomic.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"
#include "vmm/host/smp.h"

static struct lock lock;
static ATOMIC(struct work *) first; /* work_waits takes no lock */
static struct work *last;

void work_add(struct work *work)
{
	work->next = NULL;
	lock_take(&lock, LOCK_WORK);
	if (!work_waits()) {
		atomic_store_relaxed(&first, work);
	} else {
		last->next = work;
	}
	last = work;
	lock_drop(&lock);
}

/* Called under the lock. before is the work in front of `work`, or NULL. */
static void take_out(struct work *before, const struct work *work)
{
	if (before == NULL) {
		atomic_store_relaxed(&first, work->next);
	} else {
		before->next = work->next;
	}
	if (last == work) {
		last = before;
	}
}

bool work_take_back(struct work *work)
{
	struct work *before = NULL, *at;

	lock_take(&lock, LOCK_WORK);
	for (at = atomic_load_relaxed(&first); at != NULL && at != work; at = at->next) {
		before = at;
	}
	if (at != NULL) {
		take_out(before, at);
	}
	lock_drop(&lock);
	return at != NULL;
}

bool work_waits(void)
{
	return atomic_load_relaxed(&first) != NULL;
}

bool work_some(void)
{
	struct work *work;

	if (!work_waits()) {
		return false;
	}
	lock_take(&lock, LOCK_WORK);
	work = atomic_load_relaxed(&first);
	if (work != NULL) {
		take_out(NULL, work);
	}
	lock_drop(&lock);
	if (work == NULL) {
		return false;
	}
	if (work->step(work->context)) {
		work_add(work);
	} else if (percpu_self()->index != 0) {
		smp_kick(0);
	}
	return true;
}
