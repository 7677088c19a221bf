/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vector and x87 registers are the guest's over any number of exits: patterns in x87, MXCSR,
 * XMM, YMM, ZMM and the mask registers, and the value of XCR0, stay what they are, also while
 * another VM with other patterns and another XCR0 takes turns on the same CPU. Command line: xcr0=N
 * (decimal, and-ed with what is offered), seed=N, exits=N.
 */
#include "tests/guests/common/guest.h"

#define AREA_BYTES 4096
#define LEGACY	   512
#define MXCSR	   24
#define ST	   32
#define XMM	   160
#define XSTATE_BV  512

static uint8_t set[AREA_BYTES] __attribute__((aligned(64)));
static uint8_t got[AREA_BYTES] __attribute__((aligned(64)));
static bool has_xsave;
static uint64_t mask;

static void load(const uint8_t *area)
{
	if (has_xsave) {
		__asm__ volatile("xrstor64 (%0)"
				 :
				 : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
				 : "memory");
	} else {
		__asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
	}
}

static void save(uint8_t *area)
{
	if (has_xsave) {
		__asm__ volatile("xsave64 (%0)"
				 :
				 : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
				 : "memory");
	} else {
		__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
	}
}

/* Random bits, but in the words that mean something: a valid control word and MXCSR. */
static void make_pattern(void)
{
	for (unsigned i = 0; i < AREA_BYTES; i++) {
		set[i] = i < XMM ? 0 : (uint8_t)random64();
	}
	for (unsigned i = LEGACY; i < LEGACY + 64; i++) {
		set[i] = 0; /* the XSAVE header */
	}
	set[0] = 0x7f & (uint8_t)(random64() | 0x40);
	set[1] = 0x03;
	set[4] = 0xff; /* all eight registers in use */
	set[MXCSR] = 0x80;
	set[MXCSR + 1] = 0x1f | (uint8_t)(random64() & 0xe0);
	for (unsigned i = 0; i < 8 * 16; i++) {
		set[ST + i] = i % 16 < 10 ? (uint8_t)random64() : 0;
	}
	*(uint64_t *)(void *)(set + XSTATE_BV) = mask;
}

static void compare(const char *what, unsigned from, unsigned bytes, uint64_t exits)
{
	for (unsigned i = from; i < from + bytes; i++) {
		if (got[i] != set[i]) {
			fail("%s: byte %u is %2x, not %2x, after %lu exits", what, i - from, got[i],
			     set[i], exits);
		}
	}
}

static void check_state(uint64_t exits)
{
	uint32_t lo, hi;

	for (unsigned i = 0; i < AREA_BYTES; i++) {
		got[i] = 0;
	}
	save(got);
	compare("x87 control", 0, 5, exits);
	compare("MXCSR", MXCSR, 4, exits);
	for (unsigned i = 0; i < 8; i++) {
		compare("x87 register", ST + 16 * i, 10, exits);
	}
	compare("XMM", XMM, 256, exits);
	for (unsigned i = 2; i < 8; i++) {
		struct cpuid part = cpuid(0xd, i);

		if ((mask & BIT(i)) != 0) {
			compare(i == 2	 ? "YMM"
				: i == 5 ? "mask registers"
					 : "ZMM",
				part.ebx, part.eax, exits);
		}
	}
	if (has_xsave) {
		__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		check_equal(lo | (uint64_t)hi << 32, mask);
	}
}

/* An exit of each kind by turns, some of which take the hypervisor through much of its code. */
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

void guest_main(void)
{
	uint64_t exits = arg_number("exits", 10000), seed = arg_number("seed", 1);
	uint64_t offered;

	check(try_write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT) == NO_TRAP);
	check(try_write_cr0((read_cr0() & ~(uint64_t)(CR0_EM | CR0_TS)) | CR0_MP) == NO_TRAP);
	has_xsave = (cpuid(1, 0).ecx & BIT(26)) != 0;
	mask = XCR0_X87 | XCR0_SSE;
	if (has_xsave) {
		check(try_write_cr4(read_cr4() | CR4_OSXSAVE) == NO_TRAP);
		offered = cpuid(0xd, 0).eax & 0xe7;
		mask = arg_number("xcr0", offered) & offered;
		check(try_xsetbv(0, mask) == NO_TRAP);
		check(cpuid(0xd, 0).ebx <= AREA_BYTES);
	}
	apic_start(false);
	while (seed-- > 0) {
		(void)random64();
	}
	make_pattern();
	load(set);
	for (uint64_t i = 1; i <= exits; i++) {
		exit_of_kind(i);
		if (i % 100 == 0) {
			check_state(i);
		}
		if (i % 1000 == 0) {
			make_pattern();
			load(set);
		}
	}
	print("XCR0 %lx: unchanged over %lu exits\n", mask, exits);
}
