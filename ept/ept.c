/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EPT paging structures: roots, tables, mapping and walks. Changes of existing leaves are in
 * ept_leaf.c; ept_priv.h explains entries and levels.
 */
#include "ept/ept.h"

#include "ept/ept_priv.h"
#include "vmm/base/err.h"
#include "vmm/host/page_alloc.h"

/* SDM vol. 3, "Extended-Page-Table Pointer (EPTP)". */
#define EPTP_WALK_4	    (3u << 3)
#define EPTP_ACCESSED_DIRTY BIT(6)

static struct ept_caps offered;
uint64_t ept_used_bits, ept_written_bits;
uint64_t ept_address_mask;

static uint64_t pack_leaf(hpa_t frame, struct ept_attr attr, unsigned level)
{
	uint8_t access = attr.access;

	if (level > 1 && offered.no_large_exec) {
		access &= (uint8_t)~EPT_EXEC;
	}
	return keyid_pack(keyed(frame, attr.keyid)) | access |
	       (uint64_t)attr.memtype << ENTRY_TYPE_SHIFT |
	       (attr.ignore_pat ? ENTRY_IGNORE_PAT : 0) | (level > 1 ? ENTRY_LARGE : 0);
}

static struct ept_attr unpack_leaf(uint64_t entry)
{
	return (struct ept_attr){
		.access = (uint8_t)(entry & ENTRY_RIGHTS),
		.memtype = (uint8_t)((entry & ENTRY_TYPE) >> ENTRY_TYPE_SHIFT),
		.ignore_pat = (entry & ENTRY_IGNORE_PAT) != 0,
		.keyid = keyid_unpack(entry & ept_address_mask).keyid,
	};
}

void ept_configure(const struct ept_caps *caps)
{
	offered = *caps;
	ept_used_bits = caps->accessed_dirty ? EPT_ACCESSED : 0;
	ept_written_bits = caps->accessed_dirty ? EPT_DIRTY : EPT_WRITE;
	ept_address_mask = MASK(MIN(caps->phys_bits, 52) - 1, PAGE_SHIFT);
}

const struct ept_caps *ept_caps(void)
{
	return &offered;
}

int ept_root_init(struct ept_root *root)
{
	void *table = page_alloc(1);

	if (table == NULL) {
		return ERR_NOMEM;
	}
	/*
	 * No CPU has seen generation 1 of this root. So the first entry on each CPU flushes
	 * translations that an earlier root in the same page left.
	 */
	*root = (struct ept_root){ .pml4 = page_hpa(table), .generation = { 1 } };
	root->eptp = root->pml4.v | EPTP_WALK_4 |
		     (offered.structures_wb ? EPT_MEMTYPE_WB : EPT_MEMTYPE_UC) |
		     (offered.accessed_dirty ? EPTP_ACCESSED_DIRTY : 0);
	return 0;
}

int ept_reserve_tables(struct ept_root *root, uint64_t count)
{
	if (!page_reserve(count)) {
		return ERR_NOMEM;
	}
	root->reserved += count;
	root->reserves = true;
	return 0;
}

int ept_reserve(struct ept_root *root, gpa_t gpa, uint64_t bytes, uint64_t leaf)
{
	const uint64_t last = gpa.v + bytes - 1;
	uint64_t count = 0;

	for (unsigned level = leaf == PAGE_SIZE ? 2 : 3; level <= LEVEL_TOP; level++) {
		count += last / level_bytes(level) - gpa.v / level_bytes(level) + 1;
	}
	return ept_reserve_tables(root, count);
}

int ept_reserve_split(struct ept_root *root)
{
	return root->reserved != 0 ? 0 : ept_reserve_tables(root, 1);
}

void *ept_new_table(struct ept_root *root)
{
	if (root->reserved == 0) {
		return page_alloc(1);
	}
	root->reserved--;
	return page_alloc_reserved();
}

void ept_free_table(struct ept_root *root, void *table)
{
	if (root->reserves) {
		page_free_reserved(table);
		root->reserved++;
	} else {
		page_free(table, 1);
	}
}

/* Returns false when *budget tables were freed and more are left; these form a smaller tree. */
static bool free_tables(uint64_t *table, unsigned level, size_t *budget)
{
	for (unsigned i = 0; level > 1 && i < ENTRIES; i++) {
		if ((table[i] & ENTRY_RIGHTS) == 0 || is_leaf(table[i], level)) {
			continue;
		}
		if (!free_tables(table_at(table[i]), level - 1, budget)) {
			return false;
		}
		table[i] = 0;
	}
	if (*budget == 0) {
		return false;
	}
	*budget -= 1;
	page_free(table, 1);
	return true;
}

bool ept_root_free_some(struct ept_root *root, size_t tables)
{
	if (root->pml4.v != 0 && !free_tables(page_va(root->pml4), LEVEL_TOP, &tables)) {
		return false;
	}
	page_unreserve(root->reserved);
	root->reserved = 0;
	root->pml4 = hpa(0);
	root->eptp = 0;
	return true;
}

void ept_root_free(struct ept_root *root)
{
	(void)ept_root_free_some(root, SIZE_MAX);
}

/* SDM vol. 3, "EPT Misconfigurations": combinations that an entry must not have. */
static bool attr_is_valid(struct ept_attr attr)
{
	bool read = (attr.access & EPT_READ) != 0;
	bool type_ok = attr.memtype == EPT_MEMTYPE_UC || attr.memtype == EPT_MEMTYPE_WC ||
		       attr.memtype == EPT_MEMTYPE_WT || attr.memtype == EPT_MEMTYPE_WP ||
		       attr.memtype == EPT_MEMTYPE_WB;
	bool access_ok = read || (attr.access == EPT_EXEC && offered.exec_only &&
				  !offered.no_large_exec); /* it could not execute */

	return type_ok && access_ok && (attr.access & ~EPT_RWX) == 0;
}

/*
 * The level of the largest leaf for an address. `bits` is the OR of all addresses that must be
 * aligned.
 */
static unsigned largest_level(uint64_t bits, uint64_t bytes, uint64_t max_leaf)
{
	uint64_t limit = MIN(bytes, max_leaf);

	if (limit >= SIZE_1G && offered.page_1g && IS_ALIGNED(bits, SIZE_1G)) {
		return 3;
	}
	if (limit >= SIZE_2M && offered.page_2m && IS_ALIGNED(bits, SIZE_2M)) {
		return 2;
	}
	return 1;
}

/*
 * Finds the empty entry where a leaf of at most `level` for `at` belongs, and makes the tables
 * above it. The leaf is smaller where a table exists already, even an empty one. Returns its
 * level, or ERR_*.
 */
static int find_slot(struct ept_root *root, uint64_t at, unsigned level, uint64_t **slot)
{
	uint64_t *table = page_va(root->pml4);

	for (unsigned here = LEVEL_TOP;; here--) {
		uint64_t *entry = entry_of(table, at, here);
		uint64_t value = entry_load(entry);

		if ((value & ENTRY_RIGHTS) == 0) {
			if (here <= level) {
				*slot = entry;
				return (int)here;
			}
			table = ept_new_table(root);
			if (table == NULL) {
				return ERR_NOMEM;
			}
			entry_store(entry, pack_table(table));
		} else if (is_leaf(value, here)) {
			return ERR_EXISTS;
		} else {
			table = table_at(value);
		}
	}
}

static int check_map(gpa_t gpa, hpa_t hpa, uint64_t bytes, struct ept_attr attr)
{
	if (!attr_is_valid(attr) || !IS_ALIGNED(gpa.v | hpa.v | bytes, PAGE_SIZE)) {
		return ERR_INVAL;
	}
	if (!ept_range_is_valid(gpa.v, bytes, MIN(EPT_GPA_BITS, offered.phys_bits)) ||
	    !ept_range_is_valid(hpa.v, bytes, MIN(keyid_layout.shift, offered.phys_bits)) ||
	    keyid_unpack(keyid_pack(keyed(hpa, attr.keyid))).keyid != attr.keyid) {
		return ERR_RANGE;
	}
	return 0;
}

static void visit(const uint64_t *table, unsigned level,
		  void (*fn)(void *context, struct keyed_frame page, uint64_t bytes), void *context)
{
	for (unsigned i = 0; i < ENTRIES; i++) {
		const uint64_t value = entry_load(&table[i]);

		if ((value & ENTRY_RIGHTS) == 0) {
			continue;
		}
		if (is_leaf(value, level)) {
			fn(context,
			   keyid_unpack(value & ept_address_mask & ~(level_bytes(level) - 1)),
			   level_bytes(level));
		} else {
			visit(table_at(value), level - 1, fn, context);
		}
	}
}

void ept_visit(const struct ept_root *root,
	       void (*fn)(void *context, struct keyed_frame page, uint64_t bytes), void *context)
{
	visit(page_va(root->pml4), LEVEL_TOP, fn, context);
}

/*
 * Goes on to the next table on the way to an address. Returns false if there is none. mask is
 * table_mask(). An entry that refers to a table has all rights (pack_table), and is not large.
 */
static inline __attribute__((always_inline)) bool next_table(uint64_t **table, uint64_t at,
							     unsigned level, uint64_t mask)
{
	const uint64_t value = entry_load(entry_of(*table, at, level)) ^ EPT_RWX;

	*table = (uint64_t *)(uintptr_t)(value & mask);
	return (value & (ENTRY_RIGHTS | ENTRY_LARGE)) == 0;
}

/* Masks an entry to the table's virtual address: without KeyID and flags. */
static inline uint64_t table_mask(void)
{
	return ~(keyid_layout.mask | (PAGE_SIZE - 1));
}

/* On the path of every fault: as few instructions as possible. */
static inline __attribute__((always_inline)) uint64_t *page_entry(const struct ept_root *root,
								  gpa_t gpa)
{
	const uint64_t mask = table_mask();
	uint64_t *table = (uint64_t *)(uintptr_t)(root->pml4.v & mask);

	return next_table(&table, gpa.v, 4, mask) && next_table(&table, gpa.v, 3, mask) &&
			       next_table(&table, gpa.v, 2, mask)
		       ? entry_of(table, gpa.v, 1)
		       : NULL;
}

uint64_t *ept_page_entry(const struct ept_root *root, gpa_t gpa)
{
	return page_entry(root, gpa);
}

static __attribute__((noinline)) int make_entry(struct ept_root *root, gpa_t gpa, uint64_t **entry)
{
	return MIN(find_slot(root, gpa.v, 1, entry), 0);
}

int ept_make_entry(struct ept_root *root, gpa_t gpa, uint64_t **entry)
{
	*entry = page_entry(root, gpa);
	return __builtin_expect(*entry != NULL, 1) ? 0 : make_entry(root, gpa, entry);
}

uint64_t *ept_entry_behind(uint64_t *entry, uint64_t pages)
{
	return (uintptr_t)entry % PAGE_SIZE / sizeof(*entry) + pages < ENTRIES ? entry + pages
									       : NULL;
}

bool ept_entry_maps(const uint64_t *entry, struct keyed_frame page)
{
	const uint64_t value = entry_load(entry);

	return (value & ENTRY_RIGHTS) != 0 && (value & ept_address_mask) == keyid_pack(page);
}

int ept_map(struct ept_root *root, gpa_t gpa, hpa_t hpa, uint64_t bytes, uint64_t max_leaf,
	    struct ept_attr attr)
{
	uint64_t at, *slot = NULL;
	int level = 0, err = check_map(gpa, hpa, bytes, attr);

	if (err != 0) {
		return err;
	}
	/* The first round does all that can fail. It leaves at most empty tables. */
	for (at = 0; at < bytes; at += level_bytes((unsigned)level)) {
		uint64_t bits = (gpa.v + at) | (hpa.v + at);

		level = find_slot(root, gpa.v + at, largest_level(bits, bytes - at, max_leaf),
				  &slot);
		if (level < 0) {
			return level;
		}
	}
	if (level_bytes((unsigned)level) == bytes) { /* one leaf is enough, and slot is its entry */
		entry_store(slot, pack_leaf(hpa, attr, (unsigned)level));
		return 0;
	}
	for (at = 0; at < bytes; at += level_bytes((unsigned)level)) {
		hpa_t frame = { hpa.v + at };
		uint64_t bits = (gpa.v + at) | frame.v;

		level = find_slot(root, gpa.v + at, largest_level(bits, bytes - at, max_leaf),
				  &slot);
		entry_store(slot, pack_leaf(frame, attr, (unsigned)level));
	}
	return 0;
}

unsigned ept_find_entry(const struct ept_root *root, uint64_t at, uint64_t **entry)
{
	uint64_t *table = page_va(root->pml4);

	for (unsigned level = LEVEL_TOP;; level--) {
		uint64_t value;

		*entry = entry_of(table, at, level);
		value = entry_load(*entry);
		if ((value & ENTRY_RIGHTS) == 0 || is_leaf(value, level)) {
			return level;
		}
		table = table_at(value);
	}
}

bool ept_find_gap(const struct ept_root *root, gpa_t gpa, struct ept_gap *gap)
{
	gap->bytes = level_bytes(ept_find_entry(root, gpa.v, &gap->entry));
	return (entry_load(gap->entry) & ENTRY_RIGHTS) == 0;
}

int ept_fill_gap(struct ept_gap gap, gpa_t gpa, hpa_t hpa, struct ept_attr attr)
{
	int err = check_map(gpa, hpa, gap.bytes, attr);

	if (err == 0) {
		entry_store(gap.entry, pack_leaf(hpa, attr, gap.bytes == PAGE_SIZE ? 1 : 2));
	}
	return err;
}

int ept_walk(const struct ept_root *root, gpa_t gpa, struct ept_leaf *out)
{
	uint64_t *entry, value, offset_mask;

	if (gpa.v >> EPT_GPA_BITS != 0) {
		return ERR_NOTFOUND;
	}
	offset_mask = level_bytes(ept_find_entry(root, gpa.v, &entry)) - 1;
	value = entry_load(entry);
	if ((value & ENTRY_RIGHTS) == 0) {
		return ERR_NOTFOUND;
	}
	*out = (struct ept_leaf){
		.hpa = { keyid_unpack(value & ept_address_mask & ~offset_mask).frame.v |
			 (gpa.v & offset_mask) },
		.leaf_bytes = offset_mask + 1,
		.attr = unpack_leaf(value),
		/* On a CPU without these bits the answer must be yes. */
		.accessed = !offered.accessed_dirty || (value & EPT_ACCESSED) != 0,
		.dirty = !offered.accessed_dirty || (value & EPT_DIRTY) != 0,
	};
	return 0;
}

int ept_next(const struct ept_root *root, gpa_t from, uint64_t end, gpa_t *at, struct ept_leaf *out)
{
	uint64_t *entry, step;

	for (at->v = from.v; at->v < end; at->v += step) {
		step = level_bytes(ept_find_entry(root, at->v, &entry));
		at->v = ALIGN_DOWN(at->v, step);
		if ((entry_load(entry) & ENTRY_RIGHTS) != 0) {
			return ept_walk(root, *at, out);
		}
	}
	return ERR_NOTFOUND;
}
