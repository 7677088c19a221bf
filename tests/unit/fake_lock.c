/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In place of vmm/base/lock_check.c and lock.c: fails a test that takes a lock out of order. Needs
 * no other fake, because races link it too; there each thread is a CPU, else fake_cpus.c says which
 * CPU runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_base.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"

#pragma weak fake_cpu

static _Thread_local uint64_t held_by[CPU_MAX];
void (*fake_lock_drop_hook)(const struct lock *l);

/* As vmm/base/lock.c, without counting. */
void lock_wait(const struct lock *l, uint32_t ticket, enum lock_rank rank)
{
	do {
		__builtin_ia32_pause();
	} while (atomic_load_acquire(&l->owner) != ticket);
}

void fake_lock_reset(void)
{
	memset(held_by, 0, sizeof(held_by));
}

static uint64_t *held_here(void)
{
	return &held_by[fake_cpu != NULL ? fake_cpu() : 0];
}

static void fail(const char *what, unsigned rank)
{
	fprintf(stderr, "lock of rank %u (enum lock_rank): %s; held: %#lx\n", rank, what,
		*held_here());
	abort();
}

void lock_check_wait(const struct lock *l, enum lock_rank rank)
{
	if (*held_here() >> rank != 0) {
		fail("taken while one of this rank or a later one is held", rank);
	}
}

void lock_check_taken(struct lock *l, enum lock_rank rank)
{
	if (l->rank != LOCK_NONE && l->rank != rank) {
		fail("it had another rank before", rank);
	}
	l->rank = rank;
	*held_here() |= BIT(rank);
}

void lock_check_stop(void)
{
}

void lock_check_dropped(const struct lock *l)
{
	if ((*held_here() & BIT(l->rank)) == 0) {
		fail("given back by a CPU that has not got it", l->rank);
	}
	*held_here() &= ~BIT(l->rank);
	if (fake_lock_drop_hook != NULL) {
		fake_lock_drop_hook(l);
	}
}
