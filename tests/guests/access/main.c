/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory keeps what is written. Loads, stores and locked additions of all sizes at pseudo-random
 * places, one in four across a page boundary, and pages that are cleared or filled as a whole,
 * compared with a model. The model has a hash for each GRANULE bytes and the sum of all hashes.
 * Each byte adds a function of its address and value to a hash; a byte that is zero adds 0. So a
 * hash can follow each write without reading the rest. Command line: count=N bytes=N seed=N bare.
 */
#include "tests/guests/common/guest.h"

#define GRANULE	  256
#define BYTES_MAX (8u << 20)
#define PAGE_FILL 61 /* one in so many accesses clears or fills a page */

static uint64_t hashes[BYTES_MAX / GRANULE];
static uint64_t total; /* the expected sum of all hashes */
static uint64_t count_crossing, count_pages;

static uint8_t *const memory = (uint8_t *)FRESH_BASE;

static uint64_t part(uint64_t offset, uint8_t byte)
{
	uint64_t x = (offset << 8 | byte) * 0x9e3779b97f4a7c15;

	x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
	return byte == 0 ? 0 : x ^ x >> 32;
}

static void check_granule(uint64_t granule)
{
	uint64_t sum = 0;

	for (uint64_t i = granule * GRANULE; i < (granule + 1) * GRANULE; i++) {
		sum += part(i, memory[i]);
	}
	if (sum != hashes[granule]) {
		fail("offset %lx: these %u bytes are not what was written", granule * GRANULE,
		     GRANULE);
	}
}

static void account(uint64_t offset, uint64_t before, uint64_t after, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		uint64_t change = part(offset + i, (uint8_t)(after >> 8 * i)) -
				  part(offset + i, (uint8_t)(before >> 8 * i));

		hashes[(offset + i) / GRANULE] += change;
		total += change;
	}
}

#define SIZES(access1, access2, access4, access8) \
	switch (bytes) {                          \
	case 1: access1; break;                   \
	case 2: access2; break;                   \
	case 4: access4; break;                   \
	default: access8;                         \
	}

static uint64_t load(const void *at, unsigned bytes)
{
	uint64_t value = 0;

	SIZES(value = *(const volatile uint8_t *)at, value = *(const volatile uint16_t *)at,
	      value = *(const volatile uint32_t *)at, value = *(const volatile uint64_t *)at)
	return value;
}

static void store(void *at, unsigned bytes, uint64_t value)
{
	SIZES(*(volatile uint8_t *)at = (uint8_t)value, *(volatile uint16_t *)at = (uint16_t)value,
	      *(volatile uint32_t *)at = (uint32_t)value, *(volatile uint64_t *)at = value)
}

/* Returns the old value. */
static uint64_t locked_add(void *at, unsigned bytes, uint64_t value)
{
	SIZES(__asm__ volatile("lock xaddb %b0, (%1)"
			       : "+q"(value)
			       : "r"(at)
			       : "memory", "cc"),
	      __asm__ volatile("lock xaddw %w0, (%1)"
			       : "+r"(value)
			       : "r"(at)
			       : "memory", "cc"),
	      __asm__ volatile("lock xaddl %k0, (%1)"
			       : "+r"(value)
			       : "r"(at)
			       : "memory", "cc"),
	      __asm__ volatile("lock xaddq %0, (%1)"
			       : "+r"(value)
			       : "r"(at)
			       : "memory", "cc"))
	return value;
}

static void whole_page(uint64_t page, bool clear)
{
	uint64_t value = clear ? 0 : random64(), words = PAGE_SIZE / 8;
	void *to = memory + page * PAGE_SIZE;

	__asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(value) : "memory");
	for (uint64_t i = page * PAGE_SIZE / GRANULE; i < (page + 1) * PAGE_SIZE / GRANULE; i++) {
		total -= hashes[i];
		hashes[i] = 0;
	}
	for (uint64_t i = page * PAGE_SIZE; !clear && i < (page + 1) * PAGE_SIZE; i += 8) {
		account(i, 0, value, 8);
	}
	count_pages++;
}

static void access(uint64_t bytes_all)
{
	uint64_t r = random64(), value = random64();
	unsigned bytes = 1u << (r & 3), what = r >> 2 & 7;
	uint64_t offset = (r >> 16) % (bytes_all - 8);

	if ((r >> 5 & 3) == 0 && bytes > 1) {
		offset = ALIGN_DOWN(offset, PAGE_SIZE) + PAGE_SIZE - 1 - (r >> 8) % (bytes - 1);
		offset = MIN(offset, bytes_all - bytes);
		count_crossing++;
	}
	if (what < 3) {
		check_granule(offset / GRANULE);
		check_granule((offset + bytes - 1) / GRANULE);
	} else if (what < 6) {
		account(offset, load(memory + offset, bytes), value, bytes);
		store(memory + offset, bytes, value);
	} else {
		uint64_t before = locked_add(memory + offset, bytes, value);

		account(offset, before, before + value, bytes);
	}
}

void guest_main(void)
{
	uint64_t count = arg_number("count", 10000), bytes = arg_number("bytes", 4u << 20);
	uint64_t sum = 0;

	check(bytes <= BYTES_MAX && IS_ALIGNED(bytes, PAGE_SIZE) && bytes != 0);
	for (uint64_t i = arg_number("seed", 1); i > 0; i--) {
		(void)random64();
	}
	for (uint64_t page = 0; arg("bare") && page < bytes / PAGE_SIZE; page++) {
		whole_page(page, true); /* firmware has used the memory before */
	}
	for (uint64_t i = 1; i <= count; i++) {
		access(bytes);
		if (i % PAGE_FILL == 0) {
			whole_page(random64() % (bytes / PAGE_SIZE), i % 3 != 0);
		}
	}
	for (uint64_t i = 0; i < bytes / GRANULE; i++) {
		check_granule(i);
		sum += hashes[i];
	}
	check_equal(sum, total);
	print("%lu accesses, %lu across pages; %lu whole pages\n", count, count_crossing,
	      count_pages);
}
