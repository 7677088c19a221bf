/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intel Architecture Memory Encryption Technologies Specification (336907), "Enumeration"; SDM
 * vol. 2B, "PCONFIG". Firmware locks IA32_TME_ACTIVATE before we run; what it says then holds until
 * reset.
 */
#include "crypto/tme.h"

#include "vmm/base/cpu.h"
#include "vmm/base/types.h"
#include "vmm/base/x86.h"

#define LEAF_PCONFIG	0x1bu
#define PCONFIG_TARGETS 1u /* EAX: what a sub-leaf lists */
#define TARGET_TME_MK	1u
#define SUBLEAF_MAX	64u

#define MSR_MKTME_KEYID_PARTITIONING 0x87u

#define CAP_MAX_KEYS(cap)	 ((cap) >> 36 & 0x7fff)
#define ACTIVATE_LOCK		 BIT(0)
#define ACTIVATE_ENABLE		 BIT(1)
#define ACTIVATE_BYPASS		 BIT(31) /* KeyID 0 is not encrypted */
#define ACTIVATE_KEYID_BITS(act) ((uint32_t)((act) >> 32 & 15))
#define ACTIVATE_TDX_BITS(act)	 ((uint32_t)((act) >> 36 & 15))
/* Without integrity: AES-XTS-128 and AES-XTS-256. */
#define ACTIVATE_ALGORITHMS(act) ((act) >> 48 & 5)

static bool pconfig_sets_keys(void)
{
	if ((cpu_cpuid(7, 0).edx & CPUID_7_EDX_PCONFIG) == 0 ||
	    cpu_cpuid(0, 0).eax < LEAF_PCONFIG) {
		return false;
	}
	for (uint32_t i = 0; i < SUBLEAF_MAX; i++) {
		const struct cpuid_regs list = cpu_cpuid(LEAF_PCONFIG, i);

		if ((list.eax & 0xfff) != PCONFIG_TARGETS) {
			return false;
		}
		if (list.ebx == TARGET_TME_MK || list.ecx == TARGET_TME_MK ||
		    list.edx == TARGET_TME_MK) {
			return true;
		}
	}
	return false;
}

/* KeyIDs from 1 on that are ours: TDX may have taken the upper ones, or all. */
static uint64_t count_keyids(uint64_t capability, uint64_t activate)
{
	const uint32_t bits = ACTIVATE_KEYID_BITS(activate), tdx = ACTIVATE_TDX_BITS(activate);
	uint64_t partition;
	uint64_t count;

	if (bits <= tdx) {
		return 0;
	}
	count = MIN(BIT(bits - tdx) - 1, CAP_MAX_KEYS(capability));
	/* Only CPUs with TDX have it. */
	if (tdx != 0 && msr_read_safe(MSR_MKTME_KEYID_PARTITIONING, &partition) == 0) {
		count = MIN(count, partition & UINT32_MAX);
	}
	return count;
}

enum tme_kind tme_detect(void)
{
	uint64_t capability, activate;

	if (cpu_cpuid(0, 0).eax < 7 || (cpu_cpuid(7, 0).ecx & CPUID_7_ECX_TME) == 0 ||
	    msr_read_safe(MSR_IA32_TME_CAPABILITY, &capability) != 0 ||
	    msr_read_safe(MSR_IA32_TME_ACTIVATE, &activate) != 0) {
		return TME_NONE;
	}
	if ((activate & ACTIVATE_LOCK) == 0 || (activate & ACTIVATE_ENABLE) == 0) {
		return TME_NONE;
	}
	if (ACTIVATE_ALGORITHMS(activate) != 0 && count_keyids(capability, activate) != 0 &&
	    pconfig_sets_keys()) {
		return TME_MK;
	}
	return (activate & ACTIVATE_BYPASS) != 0 ? TME_NONE : TME_ONLY;
}
