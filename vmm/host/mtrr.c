/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firmware should program the MTRRs of all CPUs alike: two CPUs that disagree on the type of a page
 * corrupt it. The BSP's values count as right. They are stored once and then only read.
 */
#include "vmm/host/mtrr.h"

#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"

#define MTRR_VARIABLE_MAX 32
#define MTRR_MAX	  (11 + 2 * MTRR_VARIABLE_MAX)

static struct {
	uint32_t msr;
	uint64_t value;
} mtrrs[MTRR_MAX];
static size_t mtrr_count, variable_count;
static uint64_t def_type;
static bool have_mtrrs;

static void add(uint32_t msr)
{
	mtrrs[mtrr_count].msr = msr;
	mtrrs[mtrr_count].value = cpu_rdmsr(msr);
	mtrr_count++;
}

void mtrr_capture(void)
{
	uint64_t cap;
	uint32_t i;

	mtrr_count = variable_count = 0;
	have_mtrrs = (cpu_cpuid(1, 0).edx & CPUID_1_EDX_MTRR) != 0;
	if (!have_mtrrs) {
		return;
	}
	cap = cpu_rdmsr(MSR_IA32_MTRRCAP);
	variable_count = MIN(cap & MTRRCAP_VCNT, (uint64_t)MTRR_VARIABLE_MAX);
	for (i = 0; i < 2 * variable_count; i++) {
		add(MSR_IA32_MTRR_PHYSBASE0 + i);
	}
	if ((cap & MTRRCAP_FIX) != 0) {
		add(MSR_IA32_MTRR_FIX64K_00000);
		add(MSR_IA32_MTRR_FIX16K_80000);
		add(MSR_IA32_MTRR_FIX16K_A0000);
		for (i = 0; i < 8; i++) {
			add(MSR_IA32_MTRR_FIX4K_C0000 + i);
		}
	}
	def_type = cpu_rdmsr(MSR_IA32_MTRR_DEF_TYPE);
}

bool mtrr_free_bits(uint64_t bits)
{
	/* The list begins with a pair of base and mask for each variable range. */
	for (size_t i = 0; i + 1 < 2 * variable_count; i += 2) {
		if ((mtrrs[i + 1].value & MTRR_PHYSMASK_VALID) != 0 &&
		    (mtrrs[i].value & bits) != 0) {
			return false;
		}
	}
	for (size_t i = 0; i + 1 < 2 * variable_count; i += 2) {
		mtrrs[i + 1].value &= ~bits;
	}
	return true;
}

static bool differs(void)
{
	size_t i;

	if (cpu_rdmsr(MSR_IA32_MTRR_DEF_TYPE) != def_type) {
		return true;
	}
	for (i = 0; i < mtrr_count; i++) {
		if (cpu_rdmsr(mtrrs[i].msr) != mtrrs[i].value) {
			return true;
		}
	}
	return false;
}

/* SDM vol. 3, "MTRR Maintenance Programming Interface": no caches, no TLB during the change. */
static void load(void)
{
	uint64_t cr0 = cpu_read_cr0();
	uint64_t cr4 = cpu_read_cr4();
	size_t i;

	cpu_write_cr0((cr0 | CR0_CD) & ~CR0_NW);
	cpu_wbinvd();
	cpu_write_cr4(cr4 & ~CR4_PGE);
	cpu_write_cr3(cpu_read_cr3());
	cpu_wrmsr(MSR_IA32_MTRR_DEF_TYPE, def_type & ~MTRR_DEF_TYPE_ENABLE);
	for (i = 0; i < mtrr_count; i++) {
		cpu_wrmsr(mtrrs[i].msr, mtrrs[i].value);
	}
	cpu_wrmsr(MSR_IA32_MTRR_DEF_TYPE, def_type);
	cpu_wbinvd();
	cpu_write_cr3(cpu_read_cr3());
	cpu_write_cr0(cr0);
	cpu_write_cr4(cr4);
}

bool mtrr_match_this_cpu(void)
{
	if (!have_mtrrs || !differs()) {
		return false;
	}
	load();
	return true;
}
