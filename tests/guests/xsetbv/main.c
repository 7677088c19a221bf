/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XSETBV takes exactly the values that the SDM allows (vol. 1, "Extended Control Registers"): x87
 * is always set, AVX needs SSE, the AVX-512 parts are all set or none and need AVX, bits that
 * CPUID.0DH does not show are clear, and XCR0 is the only register. Anything else raises #GP(0) and
 * does not change XCR0.
 */
#include "tests/guests/common/guest.h"

#define AVX512 (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)
#define MPX    (XCR0_BNDREGS | XCR0_BNDCSR)
#define AMX    (XCR0_TILECFG | XCR0_TILEDATA)

static uint64_t xgetbv(void)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (uint64_t)hi << 32;
}

static bool whole(uint64_t value, uint64_t group)
{
	return (value & group) == 0 || (value & group) == group;
}

static bool allowed(uint64_t value, uint64_t offered)
{
	if ((value & ~offered) != 0 || (value & XCR0_X87) == 0) {
		return false;
	}
	if ((value & XCR0_AVX) != 0 && (value & XCR0_SSE) == 0) {
		return false;
	}
	if ((value & AVX512) != 0 && (value & XCR0_AVX) == 0) {
		return false;
	}
	return whole(value, AVX512) && whole(value, MPX) && whole(value, AMX);
}

static void try_value(uint64_t value, uint64_t offered)
{
	uint64_t before = xgetbv();
	unsigned vector = try_xsetbv(0, value);

	if (allowed(value, offered)) {
		if (vector != NO_TRAP || xgetbv() != value) {
			fail("XCR0 does not take %lx: vector %u, reads %lx", value, vector,
			     xgetbv());
		}
	} else if (vector != VECTOR_GP || caught.error != 0 || xgetbv() != before) {
		fail("XCR0 = %lx: vector %u, error code %lx, reads %lx", value, vector,
		     caught.error, xgetbv());
	}
}

void guest_main(void)
{
	struct cpuid r = cpuid(0xd, 0);
	uint64_t offered = r.eax | (uint64_t)r.edx << 32, taken = 0;

	if ((cpuid(1, 0).ecx & BIT(26)) == 0) {
		check_equal(try_write_cr4(read_cr4() | CR4_OSXSAVE), VECTOR_GP);
		skip("no XSAVE");
	}
	__asm__ volatile(TRY("xsetbv") : : "a"(1), "d"(0), "c"(0));
	check_equal(trapped(), VECTOR_UD); /* CR4.OSXSAVE is off */
	check(try_write_cr4(read_cr4() | CR4_OSXSAVE) == NO_TRAP);
	check_equal(xgetbv(), 1); /* the value after reset */
	for (uint64_t value = 0; value < 2048; value++) {
		try_value(value, offered);
		taken += allowed(value, offered);
	}
	for (unsigned bit = 11; bit < 64; bit++) {
		try_value(offered ^ BIT(bit), offered);
		try_value(3 | BIT(bit), offered);
	}
	for (unsigned i = 0; i < 2000; i++) {
		try_value(random64(), offered);
	}
	check_equal(try_xsetbv(1, 1), VECTOR_GP);
	check_equal(try_xsetbv(0xffffffff, 1), VECTOR_GP);
	print("XCR0 offers %lx, took %lu values\n", offered, taken);
}
