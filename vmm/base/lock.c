/* SPDX-License-Identifier: Apache-2.0 */
/* The wait for a lock. It is not inline (lock.h), to keep the code of each lock_take short. */
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
