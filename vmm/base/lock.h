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

static inline void lock_drop(struct lock *l)
{
	__atomic_store_n(&l->owner, l->owner + 1, __ATOMIC_RELEASE);
}

#endif
