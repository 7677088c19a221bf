/* SPDX-License-Identifier: Apache-2.0 */
/* What a CPU does with an EPT, for programs whose threads are CPUs. Addresses are host-physical. */
#ifndef UMBRA_TEST_RACE_EPT_H
#define UMBRA_TEST_RACE_EPT_H

#include "ept/ept.h"

#define RACE_ADDRESS 0x3ffffffff000ul

enum { RACE_READ = 1, RACE_WRITE = 2, RACE_ACCESSED = 0x100, RACE_DIRTY = 0x200 };

/* The 4 KiB entry, or NULL when a table is missing. */
static inline uint64_t *race_walk(const struct ept_root *root, uint64_t at)
{
	uint64_t *table = (uint64_t *)root->pml4.v;

	for (int shift = 39; shift > 12; shift -= 9) {
		uint64_t entry = __atomic_load_n(&table[(at >> shift) & 511], __ATOMIC_ACQUIRE);

		if ((entry & 7) == 0) {
			return NULL;
		}
		table = (uint64_t *)(entry & RACE_ADDRESS);
	}
	return &table[(at >> 12) & 511];
}

/*
 * Sets bits in an entry if it allows the access, in one atomic step as the CPU does. Returns the
 * new entry, or 0 if it does not allow it.
 */
static inline uint64_t race_mark(uint64_t *entry, uint64_t access, uint64_t bits)
{
	uint64_t value = __atomic_load_n(entry, __ATOMIC_ACQUIRE);

	while ((value & access) != 0 &&
	       !__atomic_compare_exchange_n(entry, &value, value | bits, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE)) {
	}
	return (value & access) != 0 ? value : 0;
}

#endif
