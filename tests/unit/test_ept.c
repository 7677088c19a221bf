/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ept/ept.c: entries as the SDM requires them, leaf sizes, splitting, and failures that change
 * nothing.
 */
#include "tests/unit/test.h"
#include "ept/ept.h"
#include "vmm/base/err.h"
#include "vmm/host/page_alloc.h"

static const struct ept_caps all_caps = {
	.page_2m = true,
	.page_1g = true,
	.accessed_dirty = true,
	.exec_only = true,
	.invept_single = true,
	.structures_wb = true,
	.phys_bits = 46,
};
static const struct ept_attr wb_rwx = { EPT_RWX, EPT_MEMTYPE_WB, true, 0 };

#define assert_attr_equal(a, b)                                   \
	do {                                                      \
		assert_int_equal((a).access, (b).access);         \
		assert_int_equal((a).memtype, (b).memtype);       \
		assert_int_equal((a).ignore_pat, (b).ignore_pat); \
		assert_int_equal((a).keyid, (b).keyid);           \
	} while (0)

/* The raw entry at a level (4: PML4E), or 0 when a table above it is missing. */
static uint64_t *raw_entry(const struct ept_root *root, uint64_t at, int level)
{
	uint64_t *table = (uint64_t *)root->pml4.v;

	for (int here = 4;; here--) {
		uint64_t *entry = &table[(at >> (12 + 9 * (here - 1))) & 511];

		if (here == level) {
			return entry;
		}
		assert_int_equal(*entry & 7, 7);
		table = (uint64_t *)(*entry & 0x3ffffffff000);
	}
}

TEST(test_eptp, fake_setup, fake_teardown)
{
	static const struct {
		bool wb, ad;
		uint64_t bits;
	} cases[] = {
		/* SDM, "Extended-Page-Table Pointer": memory type 2:0, length - 1 5:3, A/D 6 */
		{ false, false, 0x18 },
		{ true, false, 0x1e },
		{ true, true, 0x5e },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct ept_caps caps = all_caps;
		struct ept_root root;

		caps.structures_wb = cases[i].wb;
		caps.accessed_dirty = cases[i].ad;
		ept_configure(&caps);
		assert_int_equal(ept_root_init(&root), 0);
		assert_int_equal(root.eptp, root.pml4.v | cases[i].bits);
		assert_int_not_equal(root.generation.only, root.seen[0].only);
		ept_root_free(&root);
	}
	fake_pages_fail_after(0);
	assert_int_equal(ept_root_init(&(struct ept_root){ 0 }), ERR_NOMEM);
}

TEST(test_raw_bits, fake_setup, fake_teardown)
{
	static const struct {
		uint64_t gpa, hpa, bytes;
		struct ept_attr attr;
		int level;
		uint64_t entry;
	} cases[] = {
		{ 0x5000, 0x200007000, 0x1000, { 7, 6, true, 0 }, 1, 0x200007077 },
		{ 0x5000, 0x200007000, 0x1000, { 1, 0, false, 0 }, 1, 0x200007001 },
		{ 0x5000, 0x200007000, 0x1000, { 4, 6, false, 0 }, 1, 0x200007034 },
		{ 0x200000, 0x3fffffe00000, SIZE_2M, { 3, 6, false, 0 }, 2, 0x3fffffe000b3 },
		{ SIZE_1G, 3 * SIZE_1G, SIZE_1G, { 7, 5, true, 0 }, 3, 0xc00000ef },
		{ 0x3ffffffff000, 0, 0x1000, { 5, 1, false, 0 }, 1, 0x0d },
	};

	ept_configure(&all_caps);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct ept_root root;
		struct ept_leaf leaf;

		assert_int_equal(ept_root_init(&root), 0);
		assert_int_equal(ept_map(&root, gpa(cases[i].gpa), hpa(cases[i].hpa),
					 cases[i].bytes, SIZE_1G, cases[i].attr),
				 0);
		assert_int_equal(*raw_entry(&root, cases[i].gpa, cases[i].level), cases[i].entry);
		assert_int_equal(ept_walk(&root, gpa(cases[i].gpa + 0xabc), &leaf), 0);
		assert_int_equal(leaf.hpa.v, cases[i].hpa + 0xabc);
		assert_int_equal(leaf.leaf_bytes, cases[i].bytes);
		assert_attr_equal(leaf.attr, cases[i].attr);
		assert_false(leaf.accessed || leaf.dirty);
		assert_int_equal(ept_walk(&root, gpa(cases[i].gpa + cases[i].bytes), &leaf),
				 ERR_NOTFOUND);
		assert_int_equal(ept_walk(&root, gpa(cases[i].gpa - 1), &leaf), ERR_NOTFOUND);
		ept_root_free(&root);
	}
}

TEST(test_accessed_dirty, fake_setup, fake_teardown)
{
	struct ept_caps caps = all_caps;
	struct ept_root root;
	struct ept_leaf leaf;

	for (unsigned bits = 0; bits < 4; bits++) {
		caps.accessed_dirty = true;
		ept_configure(&caps);
		assert_int_equal(ept_root_init(&root), 0);
		assert_int_equal(ept_map(&root, gpa(0), hpa(0), SIZE_2M, SIZE_2M, wb_rwx), 0);
		*raw_entry(&root, 0, 2) |= (uint64_t)bits << 8;
		assert_int_equal(ept_walk(&root, gpa(0), &leaf), 0);
		assert_int_equal(leaf.accessed, bits & 1);
		assert_int_equal(leaf.dirty, bits >> 1);
		/* A split copies them. */
		assert_int_equal(ept_unmap(&root, gpa(0x3000), 0x1000), 0);
		assert_int_equal(ept_walk(&root, gpa(0x1ff000), &leaf), 0);
		assert_int_equal(leaf.accessed, bits & 1);
		assert_int_equal(leaf.dirty, bits >> 1);
		/* A CPU without these bits: any page may be dirty. */
		caps.accessed_dirty = false;
		ept_configure(&caps);
		assert_int_equal(ept_walk(&root, gpa(0x1ff000), &leaf), 0);
		assert_true(leaf.accessed && leaf.dirty);
		ept_root_free(&root);
	}
}

/* Unmapping single pages, as the pager does: a write is reported, with A/D bits and without. */
TEST(test_single_pages, fake_setup, fake_teardown)
{
	static const struct {
		bool ad;
		uint8_t access;
		uint64_t bits; /* bits that the CPU set */
		bool written, referenced;
	} cases[] = {
		{ true, EPT_RWX, 0, false, false },
		{ true, EPT_RWX, 0x100, false, true },
		{ true, EPT_RWX, 0x300, true, true },
		{ false, EPT_READ | EPT_EXEC, 0, false, false },
		{ false, EPT_RWX, 0, true, false },
	};
	const uint64_t at = 0x40203000;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct keyed_frame first = keyed(hpa(0x5000), 0);
		const struct keyed_frame second = keyed(hpa(0x6000), 0);
		struct ept_caps caps = all_caps;
		uint64_t *entry, *again;
		struct ept_root root;

		caps.accessed_dirty = cases[i].ad;
		ept_configure(&caps);
		assert_int_equal(ept_root_init(&root), 0);
		assert_int_equal(ept_make_entry(&root, gpa(at), &entry), 0);
		assert_ptr_equal(entry, raw_entry(&root, at, 1));
		assert_true(ept_entry_map(entry, first, cases[i].access));
		*entry |= cases[i].bits;
		assert_int_equal(ept_entry_referenced(entry), cases[i].referenced);
		assert_false(ept_entry_referenced(entry));
		assert_int_equal(*entry & 0x300, cases[i].bits & 0x200);
		assert_int_equal(ept_entry_take(entry), cases[i].written);
		assert_int_equal(*entry, 0);
		assert_int_equal(ept_make_entry(&root, gpa(at), &again), 0);
		assert_ptr_equal(again, entry);
		assert_true(ept_entry_map(again, second, cases[i].access));
		ept_root_free(&root);
	}
	ept_configure(&all_caps);
}

TEST(test_single_page_errors, fake_setup, fake_teardown)
{
	const struct ept_attr read_only = { EPT_READ, EPT_MEMTYPE_WB, true, 0 };
	const struct keyed_frame page = keyed(hpa(0x5000), 0);
	struct ept_root root;
	uint64_t *entry;

	assert_int_equal(ept_root_init(&root), 0);
	assert_int_equal(ept_map(&root, gpa(0), hpa(0), SIZE_2M, SIZE_2M, read_only), 0);
	assert_int_equal(ept_make_entry(&root, gpa(0x3000), &entry), ERR_EXISTS);
	assert_int_equal(ept_map(&root, gpa(SIZE_2M), hpa(0), SIZE_2M, SIZE_2M, wb_rwx), 0);
	assert_int_equal(ept_make_entry(&root, gpa(SIZE_2M + PAGE_SIZE), &entry), ERR_EXISTS);
	fake_pages_fail_after(1);
	assert_int_equal(ept_make_entry(&root, gpa(SIZE_1G), &entry), ERR_NOMEM);
	fake_pages_fail_after(-1);
	assert_int_equal(ept_make_entry(&root, gpa(SIZE_1G), &entry), 0);
	assert_true(ept_entry_map(entry, page, EPT_READ));
	assert_int_equal(*entry, 0x5071);
	assert_true(ept_entry_maps(entry, page));
	assert_false(ept_entry_maps(entry, keyed(hpa(0x6000), 0)));
	assert_false(ept_entry_map(entry, keyed(hpa(0x6000), 0), EPT_RWX));
	assert_int_equal(*entry, 0x5071);
	assert_ptr_equal(ept_entry_behind(entry, 511), entry + 511);
	assert_null(ept_entry_behind(entry, 512));
	assert_null(ept_entry_behind(entry + 511, 1));
	ept_entry_allow_write(entry);
	assert_int_equal(*entry, 0x5073);
	ept_root_free(&root);
}
TEST_AGAIN(test_single_page_errors, fake_setup, fake_teardown);

TEST(test_gaps, fake_setup, fake_teardown)
{
	const struct ept_attr attr = { EPT_RWX, EPT_MEMTYPE_WB, true, 0 };
	const struct ept_attr write_only = { EPT_WRITE, EPT_MEMTYPE_WB, true, 0 };
	struct ept_root root;
	struct ept_gap gap;
	uint64_t *entry;

	assert_int_equal(ept_root_init(&root), 0);
	assert_true(ept_find_gap(&root, gpa(0x3000), &gap));
	assert_int_equal(gap.bytes, 512 * SIZE_1G);
	assert_int_equal(ept_make_entry(&root, gpa(0x2000), &entry), 0);
	assert_true(ept_entry_map(entry, keyed(hpa(0x9000), 0), EPT_RWX));
	assert_false(ept_find_gap(&root, gpa(0x2fff), &gap));

	/* a page beside one that is mapped, and 2 MiB in a table that exists */
	assert_true(ept_find_gap(&root, gpa(0x3000), &gap));
	assert_int_equal(gap.bytes, PAGE_SIZE);
	assert_int_equal(ept_fill_gap(gap, gpa(0x3000), hpa(0x7000), write_only), ERR_INVAL);
	assert_int_equal(ept_fill_gap(gap, gpa(0x3000), hpa(1ul << 52), attr), ERR_RANGE);
	assert_int_equal(*raw_entry(&root, 0x3000, 1), 0);
	assert_int_equal(ept_fill_gap(gap, gpa(0x3000), hpa(0x7000), attr), 0);
	assert_int_equal(*raw_entry(&root, 0x3000, 1), 0x7077);
	assert_false(ept_find_gap(&root, gpa(0x3000), &gap));
	assert_true(ept_find_gap(&root, gpa(SIZE_2M + 0x5000), &gap));
	assert_int_equal(gap.bytes, SIZE_2M);
	assert_int_equal(ept_fill_gap(gap, gpa(SIZE_2M), hpa(SIZE_1G), attr), 0);
	assert_int_equal(*raw_entry(&root, SIZE_2M, 2), SIZE_1G | 0xf7);
	assert_false(ept_find_gap(&root, gpa(SIZE_2M), &gap));
	ept_root_free(&root);
}

TEST(test_leaf_sizes, fake_setup, fake_teardown)
{
	static const struct {
		uint64_t gpa, hpa, bytes, max_leaf;
		bool no_2m, no_1g;
		/* The expected number of leaves of each size. */
		unsigned count_4k, count_2m, count_1g;
	} cases[] = {
		{ 0, 0, SIZE_1G, SIZE_1G, false, false, 0, 0, 1 },
		{ 0, 0, SIZE_1G, SIZE_2M, false, false, 0, 512, 0 },
		{ 0, 0, SIZE_1G, SIZE_1G, false, true, 0, 512, 0 },
		{ 0, 0, SIZE_2M, SIZE_1G, true, false, 512, 0, 0 },
		{ 0, 0, SIZE_2M, PAGE_SIZE, false, false, 512, 0, 0 },
		{ 0, 0, SIZE_1G - SIZE_2M, SIZE_1G, false, false, 0, 511, 0 },
		{ SIZE_1G, 2 * SIZE_1G + SIZE_2M, SIZE_1G, SIZE_1G, false, false, 0, 512, 0 },
		{ SIZE_2M, 0x1000, SIZE_2M, SIZE_1G, false, false, 512, 0, 0 },
		{ 0x1ff000, 0x1ff000, SIZE_2M + 0x2000, SIZE_1G, false, false, 2, 1, 0 },
		{ SIZE_1G - SIZE_2M - 0x1000, 4 * SIZE_1G - SIZE_2M - 0x1000,
		  SIZE_1G + SIZE_2M + 0x3000, SIZE_1G, false, false, 3, 1, 1 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct ept_caps caps = all_caps;
		unsigned counts[3] = { 0 };
		struct ept_root root;
		struct ept_leaf leaf;

		caps.page_2m = !cases[i].no_2m;
		caps.page_1g = !cases[i].no_1g;
		ept_configure(&caps);
		assert_int_equal(ept_root_init(&root), 0);
		assert_int_equal(ept_map(&root, gpa(cases[i].gpa), hpa(cases[i].hpa),
					 cases[i].bytes, cases[i].max_leaf, wb_rwx),
				 0);
		for (uint64_t at = 0; at < cases[i].bytes; at += leaf.leaf_bytes) {
			assert_int_equal(ept_walk(&root, gpa(cases[i].gpa + at), &leaf), 0);
			assert_int_equal(leaf.hpa.v, cases[i].hpa + at);
			counts[leaf.leaf_bytes == PAGE_SIZE ? 0
			       : leaf.leaf_bytes == SIZE_2M ? 1
							    : 2]++;
		}
		assert_int_equal(counts[0], cases[i].count_4k);
		assert_int_equal(counts[1], cases[i].count_2m);
		assert_int_equal(counts[2], cases[i].count_1g);
		ept_root_free(&root);
	}
}

TEST(test_refused, fake_setup, fake_teardown)
{
	static const struct {
		const char *why;
		uint64_t gpa, hpa, bytes;
		struct ept_attr attr;
		int err;
	} cases[] = {
		{ "empty", 0, 0, 0, { 7, 6, true, 0 }, ERR_RANGE },
		{ "gpa not aligned", 1, 0, 0x1000, { 7, 6, true, 0 }, ERR_INVAL },
		{ "hpa not aligned", 0, 0x800, 0x1000, { 7, 6, true, 0 }, ERR_INVAL },
		{ "size not aligned", 0, 0, 0x1001, { 7, 6, true, 0 }, ERR_INVAL },
		{ "no rights", 0, 0, 0x1000, { 0, 6, true, 0 }, ERR_INVAL },
		{ "write without read", 0, 0, 0x1000, { 2, 6, true, 0 }, ERR_INVAL },
		{ "write, execute", 0, 0, 0x1000, { 6, 6, true, 0 }, ERR_INVAL },
		{ "unknown right", 0, 0, 0x1000, { 15, 6, true, 0 }, ERR_INVAL },
		{ "memory type 2", 0, 0, 0x1000, { 7, 2, true, 0 }, ERR_INVAL },
		{ "memory type 3", 0, 0, 0x1000, { 7, 3, true, 0 }, ERR_INVAL },
		{ "memory type 7", 0, 0, 0x1000, { 7, 7, true, 0 }, ERR_INVAL },
		{ "memory type 14", 0, 0, 0x1000, { 7, 14, true, 0 }, ERR_INVAL },
		{ "KeyID", 0, 0, 0x1000, { 7, 6, true, 1 }, ERR_RANGE }, /* there are no KeyIDs */
		{ "hpa reserved bits", 0, 1ul << 46, 0x1000, { 7, 6, true, 0 }, ERR_RANGE },
		{ "hpa runs over", 0, (1ul << 46) - 0x1000, 0x2000, { 7, 6, true, 0 }, ERR_RANGE },
		{ "gpa too high", 1ul << 46, 0, 0x1000, { 7, 6, true, 0 }, ERR_RANGE },
		{ "gpa wraps", -0x1000ul, 0, 0x2000, { 7, 6, true, 0 }, ERR_RANGE },
		{ "hpa wraps", 0, -0x1000ul, 0x2000, { 7, 6, true, 0 }, ERR_RANGE },
	};
	struct ept_caps caps = all_caps;
	struct ept_root root;

	ept_configure(&caps);
	assert_int_equal(ept_root_init(&root), 0);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int err = ept_map(&root, gpa(cases[i].gpa), hpa(cases[i].hpa), cases[i].bytes,
				  SIZE_1G, cases[i].attr);

		if (err != cases[i].err) {
			fail_msg("%s: %d", cases[i].why, err);
		}
		assert_int_equal(fake_pages_live(), 1);
	}
	caps.exec_only = false;
	ept_configure(&caps);
	assert_int_equal(ept_map(&root, gpa(0), hpa(0), 0x1000, SIZE_1G,
				 (struct ept_attr){ EPT_EXEC, EPT_MEMTYPE_WB, true, 0 }),
			 ERR_INVAL);
	/* A CPU with more address bits than four levels translate. */
	caps.phys_bits = 52;
	ept_configure(&caps);
	assert_int_equal(ept_map(&root, gpa(1ul << 48), hpa(0), 0x1000, SIZE_1G, wb_rwx),
			 ERR_RANGE);
	assert_int_equal(ept_map(&root, gpa((1ul << 48) - 0x1000), hpa((1ul << 52) - 0x1000),
				 0x1000, SIZE_1G, wb_rwx),
			 0);
	assert_int_equal(ept_walk(&root, gpa(1ul << 48), &(struct ept_leaf){ 0 }), ERR_NOTFOUND);
	assert_int_equal(ept_unmap(&root, gpa(1ul << 48), 0x1000), ERR_RANGE);
	assert_int_equal(ept_unmap(&root, gpa(0x800), 0x1000), ERR_INVAL);
	ept_root_free(&root);
}
TEST_AGAIN(test_refused, fake_setup, fake_teardown);

TEST(test_only_over_absent, fake_setup, fake_teardown)
{
	struct ept_root root;
	struct ept_leaf leaf;

	ept_configure(&all_caps);
	assert_int_equal(ept_root_init(&root), 0);
	assert_int_equal(ept_map(&root, gpa(SIZE_2M + 0x5000), hpa(0), 0x1000, SIZE_1G, wb_rwx), 0);
	/*
	 * A range that overlaps a mapping at its end, for a large leaf or small ones: nothing
	 * changes.
	 */
	assert_int_equal(ept_map(&root, gpa(0), hpa(SIZE_1G), 2 * SIZE_2M, SIZE_2M, wb_rwx),
			 ERR_EXISTS);
	assert_int_equal(ept_map(&root, gpa(0), hpa(0x1000), SIZE_2M + 0x6000, PAGE_SIZE, wb_rwx),
			 ERR_EXISTS);
	assert_int_equal(ept_walk(&root, gpa(0), &leaf), ERR_NOTFOUND);
	assert_int_equal(ept_walk(&root, gpa(SIZE_2M), &leaf), ERR_NOTFOUND);
	/* If an empty table exists, small leaves are used in place of a large one. */
	assert_int_equal(ept_unmap(&root, gpa(SIZE_2M + 0x5000), 0x1000), 0);
	assert_int_equal(ept_map(&root, gpa(SIZE_2M), hpa(SIZE_2M), SIZE_2M, SIZE_2M, wb_rwx), 0);
	for (uint64_t at = 0; at < SIZE_2M; at += PAGE_SIZE) {
		assert_int_equal(ept_walk(&root, gpa(SIZE_2M + at), &leaf), 0);
		assert_int_equal(leaf.hpa.v, SIZE_2M + at);
		assert_int_equal(leaf.leaf_bytes, PAGE_SIZE);
	}
	ept_root_free(&root);
}
TEST_AGAIN(test_only_over_absent, fake_setup, fake_teardown);

/* Each allocation fails in turn: nothing may be mapped, and the same call succeeds later. */
TEST(test_map_no_memory, fake_setup, fake_teardown)
{
	const uint64_t start = SIZE_1G - SIZE_2M - 0x1000, bytes = 2 * SIZE_2M + 0x2000;
	struct ept_root root;
	struct ept_leaf leaf;
	int err = ERR_NOMEM;
	int after = 0;

	ept_configure(&all_caps);
	for (; err != 0; after++) {
		assert_int_equal(ept_root_init(&root), 0);
		fake_pages_fail_after(after);
		err = ept_map(&root, gpa(start), hpa(start), bytes, SIZE_2M, wb_rwx);
		fake_pages_fail_after(-1);
		if (err != 0) {
			assert_int_equal(err, ERR_NOMEM);
			for (uint64_t at = 0; at < bytes; at += PAGE_SIZE) {
				assert_int_equal(ept_walk(&root, gpa(start + at), &leaf),
						 ERR_NOTFOUND);
			}
			assert_int_equal(
				ept_map(&root, gpa(start), hpa(start), bytes, SIZE_2M, wb_rwx), 0);
		}
		ept_root_free(&root);
	}
	/* 1 PDPT, 2 page directories, 2 page tables. */
	assert_int_equal(after - 1, 5);
}

TEST(test_split, fake_setup, fake_teardown)
{
	static const struct {
		uint64_t at, bytes;
		int tables; /* tables that the split takes */
	} cases[] = {
		{ 0, SIZE_1G, 0 },
		{ SIZE_2M, SIZE_2M, 1 },
		{ 0x5000, 0x1000, 2 },
		{ SIZE_2M - 0x1000, 0x2000, 3 },
		{ 0x1000, SIZE_1G - 0x2000, 3 },
		{ 0, SIZE_1G - 0x1000, 2 },
	};

	ept_configure(&all_caps);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		for (int after = 0; after <= cases[i].tables; after++) {
			struct ept_root root;
			struct ept_leaf leaf;
			int err;

			assert_int_equal(ept_root_init(&root), 0);
			assert_int_equal(ept_map(&root, gpa(SIZE_1G), hpa(7 * SIZE_1G), SIZE_1G,
						 SIZE_1G, wb_rwx),
					 0);
			fake_pages_fail_after(after);
			err = ept_unmap(&root, gpa(SIZE_1G + cases[i].at), cases[i].bytes);
			fake_pages_fail_after(-1);
			assert_int_equal(err, after < cases[i].tables ? ERR_NOMEM : 0);
			for (uint64_t at = 0; at < SIZE_1G; at += PAGE_SIZE) {
				bool gone = err == 0 && at - cases[i].at < cases[i].bytes;

				assert_int_equal(ept_walk(&root, gpa(SIZE_1G + at), &leaf),
						 gone ? ERR_NOTFOUND : 0);
				if (!gone) {
					assert_int_equal(leaf.hpa.v, 7 * SIZE_1G + at);
					assert_attr_equal(leaf.attr, wb_rwx);
				}
			}
			ept_root_free(&root);
		}
	}
}

/*
 * On a CPU where large leaves must not allow execution: the 2 MiB asked for become 4-KiB leaves
 * that do.
 */
TEST(test_no_large_exec, fake_setup, fake_teardown)
{
	const uint64_t base = SIZE_1G, asked = base + 5 * SIZE_2M + 0x3000;
	struct ept_caps caps = all_caps;
	struct ept_attr attr = wb_rwx;
	struct ept_root root;
	struct ept_leaf leaf;

	caps.no_large_exec = true;
	ept_configure(&caps);
	assert_int_equal(ept_root_init(&root), 0);
	attr.access = EPT_EXEC;
	assert_int_equal(ept_map(&root, gpa(base), hpa(base), SIZE_1G, SIZE_1G, attr), ERR_INVAL);
	assert_int_equal(ept_map(&root, gpa(base), hpa(2 * base), SIZE_1G, SIZE_1G, wb_rwx), 0);
	assert_int_equal(*raw_entry(&root, base, 3) & 7, EPT_READ | EPT_WRITE);
	/* The CPU has noted a write, which must not be lost. */
	*raw_entry(&root, base, 3) |= BIT(9);
	assert_int_equal(ept_allow_exec(&root, gpa(asked)), 0);
	for (uint64_t at = base; at < base + 12 * SIZE_2M; at += 0x1ff000) {
		bool here = ALIGN_DOWN(at, SIZE_2M) == ALIGN_DOWN(asked, SIZE_2M);

		assert_int_equal(ept_walk(&root, gpa(at), &leaf), 0);
		assert_int_equal(leaf.leaf_bytes, here ? PAGE_SIZE : SIZE_2M);
		assert_int_equal(leaf.attr.access, here ? EPT_RWX : EPT_READ | EPT_WRITE);
		assert_int_equal(leaf.hpa.v, base + at);
		assert_true(leaf.dirty);
	}
	assert_int_equal(ept_allow_exec(&root, gpa(asked)), 0);
	assert_int_equal(ept_allow_exec(&root, gpa(base - 1)), ERR_NOTFOUND);
	/* After ept_unmap has split a leaf, ept_allow_exec changes one 4-KiB leaf in a call. */
	assert_int_equal(ept_unmap(&root, gpa(base), PAGE_SIZE), 0);
	assert_int_equal(ept_walk(&root, gpa(base + 0x5000), &leaf), 0);
	assert_int_equal(leaf.attr.access, EPT_READ | EPT_WRITE);
	assert_int_equal(ept_allow_exec(&root, gpa(base + 0x5000)), 0);
	assert_int_equal(ept_walk(&root, gpa(base + 0x5000), &leaf), 0);
	assert_int_equal(leaf.attr.access, EPT_RWX);
	fake_pages_fail_after(0);
	assert_int_equal(ept_allow_exec(&root, gpa(base + 9 * SIZE_2M)), ERR_NOMEM);
	fake_pages_fail_after(-1);
	assert_int_equal(*raw_entry(&root, base + 9 * SIZE_2M, 2) & 7, EPT_READ | EPT_WRITE);
	ept_root_free(&root);
}

/* Unmapping an absent range is not an error and takes no tables. */
TEST(test_unmap_absent, fake_setup, fake_teardown)
{
	struct ept_root root;

	ept_configure(&all_caps);
	assert_int_equal(ept_root_init(&root), 0);
	assert_int_equal(ept_unmap(&root, gpa(0x1000), (1ul << 46) - 0x1000), 0);
	assert_int_equal(fake_pages_live(), 1);
	ept_root_free(&root);
}

#define MODEL_PAGES 2048u /* 8 MiB across a 1 GiB boundary */
#define MODEL_BASE  (SIZE_1G - 2 * SIZE_2M)

static uint32_t rnd(uint32_t below)
{
	static uint64_t seed = 42;

	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	return (uint32_t)(seed >> 33) % below;
}

/* Random maps and unmaps, compared with an array of pages. */
TEST(test_model, fake_setup, fake_teardown)
{
	static uint64_t model[MODEL_PAGES]; /* 0: absent, else hpa + 1 */
	static const uint64_t sizes[] = { PAGE_SIZE, SIZE_2M, SIZE_1G };
	struct ept_root root;
	struct ept_leaf leaf;

	ept_configure(&all_caps);
	assert_int_equal(ept_root_init(&root), 0);
	memset(model, 0, sizeof(model));
	for (int round = 0; round < 400; round++) {
		uint32_t first = rnd(4) == 0 ? 512 * rnd(4) : rnd(MODEL_PAGES);
		uint32_t count = 1 + rnd(rnd(2) == 0 ? 8 : MODEL_PAGES - first);
		uint64_t at = MODEL_BASE + first * PAGE_SIZE;
		uint64_t frame = (rnd(2) == 0 ? 16 * SIZE_1G : 0x3000) + at;
		bool absent = true;

		count = MIN(count, MODEL_PAGES - first);
		for (uint32_t i = first; i < first + count; i++) {
			absent = absent && model[i] == 0;
		}
		if (rnd(2) == 0) {
			assert_int_equal(ept_map(&root, gpa(at), hpa(frame), count * PAGE_SIZE,
						 sizes[rnd(3)], wb_rwx),
					 absent ? 0 : ERR_EXISTS);
			for (uint32_t i = 0; absent && i < count; i++) {
				model[first + i] = frame + i * PAGE_SIZE + 1;
			}
		} else {
			assert_int_equal(ept_unmap(&root, gpa(at), count * PAGE_SIZE), 0);
			memset(&model[first], 0, count * sizeof(model[0]));
		}
		for (uint32_t i = 0; i < MODEL_PAGES; i++) {
			int err = ept_walk(&root, gpa(MODEL_BASE + i * PAGE_SIZE), &leaf);

			assert_int_equal(err, model[i] == 0 ? ERR_NOTFOUND : 0);
			assert_true(err != 0 || leaf.hpa.v + 1 == model[i]);
		}
	}
	ept_root_free(&root);
}

/*
 * Row 29 of tests/machine/rows/README.md: a leaf of each size has its KeyID, and so have all parts
 * when it is split. As in profile P4 of tests/machine, addresses have 46 bits, of which the KeyID
 * has 45:42.
 */
TEST(test_row_29_keyid_in_leaves, fake_setup, fake_teardown)
{
	static const uint64_t sizes[] = { PAGE_SIZE, SIZE_2M, SIZE_1G };
	const struct ept_attr attr = { EPT_RWX, EPT_MEMTYPE_WB, true, 9 };
	struct ept_leaf leaf;

	ept_configure(&all_caps);
	keyid_configure(46, 4);
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		struct ept_root root;

		assert_int_equal(ept_root_init(&root), 0);
		assert_int_equal(
			ept_map(&root, gpa(SIZE_1G), hpa(5 * SIZE_1G), sizes[i], SIZE_1G, attr), 0);
		assert_int_equal(*raw_entry(&root, SIZE_1G, (int)i + 1) & ~MASK(11, 0),
				 9ul << 42 | 5 * SIZE_1G);
		if (sizes[i] > PAGE_SIZE) { /* splits the leaf down to 4 KiB */
			assert_int_equal(ept_unmap(&root, gpa(SIZE_1G), PAGE_SIZE), 0);
		}
		for (uint64_t at = sizes[i] > PAGE_SIZE ? PAGE_SIZE : 0; at < sizes[i];
		     at += MAX(PAGE_SIZE, sizes[i] / 1024)) {
			assert_int_equal(ept_walk(&root, gpa(SIZE_1G + at), &leaf), 0);
			assert_int_equal(leaf.hpa.v, 5 * SIZE_1G + at);
			assert_attr_equal(leaf.attr, attr);
		}
		ept_root_free(&root);
	}
}

/* No address has KeyID bits set, and no KeyID has bits outside of them. */
TEST(test_keyid_limits, fake_setup, fake_teardown)
{
	struct ept_attr attr = wb_rwx;
	struct ept_root root;

	ept_configure(&all_caps);
	keyid_configure(46, 4);
	assert_int_equal(keyid_address_end(), BIT(42));
	assert_int_equal(ept_root_init(&root), 0);
	assert_int_equal(ept_map(&root, gpa(0), hpa(BIT(42)), PAGE_SIZE, PAGE_SIZE, attr),
			 ERR_RANGE);
	assert_int_equal(
		ept_map(&root, gpa(0), hpa(BIT(42) - PAGE_SIZE), 2 * PAGE_SIZE, PAGE_SIZE, attr),
		ERR_RANGE);
	attr.keyid = 16;
	assert_int_equal(ept_map(&root, gpa(0), hpa(0x1000), PAGE_SIZE, PAGE_SIZE, attr),
			 ERR_RANGE);
	attr.keyid = 15;
	assert_int_equal(
		ept_map(&root, gpa(0), hpa(BIT(42) - PAGE_SIZE), PAGE_SIZE, PAGE_SIZE, attr), 0);
	ept_root_free(&root);
}

/* Tables use the KeyID of host pages, in the EPTP and in every entry on the way. */
TEST(test_tables_carry_host_keyid, fake_setup, fake_teardown)
{
	struct ept_root root;
	struct ept_leaf leaf;
	uint64_t *entry;

	ept_configure(&all_caps);
	keyid_configure(52, 6);
	page_keyid_now = 1;
	assert_int_equal(ept_root_init(&root), 0);
	assert_int_equal(ept_map(&root, gpa(0x1000), hpa(0x5000), PAGE_SIZE, PAGE_SIZE, wb_rwx), 0);
	assert_int_equal(root.eptp >> 46, 1);
	assert_int_equal(*(const uint64_t *)page_va(root.pml4) >> 46, 1);
	assert_int_equal(ept_walk(&root, gpa(0x1000), &leaf), 0);
	assert_int_equal(leaf.hpa.v, 0x5000);
	assert_int_equal(leaf.attr.keyid, 0);
	assert_int_equal(ept_make_entry(&root, gpa(0x1000), &entry), 0);
	assert_int_equal(*entry & 0xff000, 0x5000);
	ept_root_free(&root);
}
