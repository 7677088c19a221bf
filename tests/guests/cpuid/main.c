/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID shows a guest the features that it has and no others: no VMX, SMX, SGX, TME, PCONFIG,
 * monitor or performance counters. Leaf 0DH agrees with XCR0, leaf 1 shows CR4.OSXSAVE, leaf 15H
 * gives the TSC and bus clocks, a hypervisor is announced, and leaves beyond the last show nothing
 * new.
 */
#include "tests/guests/common/guest.h"

static void expect_clear(uint32_t value, uint32_t bits, const char *what)
{
	if ((value & bits) != 0) {
		fail("CPUID shows %s: %x has bits %x", what, value, value & bits);
	}
}

static void hidden(void)
{
	struct cpuid r = cpuid(1, 0);

	expect_clear(r.ecx, BIT(5), "VMX");
	expect_clear(r.ecx, BIT(6), "SMX");
	expect_clear(r.ecx, BIT(3), "MONITOR");
	expect_clear(r.ecx, BIT(15), "PDCM");
	expect_clear(r.ecx, BIT(2), "DTES64");
	expect_clear(r.edx, BIT(21) | BIT(22) | BIT(29) | BIT(31),
		     "debug store or thermal monitor");
	r = cpuid(7, 0);
	expect_clear(r.ebx, BIT(2), "SGX");
	expect_clear(r.ebx, BIT(25), "processor trace");
	expect_clear(r.ecx, BIT(13), "TME");
	expect_clear(r.ecx, BIT(23), "key locker");
	expect_clear(r.ecx, BIT(30), "SGX launch control");
	expect_clear(r.edx, BIT(18), "PCONFIG");
	r = cpuid(0xa, 0);
	check_equal(r.eax & 0xff, 0); /* no performance monitoring */
	for (unsigned leaf = 0x12; leaf <= 0x21; leaf++) {
		if (leaf == 0x12 || leaf == 0x14 || leaf == 0x19 || leaf == 0x1b || leaf == 0x21) {
			r = cpuid(leaf, 0);
			if ((r.eax | r.ebx | r.ecx | r.edx) != 0) {
				fail("CPUID leaf %x is not hidden", leaf);
			}
		}
	}
}

/* Leaf 0DH: sizes follow XCR0, every component lies within the maximum size. */
static void xsave_leaf(void)
{
	struct cpuid r = cpuid(0xd, 0);
	uint64_t offered = r.eax | (uint64_t)r.edx << 32;
	uint32_t largest = 576, now = 576;

	if ((cpuid(1, 0).ecx & BIT(26)) == 0) {
		check_equal(r.eax, 0);
		return;
	}
	check_equal(offered & (XCR0_X87 | XCR0_SSE), XCR0_X87 | XCR0_SSE);
	for (unsigned i = 2; i < 63; i++) {
		struct cpuid part = cpuid(0xd, i);

		if ((offered & BIT(i)) != 0) {
			check(part.eax != 0 && part.ebx >= 576);
			largest = MAX(largest, part.ebx + part.eax);
			check_equal(part.ecx & 1, 0); /* user state */
		}
	}
	check_equal(r.ecx, largest);
	check(try_write_cr4(read_cr4() | CR4_OSXSAVE) == NO_TRAP);
	check((cpuid(1, 0).ecx & BIT(27)) != 0);
	check(try_xsetbv(0, offered) == NO_TRAP);
	check_equal(cpuid(0xd, 0).ebx, largest);
	check(try_xsetbv(0, 1) == NO_TRAP);
	check_equal(cpuid(0xd, 0).ebx, now);
	check(try_write_cr4(read_cr4() & ~(uint64_t)CR4_OSXSAVE) == NO_TRAP);
	check_equal(cpuid(1, 0).ecx & BIT(27), 0);
}

static void clocks_and_names(void)
{
	struct cpuid r = cpuid(0x15, 0);
	char name[13] = { 0 };

	check(cpuid(0, 0).eax >= 0x15);
	check(r.eax != 0 && r.ebx != 0 && r.ecx != 0);
	print("TSC %lu Hz\n", tsc_hz());
	check((cpuid(1, 0).ecx & BIT(31)) != 0);
	r = cpuid(0x40000000, 0);
	check(r.eax >= 0x40000000 && r.eax < 0x40010000);
	for (unsigned i = 0; i < 4; i++) {
		name[i] = (char)(r.ebx >> 8 * i);
		name[4 + i] = (char)(r.ecx >> 8 * i);
		name[8 + i] = (char)(r.edx >> 8 * i);
	}
	print("hypervisor %s\n", name);
}

/* Beyond the last leaf the CPU returns the last basic leaf, the same each time. */
static void beyond(void)
{
	uint32_t last = cpuid(0, 0).eax, last_extended = cpuid(0x80000000, 0).eax;
	struct cpuid r = cpuid(last + 1, 0), again;

	check(last < 0x100 && last_extended >= 0x80000008 && last_extended < 0x80000100);
	for (unsigned i = 0; i < 10000; i++) {
		uint32_t leaf = (uint32_t)random64();

		r = cpuid(leaf, i & 3);
		again = cpuid(leaf, i & 3);
		check(r.eax == again.eax && r.ebx == again.ebx && r.ecx == again.ecx &&
		      r.edx == again.edx);
	}
	check_equal(cpuid(1, 0).ebx >> 24, apic_read(APIC_ID) >> 24);
}

void guest_main(void)
{
	apic_start(false);
	hidden();
	xsave_leaf();
	clocks_and_names();
	beyond();
}
