/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One instruction may need many pages at once, and must complete however few pages the machine
 * keeps in clear: operands and code that cross from one page to another, each behind separate page
 * tables, all pushed out before each try. On hardware a page-crossing access takes place whole (SDM
 * vol. 1, "Alignment of Words, Doublewords, Quadwords ..."); a gather may be interrupted between
 * elements and continues with the rest (vol. 2, VPGATHERDD).
 *
 * The guest pushes PRESS pages out before each of its TRIES instructions, each of which needs at
 * most 64 pages. With a floor of 65 frames that is at most TRIES * (PRESS + 3 * 64) faults, and one
 * test of long strings.
 */
#include "tests/guests/common/guest.h"

/* More than twice the window's 65 frames, because each page gets a second chance first. */
#define PRESS	     140
#define ROUNDS	     8
#define STRING_PAGES 150
#define LINES	     16
#define LINES_BASE   (255ull << 39)

extern const uint8_t movsq_code[], xadd_code[], gather512_code[], gather512_at[], gather256_code[],
	gather256_at[], floor_code_end[];
__asm__("movsq_code: movsq; ret\n"
	"xadd_code: lock xaddq %rdx, (%rdi); ret\n"
	"gather512_code: vmovdqu32 (%rsi), %zmm1; kxnorw %k1, %k1, %k1\n"
	"gather512_at: vpgatherdd (%rdx,%zmm1), %zmm0 {%k1}; vmovdqu32 %zmm0, (%rdi); ret\n"
	"gather256_code: vmovdqu (%rsi), %ymm1; vpcmpeqd %ymm2, %ymm2, %ymm2\n"
	"gather256_at: vpgatherdd %ymm2, (%rdx,%ymm1), %ymm0; vmovdqu %ymm0, (%rdi); ret\n"
	"floor_code_end:");

static uint64_t tries;

static uint64_t call(const void *code, void *to, const void *from, uint64_t third)
{
	__asm__ volatile("call *%3" : "+D"(to), "+S"(from), "+d"(third) : "r"(code) : "memory");
	return third;
}

static void press(void)
{
	tries++;
	sweep(PRESS);
}

static uint64_t load(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void move(void)
{
	const uint8_t *code = far_code(movsq_code, xadd_code, 1);
	uint8_t *from = far_pair(), *to = far_pair();

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t value = random64();

		from -= 1 + i % 7;
		to -= 7 - i % 7;
		memcpy(from, &value, sizeof(value));
		press();
		call(code, to, from, 0);
		check_equal(load(to), value);
		from += 1 + i % 7;
		to += 7 - i % 7;
	}
	print("MOVSQ: %u\n", ROUNDS);
}

static void exchange(void)
{
	const uint8_t *code = far_code(xadd_code, gather512_code, 3);
	uint8_t *at = far_pair() - 3;
	uint64_t sum = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t value = random64();

		press();
		check_equal(call(code, at, NULL, value), sum);
		sum += value;
	}
	check_equal(load(at), sum);
	print("LOCK XADD: %u\n", ROUNDS);
}

/* Strings longer than the window, up and down, with different alignment of the two operands. */
static void strings(void)
{
	uint8_t *from = (uint8_t *)FRESH_BASE + SIZE_2M, *to = from + SIZE_2M;
	uint64_t words = STRING_PAGES * PAGE_SIZE / 8;

	for (uint64_t i = 0; i < words; i++) {
		((uint64_t *)(void *)from)[i] = i * 0x9e3779b97f4a7c15;
	}
	for (unsigned down = 0; down < 2; down++) {
		uint8_t *t = to + 3 + 2 * down + (down ? 8 * words - 8 : 0), *end;
		uint8_t *f = from + (down ? 8 * words - 8 : 0);
		uint64_t count = words;

		press();
		if (down) {
			__asm__ volatile("std; rep movsq; cld"
					 : "+D"(t), "+S"(f), "+c"(count)
					 :
					 : "memory");
		} else {
			count *= 8;
			__asm__ volatile("rep movsb" : "+D"(t), "+S"(f), "+c"(count) : : "memory");
		}
		end = to + 3 + 2 * down;
		for (uint64_t i = 0; i < words; i++) {
			check_equal(load(end + 8 * i), i * 0x9e3779b97f4a7c15);
		}
	}
	print("REP MOVS: 2 of %u pages\n", STRING_PAGES);
}

/* Saves the whole state to sealed pages, and restores it. */
static void vector_state(uint64_t mask)
{
	static uint8_t set[VECTOR_AREA] __attribute__((aligned(64)));
	static uint8_t other[VECTOR_AREA] __attribute__((aligned(64)));
	uint64_t before = mask == (XCR0_X87 | XCR0_SSE) ? 256 : 1024;
	uint8_t *first = far_pair() - before, *second = far_pair() - before;

	vector_pattern(other, mask);
	for (unsigned i = 0; i < ROUNDS; i++) {
		vector_pattern(set, mask);
		vector_load(set, mask);
		press();
		vector_save(first, mask);
		vector_load(other, mask);
		press();
		vector_load(first, mask);
		press();
		vector_save(second, mask);
		vector_compare(second, set, mask, tries);
	}
	print("XSAVE and XRSTOR of XCR0 %lx: %u\n", mask, ROUNDS);
}

/* Each element crosses a page boundary behind a separate page table. */
static void gather(uint64_t mask)
{
	static uint32_t offsets[LINES], got[LINES];
	bool wide = (cpuid(7, 0).ebx & BIT(16)) != 0 && (mask & XCR0_ZMM_HI256) != 0;
	unsigned lines = wide ? LINES : LINES / 2;
	const uint8_t *code;

	if ((cpuid(7, 0).ebx & BIT(5)) == 0 || (mask & XCR0_AVX) == 0) {
		print("no gather\n");
		return;
	}
	code = wide ? far_code(gather512_code, gather256_code, gather512_at - gather512_code + 3)
		    : far_code(gather256_code, floor_code_end, gather256_at - gather256_code + 3);
	for (unsigned i = 0; i < lines; i++) {
		offsets[i] = (uint32_t)(i * SIZE_2M + (i + 1) * PAGE_SIZE - 1 - i % 3);
		map_fresh(LINES_BASE + i * SIZE_2M + i * PAGE_SIZE);
		map_fresh(LINES_BASE + i * SIZE_2M + (i + 1) * PAGE_SIZE);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < lines; i++) {
			uint32_t value = offsets[i] * 0x9e3779b9 + round;

			memcpy((uint8_t *)LINES_BASE + offsets[i], &value, sizeof(value));
		}
		press();
		call(code, got, offsets, LINES_BASE);
		for (unsigned i = 0; i < lines; i++) {
			check_equal(got[i], (uint32_t)(offsets[i] * 0x9e3779b9 + round));
		}
	}
	print("gather over %u lines: %u\n", lines, ROUNDS);
}

void guest_main(void)
{
	uint64_t mask = vector_start(0xe7);

	move();
	exchange();
	strings();
	vector_state(mask);
	gather(mask);
	print("%lu tries\n", tries);
}
