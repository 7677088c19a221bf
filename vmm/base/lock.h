/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ticket lock. The host runs with interrupts off except where it idles, so a lock needs no
 * interrupt handling of its own. A CPU that waits here is outside of guest mode and so needs no
 * answer to a TLB shoot-down (ept/ept_tlb.h): waiting cannot deadlock against one.
 */
#ifndef UMBRA_BASE_LOCK_H
#define UMBRA_BASE_LOCK_H

#include "vmm/base/types.h"

struct lock {
	uint32_t next;
	uint32_t owner;
};

static inline void lock_take(struct lock *l)
{
	uint32_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

	while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket) {
		__builtin_ia32_pause();
	}
}

/* True when nobody had it, and now the caller has. */
static inline bool lock_try(struct lock *l)
{
	/* Acquires what lock_drop released: the last one to have it dropped it by this number. */
	uint32_t ticket = __atomic_load_n(&l->owner, __ATOMIC_ACQUIRE);

	return __atomic_compare_exchange_n(&l->next, &ticket, ticket + 1, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED);
}

static inline void lock_drop(struct lock *l)
{
	__atomic_store_n(&l->owner, l->owner + 1, __ATOMIC_RELEASE);
}

#endif
