/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns in the x87, vector and mask registers, for the tiny guests. */
#include "tests/guests/common/guest.h"

#define LEGACY	  512
#define MXCSR	  24
#define ST	  32
#define XMM	  160
#define XSTATE_BV 512

static bool has_xsave;

uint64_t vector_start(uint64_t xcr0)
{
	uint64_t offered;

	check(try_write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT) == NO_TRAP);
	check(try_write_cr0((read_cr0() & ~(uint64_t)(CR0_EM | CR0_TS)) | CR0_MP) == NO_TRAP);
	has_xsave = (cpuid(1, 0).ecx & BIT(26)) != 0;
	if (!has_xsave) {
		return XCR0_X87 | XCR0_SSE;
	}
	check(try_write_cr4(read_cr4() | CR4_OSXSAVE) == NO_TRAP);
	offered = cpuid(0xd, 0).eax & 0xe7;
	check(try_xsetbv(0, xcr0 & offered) == NO_TRAP);
	check(cpuid(0xd, 0).ebx <= VECTOR_AREA);
	return xcr0 & offered;
}

void vector_load(const uint8_t *area, uint64_t mask)
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

void vector_save(uint8_t *area, uint64_t mask)
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

/* Random bits, except for the words that must be valid: control word and MXCSR. */
void vector_pattern(uint8_t *area, uint64_t mask)
{
	for (unsigned i = 0; i < VECTOR_AREA; i++) {
		area[i] = i < XMM ? 0 : (uint8_t)random64();
	}
	for (unsigned i = LEGACY; i < LEGACY + 64; i++) {
		area[i] = 0; /* the XSAVE header */
	}
	area[0] = 0x7f & (uint8_t)(random64() | 0x40);
	area[1] = 0x03;
	area[4] = 0xff; /* all eight registers in use */
	area[MXCSR] = 0x80;
	area[MXCSR + 1] = 0x1f | (uint8_t)(random64() & 0xe0);
	for (unsigned i = 0; i < 8 * 16; i++) {
		area[ST + i] = i % 16 < 10 ? (uint8_t)random64() : 0;
	}
	*(uint64_t *)(void *)(area + XSTATE_BV) = mask;
}

static void compare(const char *what, const uint8_t *got, const uint8_t *want, unsigned bytes,
		    uint64_t after)
{
	for (unsigned i = 0; i < bytes; i++) {
		if (got[i] != want[i]) {
			fail("%s: byte %u is %2x, not %2x, after %lu", what, i, got[i], want[i],
			     after);
		}
	}
}

void vector_compare(const uint8_t *got, const uint8_t *want, uint64_t mask, uint64_t after)
{
	compare("x87 control", got, want, 5, after);
	compare("MXCSR", got + MXCSR, want + MXCSR, 4, after);
	for (unsigned i = 0; i < 8; i++) {
		compare("x87 register", got + ST + 16 * i, want + ST + 16 * i, 10, after);
	}
	compare("XMM", got + XMM, want + XMM, 256, after);
	for (unsigned i = 2; i < 8; i++) {
		struct cpuid part = cpuid(0xd, i);

		if ((mask & BIT(i)) != 0) {
			compare(i == 2	 ? "YMM"
				: i == 5 ? "mask registers"
					 : "ZMM",
				got + part.ebx, want + part.ebx, part.eax, after);
		}
	}
}
