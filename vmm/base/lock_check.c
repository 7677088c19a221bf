/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks the order of locks (lock.h) while the machine runs, in builds with CHECKS=1. Each CPU
 * keeps a bit for each rank that it holds. Nothing is checked before the boot processor has its
 * block, nor when the machine ends and locks are broken on purpose.
 */
#include "vmm/base/lock.h"

#include "vmm/base/panic.h"
#include "vmm/base/percpu.h"

static ATOMIC(bool) stopped;
_Static_assert(LOCK_RANK_COUNT <= 64, "a bit for each rank");

/* This CPU's bits, or NULL when nothing is checked. */
static uint64_t *held_here(void)
{
	const bool checked = percpu_count() != 0 && !atomic_load_relaxed(&stopped);

	return checked ? &percpu_self()->locks_held : NULL;
}

void lock_check_wait(const struct lock *l, enum lock_rank rank)
{
	const uint64_t *held = held_here();

	if (held != NULL && *held >> rank != 0) {
		panic("a lock of rank %u is wanted while this CPU holds the ranks %#lx", rank,
		      *held);
	}
}

void lock_check_taken(struct lock *l, enum lock_rank rank)
{
	uint64_t *held = held_here();

	l->rank = rank;
	if (held != NULL) {
		*held |= BIT(rank);
	}
}

void lock_check_dropped(const struct lock *l)
{
	uint64_t *held = held_here();

	if (held != NULL) {
		*held &= ~BIT(l->rank);
	}
}

void lock_check_stop(void)
{
	atomic_store_relaxed(&stopped, true);
}
