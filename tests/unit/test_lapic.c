/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/base/lapic.c: x2APIC mode is turned on if an APIC ID needs it, and only then. */
#include "tests/unit/test.h"
#include "vmm/base/host_paging.h"
#include "vmm/base/lapic.h"
#include "vmm/base/x86.h"

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
