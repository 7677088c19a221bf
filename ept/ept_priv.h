/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of EPT paging structures, for ept.c and ept_leaf.c. Levels count from the leaves: 1 is
 * the page table (4 KiB), 2 the page directory (2 MiB), 3 the page-directory-pointer table (1 GiB),
 * 4 the PML4. The caller's lock keeps other writers out. The CPU itself sets accessed and dirty
 * bits at any time, so only atomic operations change an entry that was present.
 *
 * Every absent entry is 0. No table is freed while its root lives, because a CPU may have its
 * address in its paging-structure caches.
 */
#ifndef UMBRA_EPT_EPT_PRIV_H
#define UMBRA_EPT_EPT_PRIV_H

#include "ept/ept.h"
#include "vmm/host/page_alloc.h"

/* SDM vol. 3, "EPT Paging Structures". */
#define ENTRY_RIGHTS	 MASK(2, 0) /* 0: not present */
#define ENTRY_TYPE_SHIFT 3
#define ENTRY_TYPE	 MASK(5, 3)
#define ENTRY_IGNORE_PAT BIT(6)
#define ENTRY_LARGE	 BIT(7)

#define LEVEL_TOP 4
#define ENTRIES	  512

/* Bits PHYS_BITS-1:12, including the KeyID; the bits above are reserved. Set by ept_configure. */
extern uint64_t ept_address_mask;

static inline unsigned level_shift(unsigned level)
{
	return PAGE_SHIFT + 9 * (level - 1);
}

static inline uint64_t level_bytes(unsigned level)
{
	return 1ul << level_shift(level);
}

static inline uint64_t *entry_of(uint64_t *table, uint64_t at, unsigned level)
{
	return &table[(at >> level_shift(level)) % ENTRIES];
}

static inline uint64_t entry_load(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_RELAXED);
}

/* Release: the content of a table, or the zeros in a page, become visible before the entry. */
static inline void entry_store(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

static inline bool is_leaf(uint64_t entry, unsigned level)
{
	return level == 1 || (entry & ENTRY_LARGE) != 0;
}

/* The entry is one of ours, and host pages are mapped one to one (page_alloc.h). */
static inline uint64_t *table_at(uint64_t entry)
{
	return (uint64_t *)(uintptr_t)(entry & ept_address_mask & ~keyid_layout.mask);
}

/* A table allows everything; the leaves decide. */
static inline uint64_t pack_table(const void *table)
{
	return page_hpa(table).v | EPT_RWX;
}

/* Page-aligned, not empty, no wrap-around, below 2^bits. */
static inline bool ept_range_is_valid(uint64_t at, uint64_t bytes, unsigned bits)
{
	uint64_t end;

	return bytes != 0 && IS_ALIGNED(at | bytes, PAGE_SIZE) &&
	       !__builtin_add_overflow(at, bytes, &end) && end <= 1ul << bits;
}

/* A zeroed table, from the pages that the root has set aside if there are any. NULL: no memory. */
void *ept_new_table(struct ept_root *root);
/* For a live root: the page is set aside again, because the root may need the table later. */
void ept_free_table(struct ept_root *root, void *table);

/*
 * Finds the entry that maps the address, or the highest absent entry on the way. Returns its level.
 */
unsigned ept_find_entry(const struct ept_root *root, uint64_t at, uint64_t **entry);

#endif
