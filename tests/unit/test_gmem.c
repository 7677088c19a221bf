/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ept/gmem.c and ept/ram_plain.c: regions, the door's bounds, first touch, and that nothing is left
 * behind.
 */
#include "tests/unit/test.h"
#include "ept/gmem.h"
#include "tests/unit/gmem_end.h"
#include "vmm/base/err.h"
#include "vmm/host/page_alloc.h"

static struct gmem gmem;

static int setup(void **state)
{
	const struct ept_caps caps = {
		.page_2m = true,
		.page_1g = true,
		.accessed_dirty = true,
		.invept_single = true,
		.structures_wb = true,
		.phys_bits = 46,
	};

	fake_setup(state);
	ept_configure(&caps);
	return gmem_init(&gmem);
}

static int teardown(void **state)
{
	gmem_end(&gmem);
	return fake_teardown(state);
}

TEST(test_regions, setup, teardown)
{
	static const struct {
		const char *why;
		uint64_t base, bytes;
		int err;
	} cases[] = {
		{ "first", 0x400000, 0x10000, 0 },
		{ "below", 0x100000, 0x1000, 0 },
		{ "above", 0x800000, 0x1000, 0 },
		{ "between, touching both ends", 0x410000, 0x3f0000, 0 },
		{ "the same", 0x400000, 0x10000, ERR_EXISTS },
		{ "over the end", 0x40f000, 0x2000, ERR_EXISTS },
		{ "over the start", 0x3ff000, 0x2000, ERR_EXISTS },
		{ "around all", 0, 0x1000000, ERR_EXISTS },
		{ "inside", 0x401000, 0x1000, ERR_EXISTS },
		{ "empty", 0x2000000, 0, ERR_INVAL },
		{ "base not aligned", 0x2000800, 0x1000, ERR_INVAL },
		{ "size not aligned", 0x2000000, 0x1800, ERR_INVAL },
		{ "wraps", -0x1000ul, 0x2000, ERR_INVAL },
		{ "too high", 1ul << 46, 0x1000, ERR_INVAL },
		{ "more than there is", 0x100000000, 8 * SIZE_1G, ERR_NOMEM },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int err = gmem_add_ram_plain(&gmem, gpa(cases[i].base), cases[i].bytes, SIZE_2M);

		if (err != cases[i].err) {
			fail_msg("%s: %d", cases[i].why, err);
		}
	}
	assert_int_equal(gmem.region_count, 4);
	for (uint32_t i = 1; i < gmem.region_count; i++) {
		assert_true(gmem.regions[i - 1].base.v + gmem.regions[i - 1].bytes <=
			    gmem.regions[i].base.v);
	}
	/* The frames of refused regions were freed; all others are reserved already. */
	assert_int_equal(fake_frames_live(), 0x10 + 1 + 1 + 0x3f0);
}

TEST(test_region_count, setup, teardown)
{
	for (unsigned i = 0; i < GMEM_REGION_MAX; i++) {
		assert_int_equal(gmem_add_ram_plain(&gmem, gpa(i * 0x2000), 0x1000, SIZE_2M), 0);
	}
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x100000), 0x1000, SIZE_2M), ERR_NOMEM);
}

TEST(test_bounds, setup, teardown)
{
	static const struct {
		uint64_t at, bytes;
		bool ram;
	} cases[] = {
		{ 0x1000, 0x2000, true },
		{ 0x1000, 0x2001, false },
		{ 0xfff, 2, false },
		{ 0xfff, 1, false },
		{ 0x2fff, 1, true },
		{ 0x3000, 1, false },
		{ 0x3000, 0, true },
		{ 0x10000, 0x3000, true }, /* two adjacent regions */
		{ 0x10fff, 2, true },
		{ 0x10000, 0x3001, false },
		{ 0x2fff, 0xd002, false },
		{ -1ul, 1, false },
		{ -1ul, 2, false },
		{ 0x2ff8, -0x2ff8ul, false },
		{ 0x1000, -1ul, false },
		{ 0x1fff, -1ul, false },
		{ 1ul << 63, 1ul << 63, false },
	};
	uint8_t buf[0x4000];

	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x1000), 0x2000, SIZE_2M), 0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x11000), 0x2000, SIZE_2M), 0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x10000), 0x1000, SIZE_2M), 0);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		gpa_t at = gpa(cases[i].at);
		int err = cases[i].ram ? 0 : ERR_RANGE;

		if (gmem_is_ram(&gmem, at, cases[i].bytes) != cases[i].ram) {
			fail_msg("case %zu", i);
		}
		memset(buf, 0x77, sizeof(buf));
		if (cases[i].bytes <= sizeof(buf) || !cases[i].ram) {
			assert_int_equal(gmem_read(&gmem, at, buf, cases[i].bytes), err);
			assert_int_equal(buf[0], cases[i].ram && cases[i].bytes > 0 ? 0 : 0x77);
			memset(buf, 0, sizeof(buf));
			assert_int_equal(gmem_write(&gmem, at, buf, cases[i].bytes), err);
			assert_int_equal(gmem_fill(&gmem, at, 0, cases[i].bytes), err);
		}
	}
	/* A write that is refused because of its last byte has written nothing. */
	memset(buf, 0x55, sizeof(buf));
	assert_int_equal(gmem_write(&gmem, gpa(0x1000), buf, 0x2001), ERR_RANGE);
	assert_int_equal(gmem_read(&gmem, gpa(0x1000), buf, 0x2000), 0);
	for (size_t i = 0; i < 0x2000; i++) {
		assert_int_equal(buf[i], 0);
	}
}

TEST(test_copies, setup, teardown)
{
	static uint8_t model[0x8000], buf[0x8000];
	uint32_t seed = 1;

	/* Adjacent regions: an access may cross from one to the next. */
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x1f0000), 0x3000, SIZE_2M), 0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x1f3000), 0x5000, SIZE_2M), 0);
	memset(model, 0, sizeof(model));
	for (int round = 0; round < 500; round++) {
		size_t at, bytes;

		seed = seed * 1664525 + 1013904223;
		at = (seed >> 8) % sizeof(model);
		bytes = 1 + (seed >> 4) % (sizeof(model) - at);
		if (round % 3 == 0) {
			memset(model + at, round, bytes);
			assert_int_equal(gmem_fill(&gmem, gpa(0x1f0000 + at), round, bytes), 0);
		} else if (round % 3 == 1) {
			for (size_t i = 0; i < bytes; i++) {
				buf[i] = (uint8_t)(seed >> (i % 24));
			}
			memcpy(model + at, buf, bytes);
			assert_int_equal(gmem_write(&gmem, gpa(0x1f0000 + at), buf, bytes), 0);
		} else {
			memset(buf, 0xee, sizeof(buf));
			assert_int_equal(gmem_read(&gmem, gpa(0x1f0000 + at), buf, bytes), 0);
			assert_memory_equal(buf, model + at, bytes);
			assert_true(bytes == sizeof(buf) || buf[bytes] == 0xee);
		}
		assert_int_equal(fake_temp_mapped(), 0);
	}
}

TEST(test_cmpxchg, setup, teardown)
{
	uint64_t expected = 0, got;

	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x1000), 0x1000, SIZE_2M), 0);
	assert_int_equal(gmem_cmpxchg(&gmem, gpa(0x1ff8), &expected, 0x1122334455667788, 8), 0);
	assert_int_equal(expected, 0);
	assert_int_equal(gmem_cmpxchg(&gmem, gpa(0x1ff8), &expected, 5, 8), 0);
	assert_int_equal(expected, 0x1122334455667788); /* the old value was another: no exchange */
	expected = 0x11223344;
	assert_int_equal(gmem_cmpxchg(&gmem, gpa(0x1ffc), &expected, 0xaabbccdd, 4), 0);
	assert_int_equal(expected, 0x11223344);
	assert_int_equal(gmem_read(&gmem, gpa(0x1ff8), &got, 8), 0);
	assert_int_equal(got, 0xaabbccdd55667788);
	assert_int_equal(gmem_cmpxchg(&gmem, gpa(0x1ffc), &expected, 0, 8), ERR_INVAL);
	assert_int_equal(gmem_cmpxchg(&gmem, gpa(0x1ffa), &expected, 0, 4), ERR_INVAL);
	assert_int_equal(gmem_cmpxchg(&gmem, gpa(0x1ff8), &expected, 0, 2), ERR_INVAL);
	assert_int_equal(gmem_cmpxchg(&gmem, gpa(0x2000), &expected, 0, 8), ERR_RANGE);
}

/* A 2 MiB leaf is used where it fits; exactly that leaf is zeroed, and as a whole. */
TEST(test_first_touch, setup, teardown)
{
	static const struct {
		uint64_t touch, leaf_base, leaf_bytes;
	} cases[] = {
		{ 0x1ff123, 0x1ff000, PAGE_SIZE }, /* the beginning: less than 2 MiB */
		{ 0x200000, 0x200000, SIZE_2M },
		{ 0x5fffff, 0x400000, SIZE_2M },
		{ 0x600abc, 0x600000, PAGE_SIZE }, /* the end */
	};
	struct ept_leaf leaf;
	uint64_t resident = 0;

	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x100000), 0x502000, SIZE_1G), 0);
	assert_int_equal(gmem_fault(&gmem, gpa(0xfffff), GMEM_ACCESS_READ, NULL), GMEM_FAULT_MMIO);
	assert_int_equal(gmem_fault(&gmem, gpa(0x602000), GMEM_ACCESS_READ, NULL), GMEM_FAULT_MMIO);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint64_t maps = fake_temp_maps();

		assert_int_equal(ept_walk(&gmem.root, gpa(cases[i].touch), &leaf), ERR_NOTFOUND);
		assert_int_equal(gmem_fault(&gmem, gpa(cases[i].touch), GMEM_ACCESS_WRITE, NULL),
				 GMEM_FAULT_FIXED);
		assert_int_equal(fake_temp_maps() - maps, cases[i].leaf_bytes / PAGE_SIZE);
		assert_int_equal(ept_walk(&gmem.root, gpa(cases[i].leaf_base), &leaf), 0);
		assert_int_equal(leaf.leaf_bytes, cases[i].leaf_bytes);
		assert_int_equal(leaf.attr.access, EPT_RWX);
		assert_int_equal(leaf.attr.memtype, EPT_MEMTYPE_WB);
		assert_true(leaf.attr.ignore_pat);
		for (uint64_t at = 0; at < leaf.leaf_bytes; at += PAGE_SIZE) {
			const uint64_t *words = fake_frame(hpa(leaf.hpa.v + at));

			assert_int_equal(words[0] | words[255] | words[511], 0);
		}
		resident += cases[i].leaf_bytes;
		assert_int_equal(gmem.resident_bytes, resident);
		/*
		 * A second vCPU that faulted at the same time finds the page mapped, and zeroes
		 * nothing.
		 */
		maps = fake_temp_maps();
		*(uint64_t *)fake_frame(leaf.hpa) = 7;
		assert_int_equal(gmem_fault(&gmem, gpa(cases[i].touch), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
		assert_int_equal(*(uint64_t *)fake_frame(leaf.hpa), 7);
		assert_int_equal(fake_temp_maps(), maps);
	}
	assert_int_equal(gmem.fault_count, 2 * ARRAY_COUNT(cases));
}

/*
 * Where large leaves must not be executable: a leaf is split when code is fetched from it, also on
 * first touch.
 */
TEST(test_fetch_from_large_leaf, setup, teardown)
{
	struct ept_caps caps = *ept_caps();
	struct ept_leaf leaf;
	uint64_t marker = 0x1234;

	caps.no_large_exec = true;
	ept_configure(&caps);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), 4 * SIZE_2M, SIZE_2M), 0);
	assert_int_equal(gmem_write(&gmem, gpa(SIZE_2M), &marker, sizeof(marker)), 0);
	assert_int_equal(ept_walk(&gmem.root, gpa(SIZE_2M), &leaf), 0);
	assert_int_equal(leaf.leaf_bytes, SIZE_2M);
	assert_int_equal(leaf.attr.access, EPT_READ | EPT_WRITE);
	/* A read by another vCPU that faulted at the same time changes nothing. */
	assert_int_equal(gmem_fault(&gmem, gpa(SIZE_2M), GMEM_ACCESS_READ, NULL), GMEM_FAULT_FIXED);
	assert_int_equal(ept_walk(&gmem.root, gpa(SIZE_2M), &leaf), 0);
	assert_int_equal(leaf.leaf_bytes, SIZE_2M);
	for (uint64_t at = SIZE_2M; at <= 2 * SIZE_2M; at += SIZE_2M) {
		assert_int_equal(gmem_fault(&gmem, gpa(at + 0x5000), GMEM_ACCESS_EXEC, NULL),
				 GMEM_FAULT_FIXED);
		assert_int_equal(ept_walk(&gmem.root, gpa(at + 0x5000), &leaf), 0);
		assert_int_equal(leaf.leaf_bytes, PAGE_SIZE);
		assert_int_equal(leaf.attr.access, EPT_RWX);
	}
	marker = 0;
	assert_int_equal(gmem_read(&gmem, gpa(SIZE_2M), &marker, sizeof(marker)), 0);
	assert_int_equal(marker, 0x1234);
	assert_int_equal(gmem.resident_bytes, 2 * SIZE_2M);
}

TEST(test_max_leaf, setup, teardown)
{
	static const struct {
		uint64_t max_leaf;
		bool no_2m;
		uint64_t expected;
	} cases[] = {
		{ PAGE_SIZE, false, PAGE_SIZE },
		{ SIZE_2M, false, SIZE_2M },
		{ SIZE_2M, true, PAGE_SIZE },
	};
	struct ept_caps caps = *ept_caps();
	struct ept_leaf leaf;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		gpa_t base = gpa(i * SIZE_1G);

		caps.page_2m = !cases[i].no_2m;
		ept_configure(&caps);
		assert_int_equal(gmem_add_ram_plain(&gmem, base, SIZE_2M, cases[i].max_leaf), 0);
		assert_int_equal(gmem_fault(&gmem, gpa(base.v + 0x54321), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
		assert_int_equal(ept_walk(&gmem.root, gpa(base.v + 0x54321), &leaf), 0);
		assert_int_equal(leaf.leaf_bytes, cases[i].expected);
	}
}

/* One leaf of 1 GiB where it fits; the parts beside it are in smaller leaves. */
TEST(test_leaf_1g, setup, teardown)
{
	struct ept_leaf leaf;

	assert_int_equal(
		gmem_add_ram_plain(&gmem, gpa(SIZE_1G - SIZE_2M), SIZE_1G + SIZE_2M, SIZE_1G), 0);
	assert_int_equal(gmem_fault(&gmem, gpa(SIZE_1G - 1), GMEM_ACCESS_READ, NULL),
			 GMEM_FAULT_FIXED);
	assert_int_equal(gmem.resident_bytes, SIZE_2M);
	for (uint64_t at = SIZE_1G + 5; at < 2 * SIZE_1G; at += SIZE_2M) {
		assert_int_equal(gmem_fault(&gmem, gpa(at), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
	}
	assert_int_equal(gmem.resident_bytes, SIZE_2M + SIZE_1G);
	assert_int_equal(ept_walk(&gmem.root, gpa(2 * SIZE_1G - 1), &leaf), 0);
	assert_int_equal(leaf.leaf_bytes, SIZE_1G);
}

/* Free memory consists of single pages: the region uses them, and no two addresses share a byte. */
TEST(test_fragmented, setup, teardown)
{
	const uint64_t pages = 1500;
	hpa_t holes[3000];
	uint64_t got;

	fake_frames_set_count(ARRAY_COUNT(holes));
	for (size_t i = 0; i < ARRAY_COUNT(holes); i++) {
		assert_int_equal(frames_alloc(1, 1, &holes[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_COUNT(holes); i += 2) {
		frames_free(holes[i], 1);
	}
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x100000), (pages + 1) * PAGE_SIZE, SIZE_2M),
			 ERR_NOMEM);
	assert_int_equal(fake_frames_live(), ARRAY_COUNT(holes) / 2);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x100000), pages * PAGE_SIZE, SIZE_2M), 0);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t at = 0x100000 + i * PAGE_SIZE + 8;

		assert_int_equal(gmem_write(&gmem, gpa(at), &at, 8), 0);
	}
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t at = 0x100000 + i * PAGE_SIZE + 8;

		assert_int_equal(gmem_read(&gmem, gpa(at), &got, 8), 0);
		assert_int_equal(got, at);
	}
	gmem_end(&gmem);
	for (size_t i = 1; i < ARRAY_COUNT(holes); i += 2) {
		frames_free(holes[i], 1);
	}
}

/* Some 2 MiB pieces are free: these parts get 2 MiB leaves, the others small ones. */
TEST(test_partly_fragmented, setup, teardown)
{
	hpa_t small;
	struct ept_leaf leaf;
	unsigned large_count = 0;

	fake_frames_set_count(4 * 512);
	assert_int_equal(frames_alloc(1, 1, &small), 0); /* takes a page of the first 2 MiB */
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), 3 * SIZE_2M + 0x1ff000, SIZE_1G), 0);
	for (uint64_t at = 0; at < 3 * SIZE_2M + 0x1ff000; at += leaf.leaf_bytes) {
		assert_int_equal(gmem_fault(&gmem, gpa(at), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
		assert_int_equal(ept_walk(&gmem.root, gpa(at), &leaf), 0);
		large_count += leaf.leaf_bytes == SIZE_2M;
	}
	assert_int_equal(large_count, 3);
	assert_int_equal(gmem.resident_bytes, 3 * SIZE_2M + 0x1ff000);
	frames_free(small, 1);
}

TEST(test_add_no_memory, setup, teardown)
{
	fake_pages_fail_after(0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), SIZE_2M, SIZE_2M), ERR_NOMEM);
	fake_pages_fail_after(-1);
	fake_frames_fail_after(0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), SIZE_2M, SIZE_2M), ERR_NOMEM);
	fake_frames_fail_after(-1);
	assert_int_equal(gmem.region_count, 0);
	assert_false(gmem_is_ram(&gmem, gpa(0), 1));
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), SIZE_2M, SIZE_2M), 0);
}

/*
 * Frames are wiped before they are freed. The fake keeps the content of a frame that is allocated
 * again at once.
 */
TEST(test_destroy_wipes, setup, teardown)
{
	static const uint64_t touched[] = { 0x3000, 0x2345678, 0x7ff000 };
	struct ept_leaf leaves[ARRAY_COUNT(touched)];
	const uint8_t *bytes[ARRAY_COUNT(touched)];

	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x1000), 0x8000000, SIZE_2M), 0);
	for (size_t i = 0; i < ARRAY_COUNT(touched); i++) {
		gpa_t page = gpa(touched[i] & PAGE_MASK);

		assert_int_equal(gmem_fill(&gmem, page, 0xcc, PAGE_SIZE), 0);
		assert_int_equal(ept_walk(&gmem.root, page, &leaves[i]), 0);
		bytes[i] = fake_frame(leaves[i].hpa);
		assert_int_equal(bytes[i][0] & bytes[i][PAGE_SIZE - 1], 0xcc);
	}
	gmem_end(&gmem);
	assert_int_equal(fake_frames_live(), 0);
	assert_int_equal(fake_pages_live(), 0);
	for (size_t i = 0; i < ARRAY_COUNT(touched); i++) {
		for (size_t j = 0; j < PAGE_SIZE; j++) {
			assert_int_equal(bytes[i][j], 0);
		}
	}
	/*
	 * Untouched frames were not wiped. 1 page and two leaves of 2 MiB were mapped to be zeroed
	 * and to be wiped, and 3 pages to be filled.
	 */
	assert_int_equal(fake_temp_maps(), 2 * (1 + 512 + 512) + 3);
	gmem_end(&gmem); /* harmless after gmem_destroy */
}

/* The fast path of page walks: as gmem_read, but it refuses unaligned addresses. */
TEST(test_load, setup, teardown)
{
	static const struct {
		uint64_t at;
		size_t bytes;
		int err;
		uint64_t value;
	} cases[] = {
		{ 0x1ff8, 8, 0, 0x8877665544332211 },
		{ 0x1ff8, 4, 0, 0x44332211 },
		{ 0x1ffc, 4, 0, 0x88776655 },
		{ 0x2000, 8, 0, 0 }, /* never touched */
		{ 0x2ff8, 8, 0, 0 },
		{ 0x1ffc, 8, ERR_RANGE, 0 },
		{ 0x1ffe, 4, ERR_RANGE, 0 },
		{ 0x1ff9, 8, ERR_RANGE, 0 },
		{ 0x3000, 8, ERR_RANGE, 0 },
		{ 0xff8, 8, ERR_RANGE, 0 },
		{ -8ul, 8, ERR_RANGE, 0 },
	};
	const uint64_t word = 0x8877665544332211;
	struct ept_leaf leaf;
	uint64_t value;

	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0x1000), 0x2000, PAGE_SIZE), 0);
	assert_int_equal(gmem_write(&gmem, gpa(0x1ff8), &word, 8), 0);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		value = 0x5a5a;
		assert_int_equal(gmem_load(&gmem, gpa(cases[i].at), &value, cases[i].bytes),
				 cases[i].err);
		assert_int_equal(value, cases[i].err == 0 ? cases[i].value : 0x5a5a);
		assert_int_equal(fake_temp_mapped(), 0);
		assert_int_equal(gmem.lock.next.only, gmem.lock.owner.only);
	}
	/* The load sees what the guest writes. */
	assert_int_equal(ept_walk(&gmem.root, gpa(0x2000), &leaf), 0);
	value = 0x1234;
	memcpy(fake_frame(leaf.hpa), &value, 8);
	assert_int_equal(gmem_load(&gmem, gpa(0x2000), &value, 8), 0);
	assert_int_equal(value, 0x1234);
}

/*
 * The door needs no EPT tables to find pages that it has used before, whatever the size of their
 * leaves. Here that is one of 2 MiB, and behind it some of 4 KiB, as in fragmented memory.
 */
TEST(known_leaves_need_no_walk, setup, teardown)
{
	static uint8_t table[PAGE_SIZE];
	const uint64_t bytes = SIZE_2M + 20 * PAGE_SIZE;
	uint8_t *top;

	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), bytes, SIZE_1G), 0);
	for (uint64_t at = SIZE_2M - 5 * PAGE_SIZE; at < bytes; at += PAGE_SIZE) {
		assert_int_equal(gmem_write(&gmem, gpa(at + 8), &at, 8), 0);
	}
	top = (uint8_t *)(uintptr_t)gmem.root.pml4.v;
	memcpy(table, top, PAGE_SIZE);
	memset(top, 0, PAGE_SIZE);
	for (uint64_t at = SIZE_2M - 5 * PAGE_SIZE, value; at < bytes; at += PAGE_SIZE) {
		assert_int_equal(gmem_read(&gmem, gpa(at + 8), &value, 8), 0);
		assert_int_equal(value, at);
	}
	memcpy(top, table, PAGE_SIZE);
}

/*
 * A running VM does not run out of host pages: first touches, and code in large leaves that must be
 * split, use tables that were set aside; a new leaf of 1 GiB returns one.
 */
TEST(test_no_host_page_at_run_time, setup, teardown)
{
	struct ept_caps caps = *ept_caps();

	for (unsigned round = 0; round < 2; round++) {
		caps.no_large_exec = round == 1;
		ept_configure(&caps);
		assert_int_equal(gmem_add_ram_plain(&gmem, gpa(SIZE_2M - PAGE_SIZE),
						    3 * SIZE_2M + 2 * PAGE_SIZE, SIZE_2M),
				 0);
		assert_int_equal(gmem_add_ram_plain(&gmem, gpa(SIZE_1G), SIZE_1G, SIZE_1G), 0);
		fake_pages_fail_after(0);
		for (uint64_t at = SIZE_2M - PAGE_SIZE; at < 4 * SIZE_2M + PAGE_SIZE;
		     at += PAGE_SIZE) {
			assert_int_equal(gmem_fault(&gmem, gpa(at), GMEM_ACCESS_EXEC, NULL),
					 GMEM_FAULT_FIXED);
		}
		for (uint64_t at = SIZE_1G; at < 2 * SIZE_1G; at += SIZE_2M) {
			assert_int_equal(gmem_fault(&gmem, gpa(at), GMEM_ACCESS_EXEC, NULL),
					 GMEM_FAULT_FIXED);
		}
		fake_pages_fail_after(-1);
		gmem_end(&gmem);
		assert_int_equal(fake_pages_reserved(), 0);
		assert_int_equal(gmem_init(&gmem), 0);
	}
}

/*
 * What the EPT maps, by leaf size: nothing before the first touch, then the largest leaves that
 * fit.
 */
TEST(test_count_leaves, setup, teardown)
{
	struct gmem_leaves leaves;

	assert_int_equal(
		gmem_add_ram_plain(&gmem, gpa(SIZE_2M - PAGE_SIZE), SIZE_2M + PAGE_SIZE, SIZE_2M),
		0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(SIZE_1G), SIZE_1G, SIZE_1G), 0);
	gmem_count_leaves(&gmem, &leaves);
	assert_int_equal(leaves.in_4k + leaves.in_2m + leaves.in_1g, 0);
	assert_int_equal(gmem_fill(&gmem, gpa(SIZE_2M - 1), 1, 2), 0);
	assert_int_equal(gmem_fill(&gmem, gpa(SIZE_1G), 1, 1), 0);
	gmem_count_leaves(&gmem, &leaves);
	assert_int_equal(leaves.in_4k, PAGE_SIZE);
	assert_int_equal(leaves.in_2m, 2 * SIZE_2M);
	assert_int_equal(leaves.in_1g, 0);
	for (uint64_t at = SIZE_2M; at < SIZE_1G; at += SIZE_2M) {
		assert_int_equal(gmem_fill(&gmem, gpa(SIZE_1G + at), 1, 1), 0);
	}
	gmem_count_leaves(&gmem, &leaves);
	assert_int_equal(leaves.in_2m, SIZE_2M);
	assert_int_equal(leaves.in_1g, SIZE_1G);
	assert_int_equal(gmem.lock.next.only, gmem.lock.owner.only);
}
