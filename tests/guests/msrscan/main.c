/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad guest: reads and writes every MSR of both architectural ranges, of the ranges that
 * hypervisors use and some random ones. Each access either works or raises #GP. The guest and the
 * machine keep working; the scan leaves out MSRs that the guest itself needs.
 */
#include "tests/guests/common/guest.h"

static uint64_t readable, writable, scanned;

/* Changing these would, correctly, stop the guest itself. */
static bool vital(uint32_t msr)
{
	return msr == MSR_IA32_APIC_BASE || msr == MSR_IA32_EFER || msr == MSR_IA32_TSC;
}

static void expect_gp_or_none(unsigned vector, const char *what, uint32_t msr)
{
	if (vector != NO_TRAP && vector != VECTOR_GP) {
		fail("%s %x raises exception %u", what, msr, vector);
	}
}

static void probe(uint32_t msr)
{
	uint64_t value;
	unsigned vector = try_rdmsr(msr, &value);

	scanned++;
	expect_gp_or_none(vector, "RDMSR", msr);
	if (vector == NO_TRAP) {
		readable++;
		if (arg("list")) {
			print("%x = %lx\n", msr, value);
		}
	}
	if (vital(msr)) {
		return;
	}
	if (vector == NO_TRAP) {
		vector = try_wrmsr(msr, value);
		expect_gp_or_none(vector, "WRMSR", msr);
		writable += vector == NO_TRAP;
		for (unsigned bit = 0; bit < 64; bit++) {
			expect_gp_or_none(try_wrmsr(msr, value ^ BIT(bit)), "WRMSR", msr);
		}
		(void)try_wrmsr(msr, value);
	} else {
		vector = try_wrmsr(msr, 0);
		expect_gp_or_none(vector, "WRMSR", msr);
		writable += vector == NO_TRAP;
		expect_gp_or_none(try_wrmsr(msr, ~0ull), "WRMSR", msr);
		expect_gp_or_none(try_wrmsr(msr, random64()), "WRMSR", msr);
	}
}

static void scan(uint32_t first, uint32_t last)
{
	for (uint32_t msr = first; msr <= last; msr++) {
		probe(msr);
	}
}

void guest_main(void)
{
	scan(0, 0x1fff);
	scan(0x2000, 0x20ff);
	scan(0x40000000, 0x400001ff); /* Hyper-V's */
	scan(0x4b564d00, 0x4b564d0f); /* KVM's */
	scan(0xbffffff0, 0xc0001fff);
	scan(0xc0010000, 0xc00101ff); /* AMD's */
	for (unsigned i = 0; i < 2000; i++) {
		probe((uint32_t)random64());
	}
	print("%lu MSRs, %lu readable, %lu writable\n", scanned, readable, writable);
}
