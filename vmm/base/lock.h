/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ticket lock. The host runs with interrupts off except where it idles, so a lock needs no
 * interrupt handling of its own. A CPU that waits here is outside of guest mode and so needs no
 * answer to a TLB shoot-down (ept/ept_tlb.h): waiting cannot deadlock against one.
 */
#ifndef UMBRA_BASE_LOCK_H
#define UMBRA_BASE_LOCK_H

#include "vmm/base/atomic.h"
#include "vmm/base/types.h"

/*
 * All locks, in the order in which a CPU takes them: a CPU that waits for a lock holds no lock of
 * the same rank or of a later one, so CPUs cannot wait for each other in a circle. Unit tests and
 * builds with CHECKS=1 fail on a lock that is taken out of order (lock_check_*). lock_try does not
 * wait, so it may be called in any order; locks that are taken while such a lock is held must
 * follow the order.
 */
enum lock_rank {
	LOCK_NONE,
	LOCK_NET, /* the ports of a virtual switch */
	/* A VM rings the doorbell of another VM; the device there moves its pin or sends an MSI. */
	LOCK_DOORBELL,
	/*
	 * For a guest's access to a device. A virtio device raises its interrupt pin under the lock
	 * of its bus' lines. The operations of a PCI function run under the lock of its bus.
	 */
	LOCK_VIRTIO,
	LOCK_PCI,
	LOCK_PCI_LINE,
	LOCK_MSIX,
	LOCK_DEVICE,
	/*
	 * A device that holds one of the locks above writes to the console, raises a pin of the I/O
	 * APIC, or moves its I/O ranges.
	 */
	LOCK_VCONSOLE,
	LOCK_IOAPIC,
	LOCK_IOBUS,
	/* Guest memory, which devices use. A page fault of a member VM maps a page of a share. */
	LOCK_GMEM,
	LOCK_SHARE,
	/* Held without that VM's LOCK_GMEM when a page of another VM is evicted. */
	LOCK_WINDOW,
	/*
	 * Guards vCPUs that come and go. A vCPU that leaves for good flushes its CPU's
	 * translations.
	 */
	LOCK_RUN_QUEUE,
	/* Code that makes keys or encrypts pages may hold any of the locks above. */
	LOCK_RNG,
	LOCK_CIPHER_SLOT,
	LOCK_WIPE, /* the first use of a slot registers it for wiping */
	LOCK_WORK, /* held only for changes of the queue */
	/*
	 * Host memory. Code under any lock above may allocate; the table of frames grows by host
	 * pages.
	 */
	LOCK_HOST_MAP,
	LOCK_FRAMES,
	LOCK_POOL,
	/*
	 * Code under any lock may log. The CPU that has LOCK_CONSOLE_DEVICE outputs what is queued.
	 */
	LOCK_CONSOLE_DEVICE,
	LOCK_CONSOLE,
	LOCK_RANK_COUNT
};

struct lock {
	ATOMIC(uint32_t) next, owner;
#ifdef UMBRA_CHECKS
	uint32_t rank; /* the rank of the last lock_take */
#endif
};

#ifdef UMBRA_CHECKS
/*
 * Called when this CPU is about to wait for the lock, has taken it, and is about to release it.
 * lock_check.c panics, and tests/unit/fake_lock.c fails the test, when the order is broken.
 */
void lock_check_wait(const struct lock *l, enum lock_rank rank);
void lock_check_taken(struct lock *l, enum lock_rank rank);
void lock_check_dropped(const struct lock *l);
/* From now on nothing is checked: the machine ends, and locks are broken on purpose. Any CPU. */
void lock_check_stop(void);
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

static inline void lock_check_stop(void)
{
}
#endif

/*
 * For lock_take only: waits until it is this ticket's turn, and counts the time (waits.h).
 * lock_wait itself saves every register that it uses, and the asm statement hides the call from the
 * compiler: so code that finds the lock free saves no registers for a call. Host tests call it as
 * an ordinary function, because their code uses vector registers, which it could not save.
 */
#ifdef UMBRA_HOST_TEST
void lock_wait(const struct lock *l, uint32_t ticket, enum lock_rank rank);
#define lock_call_wait lock_wait
#else
void lock_wait(const struct lock *l, uint32_t ticket, enum lock_rank rank)
	__attribute__((no_caller_saved_registers));
static inline void lock_call_wait(const struct lock *l, uint32_t ticket, enum lock_rank rank)
{
	__asm__ volatile("call lock_wait" : : "D"(l), "S"(ticket), "d"(rank) : "memory", "cc");
}
#endif

static inline void lock_take(struct lock *l, enum lock_rank rank)
{
	uint32_t ticket;

	lock_check_wait(l, rank);
	ticket = atomic_add(&l->next, 1);
	if (__builtin_expect(atomic_load_acquire(&l->owner) != ticket, 0)) {
		lock_call_wait(l, ticket, rank);
	}
	lock_check_taken(l, rank);
}

/* Takes the lock and returns true if it is free; else returns false at once. */
static inline bool lock_try(struct lock *l, enum lock_rank rank)
{
	/*
	 * The acquire load pairs with the release in lock_drop, by which the last holder stored
	 * this number.
	 */
	uint32_t ticket = atomic_load_acquire(&l->owner);
	bool taken = atomic_cas(&l->next, &ticket, ticket + 1);

	if (taken) {
		lock_check_taken(l, rank);
	}
	return taken;
}

static inline void lock_drop(struct lock *l)
{
	lock_check_dropped(l);
	atomic_store_release(&l->owner, atomic_load_relaxed(&l->owner) + 1);
}

#endif
