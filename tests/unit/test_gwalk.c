/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/gwalk.c: the four paging modes, rights, reserved bits, accessed and dirty bits, page
 * crossings.
 */
#include "tests/unit/test.h"
#include "tests/unit/gmem_end.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/gwalk.h"

#define P  1ul
#define W  2ul
#define U  4ul
#define A  0x20ul
#define D  0x40ul
#define PS 0x80ul
#define NX (1ul << 63)

#define RAM   (4ul << 20)
#define TABLE 0x10000ul /* level n's table is at TABLE + n * 4096 */

#define CR0_ON (CR0_PE | CR0_PG | CR0_WP)
#define LONG   (EFER_LME | EFER_LMA | EFER_NXE)
#define LINEAR 0x00007f8040201234ul /* index 255, 1, 1, 1 */
#define KERNEL 0xffff888000001000ul

static struct gmem gmem;

static int setup(void **state)
{
	static const struct ept_caps caps = { .invept_single = true,
					      .structures_wb = true,
					      .phys_bits = 40 };

	fake_setup(state);
	ept_configure(&caps);
	assert_int_equal(gmem_init(&gmem), 0);
	return gmem_add_ram_plain(&gmem, gpa(0), RAM, PAGE_SIZE);
}

static int teardown(void **state)
{
	gmem_end(&gmem);
	return fake_teardown(state);
}

static void put(uint64_t table, uint64_t index, unsigned bytes, uint64_t entry)
{
	assert_int_equal(gmem_write(&gmem, gpa(table + index * bytes), &entry, bytes), 0);
}

static uint64_t get(uint64_t table, uint64_t index, unsigned bytes)
{
	uint64_t entry = 0;

	assert_int_equal(gmem_read(&gmem, gpa(table + index * bytes), &entry, bytes), 0);
	return entry;
}

static uint64_t table_of(unsigned level)
{
	return TABLE + level * PAGE_SIZE;
}

/* A chain of tables for LINEAR in 4-level paging; entries of levels 4 to 2 have all rights. */
static void build_4level(uint64_t leaf)
{
	put(table_of(4), 255, 8, table_of(3) | P | W | U);
	put(table_of(3), 1, 8, table_of(2) | P | W | U);
	put(table_of(2), 1, 8, table_of(1) | P | W | U);
	put(table_of(1), 1, 8, leaf);
}

static const struct right_case {
	const char *name;
	uint64_t leaf; /* entry of the 4-KiB page */
	uint64_t cr0, cr4, efer, rflags;
	bool user;
	enum gwalk_access access;
	int error_code; /* -1: allowed */
} right_cases[] = {
	{ "kernel reads a kernel page", P, CR0_ON, CR4_PAE, LONG, 0, false, GWALK_READ, -1 },
	{ "user reads a user page", P | U, CR0_ON, CR4_PAE, LONG, 0, true, GWALK_READ, -1 },
	{ "user reads a kernel page", P, CR0_ON, CR4_PAE, LONG, 0, true, GWALK_READ, 5 },
	{ "not present", 0, CR0_ON, CR4_PAE, LONG, 0, true, GWALK_WRITE, 6 },
	{ "user writes a read-only page", P | U, CR0_ON, CR4_PAE, LONG, 0, true, GWALK_WRITE, 7 },
	{ "kernel writes read-only, WP", P, CR0_ON, CR4_PAE, LONG, 0, false, GWALK_WRITE, 3 },
	{ "kernel writes read-only, no WP", P, CR0_PE | CR0_PG, CR4_PAE, LONG, 0, false,
	  GWALK_WRITE, -1 },
	{ "fetch from NX", P | U | NX, CR0_ON, CR4_PAE, LONG, 0, true, GWALK_FETCH, 21 },
	{ "NX bit without NXE", P | U | NX, CR0_ON, CR4_PAE, EFER_LME | EFER_LMA, 0, true,
	  GWALK_READ, 13 },
	{ "SMEP", P | U, CR0_ON, CR4_PAE | CR4_SMEP, LONG, 0, false, GWALK_FETCH, 17 },
	{ "no SMEP", P | U, CR0_ON, CR4_PAE, LONG, 0, false, GWALK_FETCH, -1 },
	{ "SMAP", P | U, CR0_ON, CR4_PAE | CR4_SMAP, LONG, 0, false, GWALK_READ, 1 },
	{ "SMAP with AC", P | U, CR0_ON, CR4_PAE | CR4_SMAP, LONG, RFLAGS_AC, false, GWALK_READ,
	  -1 },
	{ "address bit beyond MAXPHYADDR", P | U | BIT(45), CR0_ON, CR4_PAE, LONG, 0, true,
	  GWALK_READ, 13 },
};

TEST(test_rights, setup, teardown)
{
	for (size_t i = 0; i < ARRAY_COUNT(right_cases); i++) {
		const struct right_case *c = &right_cases[i];
		struct gwalk_mode mode = {
			c->cr0, table_of(4), c->cr4, c->efer, c->rflags, c->user
		};
		struct gwalk_fault fault = { 0 };
		gpa_t out;
		int err;

		build_4level(c->leaf == 0 ? 0 : c->leaf | 0x3000);
		err = gwalk_translate(&gmem, &mode, LINEAR, c->access, &out, &fault);
		if (c->error_code < 0
			    ? err != 0 || out.v != 0x3234
			    : err != ERR_NOTFOUND || fault.vector != 14 || fault.linear != LINEAR ||
				      fault.error_code != (uint32_t)c->error_code) {
			fail_msg("%s: %d, error code %u", c->name, err, fault.error_code);
		}
	}
}

TEST(test_accessed_and_dirty, setup, teardown)
{
	struct gwalk_mode mode = { CR0_ON, table_of(4) | 0x18, CR4_PAE, LONG, 0, false };
	struct gwalk_fault fault;
	gpa_t out;

	build_4level(0x3000 | P | W);
	assert_int_equal(gwalk_translate(&gmem, &mode, LINEAR, GWALK_READ, &out, &fault), 0);
	assert_int_equal(get(table_of(1), 1, 8), 0x3000 | P | W | A);
	assert_int_equal(get(table_of(4), 255, 8), table_of(3) | P | W | U | A);
	assert_int_equal(gwalk_translate(&gmem, &mode, LINEAR, GWALK_WRITE, &out, &fault), 0);
	assert_int_equal(get(table_of(1), 1, 8), 0x3000 | P | W | A | D);
	/* A refused access changes nothing. */
	build_4level(0x3000 | P);
	assert_int_equal(gwalk_translate(&gmem, &mode, LINEAR, GWALK_WRITE, &out, &fault),
			 ERR_NOTFOUND);
	assert_int_equal(get(table_of(1), 1, 8), 0x3000 | P);
}

TEST(test_large_pages, setup, teardown)
{
	struct gwalk_mode mode = { CR0_ON, table_of(4), CR4_PAE, LONG, 0, false };
	struct gwalk_fault fault;
	gpa_t out;

	build_4level(0);
	put(table_of(2), 1, 8, 0x200000 | P | W | PS);
	assert_int_equal(gwalk_translate(&gmem, &mode, LINEAR, GWALK_READ, &out, &fault), 0);
	assert_int_equal(out.v, 0x200000 | (LINEAR & 0x1fffff));
	for (unsigned bit = 12; bit <= 21; bit++) { /* PAT, reserved address bits, the address */
		put(table_of(2), 1, 8, BIT(bit) | P | W | PS);
		if (bit == 12 || bit == 21) {
			assert_int_equal(
				gwalk_translate(&gmem, &mode, LINEAR, GWALK_READ, &out, &fault), 0);
			continue;
		}
		assert_int_equal(gwalk_translate(&gmem, &mode, LINEAR, GWALK_READ, &out, &fault),
				 ERR_NOTFOUND);
		assert_int_equal(fault.error_code, 9);
	}
	put(table_of(3), 1, 8, 0x40000000 | P | W | PS);
	assert_int_equal(gwalk_translate(&gmem, &mode, LINEAR, GWALK_READ, &out, &fault), 0);
	assert_int_equal(out.v, 0x40000000 | (LINEAR & 0x3fffffff));
	put(table_of(4), 255, 8, table_of(3) | P | PS); /* level 4 has no large pages */
	assert_int_equal(gwalk_translate(&gmem, &mode, LINEAR, GWALK_READ, &out, &fault),
			 ERR_NOTFOUND);
	assert_int_equal(fault.error_code, 9);
}

TEST(test_other_modes, setup, teardown)
{
	struct gwalk_mode off = { .cr0 = CR0_PE };
	struct gwalk_mode legacy = { CR0_ON, table_of(2), CR4_PSE, 0, 0, false };
	struct gwalk_mode pae = { CR0_ON, table_of(3) | 0x20, CR4_PAE, 0, 0, false };
	struct gwalk_fault fault;
	gpa_t out;

	assert_int_equal(gwalk_translate(&gmem, &off, 0x1fee01234, GWALK_READ, &out, &fault), 0);
	assert_int_equal(out.v, 0xfee01234);
	put(table_of(2), 0x3fb, 4, table_of(1) | P | W);
	put(table_of(1), 0x201, 4, 0x5000 | P | W);
	assert_int_equal(gwalk_translate(&gmem, &legacy, 0xfee01234, GWALK_WRITE, &out, &fault), 0);
	assert_int_equal(out.v, 0x5234);
	assert_int_equal(get(table_of(1), 0x201, 4), 0x5000 | P | W | A | D);
	put(table_of(2), 0x3fb, 4, 0x00c02000 | P | W | PS); /* PSE-36: bit 32 */
	assert_int_equal(gwalk_translate(&gmem, &legacy, 0xfee01234, GWALK_READ, &out, &fault), 0);
	assert_int_equal(out.v, 0x100c00000 | (0xfee01234 & 0x3fffff));
	put(table_of(3) + 0x20, 3, 8, table_of(2) | P);
	put(table_of(2), 0x1f7, 8, table_of(1) | P | W);
	put(table_of(1), 1, 8, 0x6000 | P | W);
	assert_int_equal(gwalk_translate(&gmem, &pae, 0xfee01234, GWALK_WRITE, &out, &fault), 0);
	assert_int_equal(out.v, 0x6234);
	assert_int_equal(get(table_of(3) + 0x20, 3, 8), table_of(2) | P); /* a PDPTE has no A bit */
}

TEST(test_hostile_tables, setup, teardown)
{
	struct gwalk_mode mode = { CR0_ON, table_of(4), CR4_PAE, LONG, 0, false };
	struct gwalk_fault fault;
	gpa_t out;

	assert_int_equal(
		gwalk_translate(&gmem, &mode, 0x0000800000000000, GWALK_READ, &out, &fault),
		ERR_NOTFOUND);
	assert_int_equal(fault.vector, 13);
	put(table_of(4), 255, 8, RAM | P | W); /* a table outside of RAM reads as ones */
	assert_int_equal(gwalk_translate(&gmem, &mode, LINEAR, GWALK_READ, &out, &fault),
			 ERR_NOTFOUND);
	assert_int_equal(fault.error_code, 9);
	put(table_of(4), 255, 8, table_of(4) | P | W); /* a table that refers to itself */
	put(table_of(4), 1, 8, table_of(4) | P | W);
	assert_int_equal(gwalk_translate(&gmem, &mode, LINEAR, GWALK_READ, &out, &fault), 0);
	assert_int_equal(out.v, table_of(4) | 0x234);
	mode.cr3 = MASK(39, 12);
	assert_int_equal(gwalk_translate(&gmem, &mode, KERNEL, GWALK_READ, &out, &fault),
			 ERR_NOTFOUND);
	assert_int_equal(fault.error_code, 9);
	/*
	 * 32-bit paging without large pages: entries of ones lead to more ones, and to the last
	 * page.
	 */
	mode = (struct gwalk_mode){ CR0_ON, RAM, 0, 0, 0, false };
	assert_int_equal(gwalk_translate(&gmem, &mode, 0x12345678, GWALK_WRITE, &out, &fault), 0);
	assert_int_equal(out.v, 0xfffff678);
	mode.cr4 = CR4_PSE;
	assert_int_equal(gwalk_translate(&gmem, &mode, 0x12345678, GWALK_WRITE, &out, &fault),
			 ERR_NOTFOUND);
	assert_int_equal(fault.error_code, 11);
}

TEST(test_copy_crosses_a_page, setup, teardown)
{
	struct gwalk_mode mode = { CR0_ON, table_of(4), CR4_PAE, LONG, 0, false };
	struct gwalk_fault fault;
	char buf[16] = "";

	build_4level(0x3000 | P | W);
	put(table_of(1), 2, 8, 0x7000 | P | W);
	assert_int_equal(gmem_write(&gmem, gpa(0x3ffc), "abcd", 4), 0);
	assert_int_equal(gmem_write(&gmem, gpa(0x7000), "efgh", 4), 0);
	assert_int_equal(
		gwalk_copy(&gmem, &mode, (LINEAR & PAGE_MASK) + 0xffc, buf, 8, GWALK_READ, &fault),
		0);
	assert_string_equal(buf, "abcdefgh");
	/* The second page is read-only: nothing may be written to the first either. */
	put(table_of(1), 2, 8, 0x7000 | P);
	assert_int_equal(gwalk_copy(&gmem, &mode, (LINEAR & PAGE_MASK) + 0xffc, "ABCDEFGH", 8,
				    GWALK_WRITE, &fault),
			 ERR_NOTFOUND);
	assert_int_equal(fault.linear, (LINEAR & PAGE_MASK) + 0x1000);
	assert_int_equal(gmem_read(&gmem, gpa(0x3ffc), buf, 4), 0);
	assert_memory_equal(buf, "abcd", 4);
	put(table_of(1), 2, 8, RAM | P | W); /* not RAM */
	assert_int_equal(
		gwalk_copy(&gmem, &mode, (LINEAR & PAGE_MASK) + 0xffc, buf, 8, GWALK_READ, &fault),
		ERR_RANGE);
	assert_int_equal(gwalk_copy(&gmem, &mode, LINEAR, buf, PAGE_SIZE + 1, GWALK_READ, &fault),
			 ERR_INVAL);
}

/* Notes hold as long as no entry on the way has changed, and no longer. */
TEST(test_notes, setup, teardown)
{
	struct gwalk_mode mode = { CR0_ON, table_of(4), CR4_PAE, LONG, 0, false };
	static const unsigned indices[] = { 1, 1, 1, 255 };
	struct gmem_expect notes[GWALK_LEVELS_MAX];
	struct gwalk_fault fault;
	uint8_t count;
	gpa_t out;

	build_4level(0x3000 | P | W);
	assert_int_equal(gwalk_translate_noted(&gmem, &mode, LINEAR, GWALK_FETCH, &out, &fault,
					       notes, &count),
			 0);
	assert_int_equal(count, 4);
	assert_false(gmem_holds(&gmem, notes, count)); /* the walk itself has set accessed bits */
	assert_int_equal(gwalk_translate_noted(&gmem, &mode, LINEAR, GWALK_FETCH, &out, &fault,
					       notes, &count),
			 0);
	assert_int_equal(out.v, 0x3234);
	assert_true(gmem_holds(&gmem, notes, count));
	for (unsigned level = 1; level <= 4; level++) {
		uint64_t entry = get(table_of(level), indices[level - 1], 8);

		for (unsigned bit = 0; bit < 64; bit++) {
			put(table_of(level), indices[level - 1], 8, entry ^ 1ul << bit);
			assert_false(gmem_holds(&gmem, notes, count));
		}
		put(table_of(level), indices[level - 1], 8, entry);
		put(table_of(level), indices[level - 1] + 1, 8, ~entry); /* the next entry */
		assert_true(gmem_holds(&gmem, notes, count));
	}
	/* A failed walk makes no notes, nor does one with paging off. */
	put(table_of(1), 1, 8, 0);
	assert_int_equal(gwalk_translate_noted(&gmem, &mode, LINEAR, GWALK_FETCH, &out, &fault,
					       notes, &count),
			 ERR_NOTFOUND);
	assert_int_equal(count, 0);
	mode.cr0 = CR0_PE;
	assert_int_equal(gwalk_translate_noted(&gmem, &mode, 0x1234, GWALK_FETCH, &out, &fault,
					       notes, &count),
			 0);
	assert_int_equal(count, 0);
}

/* 4-byte entries: the other half of the 8-byte word does not matter. */
TEST(test_notes_of_32bit_paging, setup, teardown)
{
	struct gwalk_mode mode = { CR0_ON, table_of(2), 0, 0, 0, false };
	struct gmem_expect notes[GWALK_LEVELS_MAX];
	struct gwalk_fault fault;
	uint8_t count;
	gpa_t out;

	put(table_of(2), 3, 4, table_of(1) | P | W | A);
	put(table_of(1), 5, 4, 0x7000 | P | W | A);
	assert_int_equal(gwalk_translate_noted(&gmem, &mode, 3u << 22 | 5u << 12 | 0x10,
					       GWALK_FETCH, &out, &fault, notes, &count),
			 0);
	assert_int_equal(out.v, 0x7010);
	assert_int_equal(count, 2);
	put(table_of(2), 2, 4, 0xffffffff);
	put(table_of(1), 4, 4, 0xffffffff);
	assert_true(gmem_holds(&gmem, notes, count));
	put(table_of(1), 5, 4, 0x8000 | P | W | A);
	assert_false(gmem_holds(&gmem, notes, count));
}

TEST(test_holds_is_bounded, setup, teardown)
{
	struct gmem_expect word = { .at = RAM - 8 };

	assert_true(gmem_holds(&gmem, &word, 1));
	assert_true(gmem_holds(&gmem, &word, 0));
	word = (struct gmem_expect){ .at = RAM };
	assert_false(gmem_holds(&gmem, &word, 1));
	word = (struct gmem_expect){ .at = UINT64_MAX - 7 };
	assert_false(gmem_holds(&gmem, &word, 1));
}
