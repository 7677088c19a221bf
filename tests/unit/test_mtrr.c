/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/host/mtrr.c: an AP with different MTRRs gets the BSP's, by the SDM's procedure. */
#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/host/mtrr.h"

#define VARIABLE 10u

static unsigned writes;

/*
 * At every write to an MTRR caches must be off, and all MTRRs disabled but for the last two writes.
 */
void fake_wrmsr(uint32_t msr, uint64_t value)
{
	writes++;
	assert_int_equal(fake_cr0 & (CR0_CD | CR0_NW), CR0_CD);
	assert_int_equal(fake_cr4 & CR4_PGE, 0);
	assert_true(fake_wbinvd_count >= 1);
	if (msr != MSR_IA32_MTRR_DEF_TYPE) {
		assert_int_equal(fake_msr_get(MSR_IA32_MTRR_DEF_TYPE) & MTRR_DEF_TYPE_ENABLE, 0);
	}
	fake_msr_set(msr, value);
}

static void machine(bool fixed)
{
	uint32_t i;

	fake_x86_reset();
	writes = 0;
	fake_cr0 = CR0_PG | CR0_PE;
	fake_cr4 = CR4_PAE | CR4_PGE;
	fake_cpuid_set(1, 0, 0, 0, 0, CPUID_1_EDX_MTRR);
	fake_msr_set(MSR_IA32_MTRRCAP, VARIABLE | (fixed ? MTRRCAP_FIX : 0));
	fake_msr_set(MSR_IA32_MTRR_DEF_TYPE, MTRR_DEF_TYPE_ENABLE | MTRR_DEF_TYPE_FIX | 6);
	for (i = 0; i < 2 * VARIABLE; i++) {
		fake_msr_set(MSR_IA32_MTRR_PHYSBASE0 + i, 0x1000 * i);
	}
	if (fixed) {
		fake_msr_set(MSR_IA32_MTRR_FIX64K_00000, 0x0606060606060606);
		fake_msr_set(MSR_IA32_MTRR_FIX16K_80000, 0x0606060606060606);
		fake_msr_set(MSR_IA32_MTRR_FIX16K_A0000, 0);
		for (i = 0; i < 8; i++) {
			fake_msr_set(MSR_IA32_MTRR_FIX4K_C0000 + i, 0x0505050505050505);
		}
	}
}

TEST(test_equal)
{
	machine(true);
	mtrr_capture();
	assert_false(mtrr_match_this_cpu());
	assert_int_equal(writes, 0);
	assert_int_equal(fake_wbinvd_count, 0);
}

TEST(test_each_differs)
{
	static const uint32_t msrs[] = {
		MSR_IA32_MTRR_DEF_TYPE,	       MSR_IA32_MTRR_PHYSBASE0,
		MSR_IA32_MTRR_PHYSMASK0,       MSR_IA32_MTRR_PHYSBASE0 + 2 * VARIABLE - 1,
		MSR_IA32_MTRR_FIX64K_00000,    MSR_IA32_MTRR_FIX16K_80000,
		MSR_IA32_MTRR_FIX16K_A0000,    MSR_IA32_MTRR_FIX4K_C0000,
		MSR_IA32_MTRR_FIX4K_C0000 + 7,
	};
	size_t i;

	for (i = 0; i < ARRAY_COUNT(msrs); i++) {
		uint64_t right;

		machine(true);
		mtrr_capture();
		right = fake_msr_get(msrs[i]);
		fake_msr_set(msrs[i], 1);
		assert_true(mtrr_match_this_cpu());
		assert_int_equal(fake_msr_get(msrs[i]), right);
		assert_int_equal(fake_msr_get(MSR_IA32_MTRR_DEF_TYPE),
				 MTRR_DEF_TYPE_ENABLE | MTRR_DEF_TYPE_FIX | 6);
		assert_int_equal(fake_wbinvd_count, 2);
		assert_int_equal(fake_cr0, CR0_PG | CR0_PE);
		assert_int_equal(fake_cr4, CR4_PAE | CR4_PGE);
		assert_false(mtrr_match_this_cpu());
	}
}

TEST(test_few)
{
	machine(false); /* no fixed ranges: those MSRs would fault */
	mtrr_capture();
	fake_msr_set(MSR_IA32_MTRR_PHYSBASE0, 7);
	assert_true(mtrr_match_this_cpu());
	assert_int_equal(writes, 2 * VARIABLE + 2);

	machine(false);
	fake_cpuid_set(1, 0, 0, 0, 0, 0);
	mtrr_capture();
	fake_msr_set(MSR_IA32_MTRR_PHYSBASE0, 7);
	assert_false(mtrr_match_this_cpu());
	assert_int_equal(writes, 0);
}

/* KeyID bits are removed from the masks, of ranges in use and of others; nothing else changes. */
TEST(test_free_bits)
{
	const uint64_t keyid = 0xfc00000000000, valid = BIT(11);
	uint64_t base;

	machine(true);
	fake_msr_set(MSR_IA32_MTRR_PHYSBASE0, 0x80000006);
	fake_msr_set(MSR_IA32_MTRR_PHYSMASK0, 0xfffff80000000 | valid);
	fake_msr_set(MSR_IA32_MTRR_PHYSBASE0 + 2, BIT(51)); /* not in use */
	fake_msr_set(MSR_IA32_MTRR_PHYSMASK0 + 2, BIT(51));
	mtrr_capture();
	assert_true(mtrr_free_bits(keyid));
	assert_true(mtrr_match_this_cpu());
	assert_int_equal(fake_msr_get(MSR_IA32_MTRR_PHYSBASE0), 0x80000006);
	assert_int_equal(fake_msr_get(MSR_IA32_MTRR_PHYSMASK0), 0x3fff80000000 | valid);
	assert_int_equal(fake_msr_get(MSR_IA32_MTRR_PHYSMASK0 + 2), 0);
	assert_int_equal(fake_msr_get(MSR_IA32_MTRR_FIX64K_00000), 0x0606060606060606);
	/* Already done, by firmware: no register is written. */
	assert_true(mtrr_free_bits(keyid));
	assert_false(mtrr_match_this_cpu());
	/* A range in use at such an address. */
	base = BIT(46) | 6;
	fake_msr_set(MSR_IA32_MTRR_PHYSBASE0, base);
	fake_msr_set(MSR_IA32_MTRR_PHYSMASK0, 0xfffff80000000 | valid);
	mtrr_capture();
	assert_false(mtrr_free_bits(keyid));
	assert_false(mtrr_match_this_cpu());
	/* No MTRRs. */
	fake_cpuid_set(1, 0, 0, 0, 0, 0);
	mtrr_capture();
	assert_true(mtrr_free_bits(keyid));
	assert_false(mtrr_match_this_cpu());
}
