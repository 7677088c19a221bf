/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of existing EPT leaves: they are removed, split, merged, or get other rights or another
 * KeyID. The caller's lock keeps other writers out.
 */
#include "ept/ept.h"
#include "ept/ept_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"

/*
 * Replaces a leaf by a table of smaller leaves with the same attributes and the additional rights.
 */
static int split_leaf(struct ept_root *root, uint64_t *entry, unsigned level, uint64_t rights)
{
	uint64_t *table = ept_new_table(root);
	uint64_t old = entry_load(entry);

	if (table == NULL) {
		return ERR_NOMEM;
	}
	do { /* repeated if the CPU sets the accessed or dirty bit meanwhile */
		uint64_t first = level == 2 ? old & ~ENTRY_LARGE : old;

		for (unsigned i = 0; i < ENTRIES; i++) {
			table[i] = (first | rights) + i * level_bytes(level - 1);
		}
	} while (!__atomic_compare_exchange_n(entry, &old, pack_table(table), false,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	return 0;
}

/* Splits leaves until none crosses the address. */
static int split_at(struct ept_root *root, uint64_t at)
{
	uint64_t *table = page_va(root->pml4);

	for (unsigned level = LEVEL_TOP; !IS_ALIGNED(at, level_bytes(level)); level--) {
		uint64_t *entry = entry_of(table, at, level);
		uint64_t value = entry_load(entry);

		if ((value & ENTRY_RIGHTS) == 0) {
			return 0;
		}
		if (is_leaf(value, level)) {
			if (split_leaf(root, entry, level, 0) != 0) {
				return ERR_NOMEM;
			}
			value = entry_load(entry);
		}
		table = table_at(value);
	}
	return 0;
}

int ept_allow_exec(struct ept_root *root, gpa_t gpa)
{
	uint64_t *table = page_va(root->pml4);

	for (unsigned level = LEVEL_TOP;; level--) {
		uint64_t *entry = entry_of(table, gpa.v, level);
		uint64_t value = entry_load(entry);

		if ((value & ENTRY_RIGHTS) == 0) {
			return ERR_NOTFOUND;
		}
		if (level == 1) {
			(void)__atomic_fetch_or(entry, EPT_EXEC, __ATOMIC_RELEASE);
			return 0;
		}
		if (is_leaf(value, level)) {
			if (split_leaf(root, entry, level, level == 2 ? EPT_EXEC : 0) != 0) {
				return ERR_NOMEM;
			}
			value = entry_load(entry);
		}
		table = table_at(value);
	}
}

/* Removes the leaf at the address, if there is one. Returns the address at which to continue. */
static uint64_t clear_leaf(const struct ept_root *root, uint64_t at)
{
	uint64_t *entry;
	const uint64_t bytes = level_bytes(ept_find_entry(root, at, &entry));

	if (entry_load(entry) != 0) {
		/*
		 * An exchange, not a store: a store could lose a dirty bit that the CPU sets
		 * meanwhile.
		 */
		(void)__atomic_exchange_n(entry, 0, __ATOMIC_ACQ_REL);
	}
	return ALIGN_DOWN(at, bytes) + bytes;
}

int ept_unmap(struct ept_root *root, gpa_t gpa, uint64_t bytes)
{
	uint64_t end = gpa.v + bytes;

	if (!ept_range_is_valid(gpa.v, bytes, MIN(EPT_GPA_BITS, ept_caps()->phys_bits))) {
		return IS_ALIGNED(gpa.v | bytes, PAGE_SIZE) ? ERR_RANGE : ERR_INVAL;
	}
	/* Do all that can fail first; it changes no translation. */
	if (split_at(root, gpa.v) != 0 || split_at(root, end) != 0) {
		return ERR_NOMEM;
	}
	for (uint64_t at = gpa.v; at < end;) {
		at = clear_leaf(root, at);
	}
	return 0;
}

/* Do the leaves of a page directory map consecutive memory with the same attributes? */
static bool can_merge(const uint64_t *table)
{
	const uint64_t ignored = EPT_ACCESSED | EPT_DIRTY;
	const uint64_t first = entry_load(&table[0]) & ~ignored;

	if ((first & ENTRY_RIGHTS) == 0 || (first & ENTRY_LARGE) == 0 ||
	    !IS_ALIGNED(first & ept_address_mask, SIZE_1G)) {
		return false;
	}
	for (uint64_t i = 1; i < ENTRIES; i++) {
		if ((entry_load(&table[i]) & ~ignored) != first + i * SIZE_2M) {
			return false;
		}
	}
	return true;
}

int ept_merge_1g(struct ept_root *root, gpa_t gpa)
{
	uint64_t *table = page_va(root->pml4), *entry;
	uint64_t value, seen = 0;

	if (!ept_caps()->page_1g || !IS_ALIGNED(gpa.v, SIZE_1G)) {
		return ERR_INVAL;
	}
	value = entry_load(entry_of(table, gpa.v, LEVEL_TOP));
	if ((value & ENTRY_RIGHTS) == 0) {
		return ERR_INVAL;
	}
	entry = entry_of(table_at(value), gpa.v, 3);
	value = entry_load(entry);
	if ((value & ENTRY_RIGHTS) == 0 || is_leaf(value, 3) || !can_merge(table_at(value))) {
		return ERR_INVAL;
	}
	table = table_at(value);
	(void)__atomic_exchange_n(entry, 0, __ATOMIC_SEQ_CST);
	ept_tlb_shootdown(root);
	for (uint64_t i = 0; i < ENTRIES; i++) {
		seen |= entry_load(&table[i]) & (EPT_ACCESSED | EPT_DIRTY);
	}
	entry_store(entry, entry_load(&table[0]) | seen);
	ept_free_table(root, table);
	return 0;
}

int ept_split(struct ept_root *root, gpa_t gpa)
{
	return split_at(root, gpa.v);
}

void ept_set_keyid(struct ept_root *root, gpa_t gpa, keyid_t keyid)
{
	uint64_t *entry, old;

	(void)ept_find_entry(root, gpa.v, &entry);
	old = entry_load(entry);
	CHECK((old & ENTRY_RIGHTS) != 0);
	entry_store(entry, (old & ~keyid_layout.mask) | keyid_pack(keyed(hpa(0), keyid)));
}
