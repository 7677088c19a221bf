/* SPDX-License-Identifier: Apache-2.0 */
/* A CPU waits for a lock, and counts the time. Apart from lock.h, so that each use is short. */
#include "vmm/base/lock.h"

#include "vmm/base/waits.h"

void lock_wait(const struct lock *l, uint32_t ticket, enum lock_rank rank)
{
	const uint64_t began = waits_begin();

	do {
		__builtin_ia32_pause();
	} while (atomic_load_acquire(&l->owner) != ticket);
	waits_end(rank == LOCK_WINDOW ? WAIT_WINDOW
		  : rank == LOCK_GMEM ? WAIT_MEMORY
				      : WAIT_LOCK,
		  began);
}
