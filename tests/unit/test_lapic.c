/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/lapic.c: x2APIC mode is turned on if an APIC ID needs it, and only then; a CPU that
 * idles.
 */
#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/lapic.h"

void *host_map_io(hpa_t base, uint64_t bytes, enum host_cache cache)
{
	fake_fail("nothing is mapped here");
}

#define XAPIC_BASE (0xfee00000ul | APIC_BASE_ENABLE | APIC_BASE_BSP)

TEST(test_high_ids, fake_setup, fake_teardown)
{
	fake_reset();
	fake_cpuid_set(1, 0, 0, 0, 0, 0);
	fake_msr_set(MSR_IA32_APIC_BASE, XAPIC_BASE);
	assert_true(lapic_reaches(0));
	assert_true(lapic_reaches(254));
	assert_false(lapic_reaches(255)); /* no x2APIC */
	assert_false(lapic_is_x2apic());
	assert_int_equal(fake_msr_get(MSR_IA32_APIC_BASE), XAPIC_BASE);
	fake_cpuid_set(1, 0, 0, 0, CPUID_1_ECX_X2APIC, 0);
	assert_true(lapic_reaches(254));
	assert_false(lapic_is_x2apic()); /* as firmware left it */
	assert_true(lapic_reaches(255));
	assert_true(lapic_is_x2apic());
	assert_int_equal(fake_msr_get(MSR_IA32_APIC_BASE), XAPIC_BASE | APIC_BASE_X2APIC);
	fake_msr_set(MSR_IA32_X2APIC_FIRST + 2, 0x12345);
	assert_int_equal(lapic_id(), 0x12345);
	assert_true(lapic_reaches(0x12346));
	fake_msr_set(MSR_IA32_X2APIC_FIRST + 0x30, 0);
	lapic_send_init_others(); /* shorthand "all excluding self", assert, INIT */
	assert_int_equal(fake_msr_get(MSR_IA32_X2APIC_FIRST + 0x30), 0xc4500);
}

/* When the CPU halts. */
static uint64_t deadline_in_halt;

void fake_sti_hlt(void)
{
	deadline_in_halt = fake_msr_get(MSR_IA32_TSC_DEADLINE);
	fake_interrupts_on = true;
	fake_hlt_count++;
}

TEST(test_idle, fake_setup, fake_teardown)
{
	fake_reset();
	fake_cpuid_set(1, 0, 0, 0, CPUID_1_ECX_X2APIC | CPUID_1_ECX_TSC_DEADLINE, CPUID_1_EDX_APIC);
	fake_msr_set(MSR_IA32_APIC_BASE, XAPIC_BASE | APIC_BASE_X2APIC);
	fake_msr_set(MSR_IA32_TSC_DEADLINE, 0);
	for (uint32_t i = 0; i < 0x40; i++) {
		fake_msr_set(MSR_IA32_X2APIC_FIRST + i, 0);
	}
	lapic_init_this_cpu();
	fake_msr_set(MSR_IA32_TSC_DEADLINE, 77);
	lapic_idle_until(fake_tsc); /* past already: neither sleeps nor uses the timer */
	assert_int_equal(fake_hlt_count, 0);
	assert_int_equal(fake_msr_get(MSR_IA32_TSC_DEADLINE), 77);
	lapic_idle_until(fake_tsc + 1000000);
	assert_int_equal(fake_hlt_count, 1);
	assert_int_equal(deadline_in_halt, fake_tsc + 1000000);
	assert_int_equal(fake_msr_get(MSR_IA32_TSC_DEADLINE), 0);
	assert_false(fake_interrupts_on);
	fake_msr_set(MSR_IA32_TSC_DEADLINE, 77);
	lapic_idle_until(UINT64_MAX); /* waits for any interrupt */
	assert_int_equal(fake_hlt_count, 2);
	assert_int_equal(fake_msr_get(MSR_IA32_TSC_DEADLINE), 77);
}

/* Each in its own process: the mode is chosen once. */
TEST_RUN(.apart = true);
