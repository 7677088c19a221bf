/* SPDX-License-Identifier: Apache-2.0 */
/* KeyIDs, aliases, caches and DRAM: rows 16, 26 to 28, 31, 33 to 36, 42, 43. */
#include "rows.h"

#define ONE	      2u /* KeyIDs for which the rows set keys */
#define TWO	      3u
#define NEAR	      4u  /* a KeyID that at first has a key only on package 0 */
#define PAGE	      4u  /* the test page that changes its owner */
#define EXCLUDED_PAGE 32u /* EXCLUDE=4020000:fffffffff0000 */
/* The known answers are for this address, which is firmware's memory. */
#define KNOWN 0x1000000ull

/*
 * The expected content of DRAM at KNOWN with the keys of seed 0: facts of the model, computed with
 * two independent libraries. The data unit is a line, its number the address / 64, 128 bits
 * little-endian.
 */
static const uint8_t xts_128[2][LINE_BYTES] = {
	{ 0xf3, 0x2a, 0x82, 0x19, 0xe7, 0x93, 0x2a, 0x42, 0xdc, 0xf7, 0xe0, 0x43, 0xaa,
	  0x9b, 0xc2, 0x5f, 0x1d, 0x08, 0x06, 0xce, 0x02, 0x52, 0x7c, 0x0c, 0x6d, 0xec,
	  0xc8, 0xc5, 0x41, 0x74, 0xa7, 0x2b, 0xe3, 0xef, 0x2a, 0xfc, 0x35, 0x3e, 0x81,
	  0x05, 0x04, 0x19, 0xcf, 0xa3, 0x78, 0xa0, 0x9a, 0x78, 0x1a, 0xc7, 0x28, 0x09,
	  0x8a, 0x0c, 0x71, 0xe2, 0x13, 0x15, 0x87, 0xb2, 0x83, 0xc9, 0xb0, 0x2d },
	{ 0x2c, 0x1a, 0x50, 0xa8, 0xa2, 0x91, 0xaa, 0xaa, 0x7d, 0x89, 0xdd, 0xb4, 0x9d,
	  0x66, 0xb6, 0x98, 0x9c, 0x24, 0x34, 0xdc, 0xf4, 0x45, 0x06, 0x1a, 0xcc, 0x23,
	  0x14, 0xc5, 0x63, 0x35, 0x86, 0x42, 0x0a, 0xc1, 0x65, 0x18, 0x0a, 0x55, 0x34,
	  0x2a, 0xe0, 0x8e, 0x02, 0xc4, 0x38, 0x63, 0xd3, 0x43, 0x4d, 0xb3, 0x69, 0xaa,
	  0xb3, 0xfb, 0xb7, 0xd6, 0xdc, 0x5e, 0x5d, 0x1a, 0xf7, 0x4a, 0x6a, 0xe3 },
};
static const uint8_t xts_256[LINE_BYTES] = {
	0x0a, 0x7b, 0x66, 0x0f, 0xf3, 0x3d, 0x00, 0x2a, 0xea, 0x30, 0x7b, 0x4e, 0xd6,
	0xe7, 0x95, 0x3a, 0xf1, 0x0e, 0x04, 0x1f, 0x97, 0x9a, 0x8b, 0xee, 0x04, 0x42,
	0x57, 0x67, 0xbf, 0xba, 0x75, 0x1b, 0x25, 0x2b, 0x55, 0x44, 0xd3, 0xc7, 0xed,
	0x90, 0x79, 0x45, 0xa4, 0xce, 0x47, 0xde, 0x44, 0xa5, 0x0b, 0xc7, 0x29, 0x98,
	0xac, 0xb3, 0xf0, 0xa8, 0x28, 0x72, 0xf2, 0x6a, 0x9c, 0xc5, 0xf8, 0xc0
};
static const uint8_t xts_128_zeroes[LINE_BYTES] = {
	0xe6, 0xfc, 0x83, 0xcc, 0x91, 0x31, 0xba, 0xea, 0x2d, 0x36, 0xad, 0xd7, 0x7b,
	0x9a, 0xef, 0x52, 0x1f, 0x23, 0xe9, 0xb4, 0x48, 0xc3, 0x84, 0x57, 0x91, 0x1e,
	0x37, 0x87, 0x39, 0xb2, 0xe2, 0xb1, 0x6a, 0x4f, 0x6a, 0x29, 0x3a, 0x15, 0xbc,
	0xc2, 0xde, 0xde, 0x93, 0xa3, 0xa1, 0x8a, 0x17, 0x6b, 0x7a, 0x1a, 0x98, 0x8a,
	0xd1, 0x32, 0x36, 0xe8, 0x73, 0x1c, 0x4d, 0xec, 0x07, 0x7a, 0xd3, 0x15,
};

static uint8_t plain[PAGE_BYTES], other[PAGE_BYTES], saw[PAGE_BYTES];

static void evict_page(unsigned keyid, uint64_t at)
{
	for (unsigned i = 0; i < PAGE_BYTES; i += LINE_BYTES) {
		evict(keyid, at + i);
	}
}

/* Writes a line with the KeyID, evicts it to DRAM, and reads it there. */
static void line_to_dram(unsigned keyid, uint64_t at, const void *line)
{
	evict_all();
	copy(alias(keyid, at), line, LINE_BYTES);
	clflush(alias(keyid, at), LINE_BYTES);
	bus_read(at, saw, LINE_BYTES);
}

/* 16: only for KeyID 0 is the exclusion range in clear. */
static void row_16(void)
{
	pattern(plain, 16, LINE_BYTES);
	set_key(TWO, 16);
	line_to_dram(0, test_page(EXCLUDED_PAGE), plain);
	check_bytes("KeyID 0 inside, DRAM", saw, plain, LINE_BYTES);
	line_to_dram(TWO, test_page(EXCLUDED_PAGE), plain);
	check_garbage("KeyID 3 inside, DRAM", saw, plain, LINE_BYTES);
	line_to_dram(0, test_page(EXCLUDED_PAGE - 1), plain);
	check_garbage("KeyID 0 below, DRAM", saw, plain, LINE_BYTES);
	line_to_dram(0, test_page(EXCLUDED_PAGE + 15), plain);
	check_bytes("KeyID 0 in the last page, DRAM", saw, plain, LINE_BYTES);
	line_to_dram(0, test_page(EXCLUDED_PAGE + 16), plain);
	check_garbage("KeyID 0 above, DRAM", saw, plain, LINE_BYTES);
}

static void known_answer(const char *what, uint64_t at, const void *line, const uint8_t *answer)
{
	line_to_dram(1, at, line);
	check_bytes(what, saw, answer, LINE_BYTES);
}

/* 26: DRAM contains the known answers. */
static void row_26(void)
{
	uint8_t line[LINE_BYTES], firmware[2 * LINE_BYTES];
	bool short_key = algorithm() == ALG_XTS_128;

	for (unsigned i = 0; i < LINE_BYTES; i++) {
		line[i] = (uint8_t)i;
	}
	copy(firmware, alias(0, KNOWN), sizeof(firmware));
	if (!set_key(1, 0)) {
		return;
	}
	known_answer("DRAM at 1000000H", KNOWN, line, short_key ? xts_128[0] : xts_256);
	if (short_key) {
		known_answer("DRAM at 1000040H", KNOWN + LINE_BYTES, line, xts_128[1]);
		fill(line, 0, LINE_BYTES);
		known_answer("zeroes, DRAM at 1000000H", KNOWN, line, xts_128_zeroes);
	}
	/* The other direction: ciphertext that the bus wrote is read through the key. */
	bus_write(KNOWN + LINE_BYTES, saw, LINE_BYTES);
	bus_write(KNOWN, short_key ? xts_128[0] : xts_256, LINE_BYTES);
	for (unsigned i = 0; i < LINE_BYTES; i++) {
		line[i] = (uint8_t)i;
	}
	copy(saw, alias(1, KNOWN), LINE_BYTES);
	check_bytes("read of that ciphertext", saw, line, LINE_BYTES);
	evict_all();
	copy(alias(0, KNOWN), firmware, sizeof(firmware));
}

/* The KeyID behaves like KeyID 0: it has the TME key, or none under bypass. */
static void like_keyid_0(const char *what, unsigned keyid)
{
	uint64_t at = test_page(PAGE);
	bool bypass = rdmsr(MSR_TME_ACTIVATE) >> 31 & 1;

	print("  %s:\n", what);
	line_to_dram(keyid, at, plain);
	if (bypass) {
		check_bytes("  DRAM", saw, plain, LINE_BYTES);
	} else {
		check_garbage("  DRAM", saw, plain, LINE_BYTES);
	}
	copy(saw, alias(0, at), LINE_BYTES);
	check_bytes("  read with KeyID 0", saw, plain, LINE_BYTES);
}

/* 27: a KeyID without a key, and a KeyID whose key was cleared. */
static void row_27(void)
{
	struct key_program key;

	pattern(plain, 27, LINE_BYTES);
	like_keyid_0("KeyID 5 as activated", 5);
	set_key(5, 27);
	line_to_dram(5, test_page(PAGE), plain);
	check_garbage("with a key, DRAM", saw, plain, LINE_BYTES);
	copy(saw, alias(0, test_page(PAGE)), LINE_BYTES);
	check_garbage("  read with KeyID 0", saw, plain, LINE_BYTES);
	program(&key, 5, CLEAR_KEY, algorithm(), 0);
	check_equal("CLEAR_KEY: RAX", pconfig_key(&key).rax, 0);
	like_keyid_0("KeyID 5 after CLEAR_KEY", 5);
}

/* 28: no encryption at all. */
static void row_28(void)
{
	struct key_program key;

	pattern(plain, 28, LINE_BYTES);
	set_key(6, 28);
	program(&key, 6, NO_ENCRYPT, algorithm(), 0);
	check_equal("NO_ENCRYPT: RAX", pconfig_key(&key).rax, 0);
	line_to_dram(6, test_page(PAGE), plain);
	check_bytes("DRAM", saw, plain, LINE_BYTES);
}

/* 31 (p > 0): bits of TDX KeyIDs are reserved in page tables and CR3. */
static void row_31(void)
{
	uint64_t top = BIT(physical_bits() - 1), value;
	volatile uint64_t *entry = scratch_entry();

	if (tdx_bits() == 0) {
		cannot("no KeyIDs are TDX's");
		return;
	}
	*entry = test_page(PAGE) >> 30 << 30 | 0x87 | top;
	check_equal("read through a PTE with the top bit: vector",
		    try_read((void *)SCRATCH_VA, &value), VECTOR_PF);
	check_equal("  error code", this_cpu()->caught.error, PF_PRESENT | PF_RSVD);
	check_equal("CR3 with the top bit: vector", try_write_cr3(read_cr3() | top), VECTOR_GP);
	check_equal("  error code", this_cpu()->caught.error, 0);
	*entry = 0;
	evict_all();
	if (keyid_bits() > tdx_bits()) {
		*entry = test_page(PAGE) >> 30 << 30 | 0x87 | keyid_field(1);
		check_equal("the same with KeyID 1: vector", try_read((void *)SCRATCH_VA, &value),
			    NO_TRAP);
		*entry = 0;
	}
	check_equal("CR3 again as it was: vector", try_write_cr3(read_cr3()), NO_TRAP);
}

/* 33: aliases are not coherent. */
static void row_33(void)
{
	uint64_t at = test_page(PAGE);

	pattern(plain, 33, LINE_BYTES);
	set_key(ONE, 33);
	set_key(TWO, 34);
	evict_all();
	copy(alias(ONE, at), plain, LINE_BYTES);
	copy(saw, alias(TWO, at), LINE_BYTES);
	check_garbage("read with KeyID 3, dirty with 2", saw, plain, LINE_BYTES);
	clflush(alias(ONE, at), LINE_BYTES);
	clflush(alias(TWO, at), LINE_BYTES);
	copy(saw, alias(TWO, at), LINE_BYTES);
	check_garbage("read with KeyID 3 after both were flushed", saw, plain, LINE_BYTES);
	clflush(alias(TWO, at), LINE_BYTES);
	copy(saw, alias(ONE, at), LINE_BYTES);
	check_bytes("read with KeyID 2", saw, plain, LINE_BYTES);
}

/*
 * 33, the other direction: a clean line stays in use when DRAM under it has changed (strict only).
 */
static void row_33_stale(void)
{
	uint64_t at = test_page(PAGE);
	uint8_t first[LINE_BYTES];

	pattern(plain, 39, LINE_BYTES);
	set_key(ONE, 33);
	set_key(TWO, 34);
	evict_all();
	copy(first, alias(TWO, at), LINE_BYTES);
	copy(alias(ONE, at), plain, LINE_BYTES);
	clflush(alias(ONE, at), LINE_BYTES);
	copy(saw, alias(TWO, at), LINE_BYTES);
	check_bytes("read with KeyID 3 after a write with 2", saw, first, LINE_BYTES);
	clflush(alias(TWO, at), LINE_BYTES);
	copy(saw, alias(TWO, at), LINE_BYTES);
	check_garbage("and after its own flush", saw, first, LINE_BYTES);
}

static void no_flush(const volatile void *at, size_t bytes)
{
}

static void flush_all(const volatile void *at, size_t bytes)
{
	wbinvd();
}

/*
 * A page changes from KeyID 2 to 3: it is flushed, written as a whole, and read back after every
 * line was evicted, the new owner's lines first.
 */
static void reassign(void (*flush)(const volatile void *, size_t), unsigned flushed_keyid)
{
	uint64_t at = test_page(PAGE);

	pattern(plain, 1, PAGE_BYTES);
	pattern(other, 2, PAGE_BYTES);
	set_key(ONE, 35);
	set_key(TWO, 36);
	evict_all();
	copy(alias(ONE, at), plain, PAGE_BYTES);
	flush(alias(flushed_keyid, at), PAGE_BYTES);
	copy(alias(TWO, at), other, PAGE_BYTES);
	evict_page(TWO, at);
	evict_page(ONE, at);
	copy(saw, alias(TWO, at), PAGE_BYTES);
}

/* 34: the new owner's data is intact if the old owner's lines were flushed ... */
static void row_34(void)
{
	reassign(clflushopt, ONE);
	check_intact("new owner's page, CLFLUSHOPT", saw, other, PAGE_BYTES);
}

static void row_34_clflush(void)
{
	reassign(clflush, ONE);
	check_intact("new owner's page, CLFLUSH", saw, other, PAGE_BYTES);
}

static void row_34_wbinvd(void)
{
	reassign(flush_all, ONE);
	check_intact("new owner's page, WBINVD", saw, other, PAGE_BYTES);
}

/* ... and is lost if not (strict only). */
static void row_34_skip(void)
{
	reassign(no_flush, ONE);
	check_garbage("new owner's page without a flush", saw, other, PAGE_BYTES);
}

/* 35: a flush through another alias flushes nothing (strict only). */
static void row_35(void)
{
	reassign(clflush, 0);
	check_garbage("new owner's page, flushed through KeyID 0", saw, other, PAGE_BYTES);
}

/* A KeyID gets another key: data written under the old key must be unreadable. */
static void rekey(void (*before)(const volatile void *, size_t))
{
	uint64_t at = test_page(PAGE);

	pattern(plain, 3, PAGE_BYTES);
	set_key(ONE, 37);
	evict_all();
	copy(alias(ONE, at), plain, PAGE_BYTES);
	before(alias(ONE, at), PAGE_BYTES);
	set_key(ONE, 38);
	evict_page(ONE, at);
	copy(saw, alias(ONE, at), PAGE_BYTES);
}

/* 36: flush, then PCONFIG. */
static void row_36(void)
{
	rekey(clflush);
	check_gone("page of the old key, CLFLUSH", saw, plain, PAGE_BYTES);
}

static void row_36_wbinvd(void)
{
	rekey(flush_all);
	check_gone("page of the old key, WBINVD", saw, plain, PAGE_BYTES);
}

/*
 * PCONFIG first: lines that are evicted late get the new key, so the secret outlives its key
 * (strict only).
 */
static void row_36_skip(void)
{
	rekey(no_flush);
	check_bytes("page of the old key without a flush", saw, plain, PAGE_BYTES);
}

/* 42: devices use KeyID 0 only. */
static void row_42(void)
{
	uint64_t at = test_page(PAGE), clear = test_page(PAGE + 1);

	pattern(plain, 42, PAGE_BYTES);
	set_key(ONE, 42);
	evict_all();
	copy(alias(ONE, at), plain, PAGE_BYTES);
	clflush(alias(ONE, at), PAGE_BYTES);
	fill((void *)clear, 0, PAGE_BYTES);
	if (!memory_to_disk(at) || !disk_to_memory(clear)) {
		return;
	}
	copy(saw, (void *)clear, 512);
	check_garbage("the disk read from a page of KeyID 2", saw, plain, 512);
	copy((void *)clear, plain, 512);
	if (!memory_to_disk(clear) || !disk_to_memory(at)) {
		return;
	}
	copy(saw, alias(ONE, at), 512);
	check_garbage("the disk wrote to it, read with KeyID 2", saw, plain, 512);
	copy(saw, alias(0, at), 512);
	check_bytes("  read with KeyID 0", saw, plain, 512);
	copy(saw, alias(ONE, at) + 512, 512);
	check_bytes("  the next 512 bytes, read with KeyID 2", saw, plain + 512, 512);
}

/* --- Two packages (PKGS=2 CPUS=2): CPU 1 and the upper half of DRAM are package 1 --- */

static void random_on_cpu1(void *argument)
{
	*(struct pconfig_result *)argument = pconfig_key((struct key_program *)ARENA_FAR);
}

static struct pconfig_result pconfig_cpu1(const struct key_program *key)
{
	struct pconfig_result result = { .trap = NO_TRAP, .rax = ~0ull };

	copy((void *)ARENA_FAR, key, sizeof(*key));
	on_cpu1(random_on_cpu1, &result);
	return result;
}

/* Gives KeyID 2 of package 1 the key that a random key with this generator output must be. */
static void by_hand(struct key_program *key, const uint8_t delivered[128])
{
	program(key, TWO, SET_KEY_DIRECT, algorithm(), 43);
	for (unsigned i = 0; i < 64; i++) {
		key->field1[i] ^= delivered[i];
		key->field2[i] ^= delivered[64 + i];
	}
}

static void far_line(unsigned keyid, uint8_t line[LINE_BYTES])
{
	line_to_dram(keyid, ARENA_FAR + PAGE_BYTES, plain);
	copy(line, saw, LINE_BYTES);
}

/* 25 with two packages: each makes another key from the same entropy field. */
static void row_25_packages(void)
{
	uint8_t near_key[128], far_key[128], random[LINE_BYTES], made[LINE_BYTES];
	struct key_program key;

	pattern(plain, 43, LINE_BYTES);
	program(&key, ONE, SET_KEY_RANDOM, algorithm(), 43);
	check_equal("package 0, random key: RAX", pconfig_key(&key).rax, 0);
	last_random(near_key);
	check_equal("package 1, random key: RAX", pconfig_cpu1(&key).rax, 0);
	last_random(far_key);
	check_garbage("package 1's generator output", far_key, near_key, 64);
	far_line(ONE, random);
	by_hand(&key, far_key);
	check_equal("package 1, its key by hand: RAX", pconfig_cpu1(&key).rax, 0);
	far_line(TWO, made);
	check_bytes("memory of package 1 has package 1's key", random, made, LINE_BYTES);
	by_hand(&key, near_key);
	check_equal("package 1, package 0's key by hand: RAX", pconfig_cpu1(&key).rax, 0);
	far_line(TWO, made);
	check_garbage("and not package 0's", random, made, LINE_BYTES);
}

/* 43: a KeyID that was programmed only on package 0 does not encrypt the memory of package 1. */
static void row_43(void)
{
	uint8_t line[LINE_BYTES];
	struct key_program key;

	pattern(plain, 44, LINE_BYTES);
	set_key(NEAR, 44);
	line_to_dram(NEAR, test_page(PAGE), plain);
	copy(saw, alias(0, test_page(PAGE)), LINE_BYTES);
	check_garbage("package 0's memory, read with KeyID 0", saw, plain, LINE_BYTES);
	far_line(NEAR, line);
	copy(saw, alias(0, ARENA_FAR + PAGE_BYTES), LINE_BYTES);
	check_bytes("package 1's memory, read with KeyID 0", saw, plain, LINE_BYTES);
	program(&key, NEAR, SET_KEY_DIRECT, algorithm(), 44);
	check_equal("the same key on package 1: RAX", pconfig_cpu1(&key).rax, 0);
	far_line(NEAR, line);
	copy(saw, alias(0, ARENA_FAR + PAGE_BYTES), LINE_BYTES);
	check_garbage("package 1's memory, read with KeyID 0", saw, plain, LINE_BYTES);
}

static void read_activate(void *argument)
{
	*(uint64_t *)argument = rdmsr(MSR_TME_ACTIVATE);
}

/* 43 with ACT1=: the packages differ, and every CPU reports the values of its package. */
static void row_43_differ(void)
{
	uint64_t there = 0;

	if (on_cpu1(read_activate, &there)) {
		check_equal("MSR 982H on CPU 0", rdmsr(MSR_TME_ACTIVATE), 0x0001000600000003);
		check_equal("MSR 982H on CPU 1", there, 0x0001000400000003);
	}
}

const struct row alias_rows[] = {
	{ "16", row_16 },
	{ "26", row_26 },
	{ "27", row_27 },
	{ "28", row_28 },
	{ "31", row_31 },
	{ "33", row_33 },
	{ "33-stale", row_33_stale },
	{ "34", row_34 },
	{ "34-clflush", row_34_clflush },
	{ "34-wbinvd", row_34_wbinvd },
	{ "34-skip", row_34_skip },
	{ "35", row_35 },
	{ "36", row_36 },
	{ "36-wbinvd", row_36_wbinvd },
	{ "36-skip", row_36_skip },
	{ "42", row_42 },
	{ "25-packages", row_25_packages },
	{ "43", row_43 },
	{ "43-differ", row_43_differ },
	{ NULL, NULL },
};
