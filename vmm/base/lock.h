/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ticket lock. The host runs with interrupts off except where it idles, so a lock needs no
 * interrupt handling of its own. A CPU that waits here is outside of guest mode and so needs no
 * answer to a TLB shoot-down (ept/ept_tlb.h): waiting cannot deadlock against one.
 */
#ifndef UMBRA_BASE_LOCK_H
#define UMBRA_BASE_LOCK_H

#include "vmm/base/types.h"

/*
 * All locks, in the order in which a CPU takes them: one that waits for a lock holds none of the
 * same rank or of a later one, so no circle of CPUs that wait for each other can form. Unit tests
 * and builds with CHECKS=1 fail on a lock that is taken out of order (lock_check_*). lock_try does
 * not wait, so its order is free; what is taken while such a lock is held has to follow the order.
 */
enum lock_rank {
	LOCK_NONE,
	/*
	 * A guest's access to a device. A virtio device moves its pin, which its bus has; the
	 * operations of a PCI function run under the lock of its bus.
	 */
	LOCK_VIRTIO,
	LOCK_PCI,
	LOCK_MSIX,
	LOCK_DEVICE,
	/* Devices write to the console, move a wire of the I/O APIC, and move their ranges. */
	LOCK_VCONSOLE,
	LOCK_IOAPIC,
	LOCK_IOBUS,
	LOCK_FILE, /* copied into guest memory */
	/* Guest memory, which devices use. A share is mapped on the fault of a member. */
	LOCK_GMEM,
	LOCK_SHARE,
	/* A page of another VM is evicted under this one alone, never under that VM's LOCK_GMEM. */
	LOCK_WINDOW,
	/* vCPUs come and go; a vCPU that leaves for good drops its CPU's translations. */
	LOCK_RUN_QUEUE,
	/* Keys are made, and pages encrypted, under what stands above. */
	LOCK_RNG,
	LOCK_CIPHER_SLOT,
	LOCK_WIPE, /* a slot's first use registers it */
	LOCK_WORK, /* the queue alone */
	/* Memory of the host: all above take some. The table of frames grows by pages. */
	LOCK_HOST_MAP,
	LOCK_FRAMES,
	LOCK_POOL,
	/* Anybody logs. Who has the devices writes what is queued. */
	LOCK_CONSOLE_DEVICE,
	LOCK_CONSOLE,
	LOCK_RANK_COUNT
};

struct lock {
	uint32_t next;
	uint32_t owner;
#ifdef UMBRA_CHECKS
	uint32_t rank; /* that it was taken with last */
#endif
};

#ifdef UMBRA_CHECKS
/*
 * lock_check.c, or tests/unit/fake_lock.c: this CPU is about to wait for the lock; it has the lock;
 * it gives it back. They panic, or fail the test, when the order is broken.
 */
void lock_check_wait(const struct lock *l, enum lock_rank rank);
void lock_check_taken(struct lock *l, enum lock_rank rank);
void lock_check_dropped(const struct lock *l);
#else
static inline void lock_check_wait(const struct lock *l, enum lock_rank rank)
{
}

static inline void lock_check_taken(struct lock *l, enum lock_rank rank)
{
}

static inline void lock_check_dropped(const struct lock *l)
{
}
#endif

static inline void lock_take(struct lock *l, enum lock_rank rank)
{
	uint32_t ticket;

	lock_check_wait(l, rank);
	ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket) {
		__builtin_ia32_pause();
	}
	lock_check_taken(l, rank);
}

/* True when nobody had it, and now the caller has. */
static inline bool lock_try(struct lock *l, enum lock_rank rank)
{
	/* Acquires what lock_drop released: the last one to have it dropped it by this number. */
	uint32_t ticket = __atomic_load_n(&l->owner, __ATOMIC_ACQUIRE);
	bool taken = __atomic_compare_exchange_n(&l->next, &ticket, ticket + 1, false,
						 __ATOMIC_RELAXED, __ATOMIC_RELAXED);

	if (taken) {
		lock_check_taken(l, rank);
	}
	return taken;
}

static inline void lock_drop(struct lock *l)
{
	lock_check_dropped(l);
	__atomic_store_n(&l->owner, l->owner + 1, __ATOMIC_RELEASE);
}

#endif
