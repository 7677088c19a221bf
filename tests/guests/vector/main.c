/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vector and x87 registers keep the guest's values over any number of exits: patterns in x87,
 * MXCSR, XMM, YMM, ZMM and the mask registers, and the value of XCR0. Also while another VM with
 * other patterns and another XCR0 takes turns on the same CPU, and while each exit is a fault for
 * which the hypervisor decrypts a page and encrypts another. Components that XCR0 disables for a
 * while keep their values, too (SDM vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled
 * Features"). Command line: xcr0=N (decimal, and-ed with the supported bits); during=N: XCR0 during
 * the exits, or "cycle": 3, 7 and all in turn; seed=N, exits=N; pages=N: each exit is a write to
 * the next of so many pages.
 */
#include "tests/guests/common/guest.h"

static uint8_t set[VECTOR_AREA] __attribute__((aligned(64)));
static uint8_t got[VECTOR_AREA] __attribute__((aligned(64)));
static uint64_t mask, during;

static void check_state(uint64_t exits)
{
	uint32_t lo, hi;

	for (unsigned i = 0; i < VECTOR_AREA; i++) {
		got[i] = 0;
	}
	if (during != mask) {
		check(try_xsetbv(0, mask) == NO_TRAP);
	}
	vector_save(got, mask);
	vector_compare(got, set, mask, exits);
	if (during != mask) {
		check(try_xsetbv(0, during) == NO_TRAP);
	}
	if ((read_cr4() & CR4_OSXSAVE) != 0) {
		__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		check_equal(lo | (uint64_t)hi << 32, during);
	}
}

static void new_pattern(void)
{
	static const uint64_t turns[] = { 3, 7, 0xe7 };
	static unsigned turn;

	vector_pattern(set, mask);
	if (during != mask) {
		check(try_xsetbv(0, mask) == NO_TRAP);
	}
	vector_load(set, mask);
	if (arg("cycle")) {
		during = turns[turn++ % ARRAY_COUNT(turns)] & mask;
	}
	if (during != mask) {
		check(try_xsetbv(0, during) == NO_TRAP);
	}
}

/* An exit of each kind in turn; some of them run through much of the hypervisor's code. */
static void exit_of_kind(uint64_t i)
{
	switch (i & 7) {
	case 0: out8(PORT_COM1 + 7, (uint8_t)i); break;
	case 1: (void)apic_read(APIC_TIMER_NOW); break;
	case 2: (void)*(volatile uint32_t *)MEMMAP_IOAPIC; break;
	case 3:
		if (i % 64 == 3) {
			*(volatile uint8_t *)fresh_page() = 1;
			break;
		}
		/* fall through */
	default: (void)cpuid((uint32_t)i, 0); break;
	}
}

/*
 * Uses the next page of a ring that is larger than the window: the page was sealed since its last
 * use, and another page must be sealed for it.
 */
static void fault(uint64_t i, uint64_t pages)
{
	volatile uint64_t *page = (void *)(uintptr_t)(FRESH_BASE + i % pages * PAGE_SIZE);

	if (i >= pages) {
		check_equal(*page, i - pages);
	}
	*page = i;
}

void guest_main(void)
{
	uint64_t exits = arg_number("exits", 10000), seed = arg_number("seed", 1);
	uint64_t pages = arg_number("pages", 0);

	mask = vector_start(arg_number("xcr0", 0xe7));
	during = mask & arg_number("during", mask);
	if (during != mask) {
		check(try_xsetbv(0, during) == NO_TRAP);
	}
	apic_start(false);
	while (seed-- > 0) {
		(void)random64();
	}
	new_pattern();
	for (uint64_t i = 0; i < exits; i++) {
		if (pages != 0) {
			fault(i, pages);
		} else {
			exit_of_kind(i + 1);
		}
		if (i % 100 == 99) {
			check_state(i + 1);
		}
		if (i % 1000 == 999) {
			new_pattern();
		}
	}
	print("XCR0 %lx: unchanged over %lu exits\n", mask, exits);
}
