/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of the words that are compared between CPUs. Written while CPUs start, one after the
 * other, and only read afterwards: no lock.
 */
#include "vmm/alike.h"

#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/cpuid_rows.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"

enum { EAX, EBX, ECX, EDX, MSR };

enum rule {
	SAME,
	ALL_OF,	     /* must have every bit that the boot processor has */
	NONE_BEYOND, /* must not have a bit that the boot processor lacks */
	FEATURES,    /* ALL_OF; and guests see the bits that all CPUs have */
};

#define GUESTS 0	  /* the mask is cpuid_guest_mask */
#define MODEL  0x0fff0ff0 /* CPUID.1:EAX without the stepping */
#define EPT_USED                                                                         \
	(EPT_CAP_EXEC_ONLY | EPT_CAP_WALK_4 | EPT_CAP_WB | EPT_CAP_2M | EPT_CAP_1G |     \
	 EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL | EPT_CAP_INVVPID | \
	 EPT_CAP_INVVPID_SINGLE)
#define XCR0_USED (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)
#define XSAVE_USED                                                               \
	(CPUID_D_1_EAX_XSAVEOPT | CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XGETBV1 | \
	 CPUID_D_1_EAX_XSAVES)

static const struct word {
	const char *name;
	uint8_t reg; /* EAX to EDX of a CPUID leaf, or MSR */
	uint8_t rule;
	uint32_t index, subleaf;
	uint64_t mask;
} words[] = {
	{ "CPUID.1:EAX (model)", EAX, SAME, 1, 0, MODEL },
	{ "CPUID.1:ECX", ECX, FEATURES, 1, 0, GUESTS },
	{ "CPUID.1:EDX", EDX, FEATURES, 1, 0, GUESTS },
	{ "CPUID.7:EBX", EBX, FEATURES, 7, 0, GUESTS },
	{ "CPUID.7:ECX", ECX, FEATURES, 7, 0, GUESTS },
	{ "CPUID.7:EDX", EDX, FEATURES, 7, 0, GUESTS },
	{ "CPUID.0DH:EAX (XCR0)", EAX, FEATURES, 0xd, 0, XCR0_USED },
	{ "CPUID.0DH.1:EAX (XSAVE)", EAX, FEATURES, 0xd, 1, XSAVE_USED },
	{ "CPUID.80000001H:ECX", ECX, FEATURES, 0x80000001, 0, GUESTS },
	{ "CPUID.80000001H:EDX", EDX, FEATURES, 0x80000001, 0, GUESTS },
	{ "CPUID.80000008H:EAX (address widths)", EAX, SAME, 0x80000008, 0, 0xffff },
	{ "IA32_VMX_BASIC", MSR, SAME, MSR_IA32_VMX_BASIC, 0,
	  VMX_BASIC_REVISION | VMX_BASIC_32_BIT | VMX_BASIC_INS_OUTS_INFO |
		  VMX_BASIC_TRUE_CONTROLS },
	{ "IA32_VMX_MISC (rate of the timer)", MSR, SAME, MSR_IA32_VMX_MISC, 0,
	  VMX_MISC_TIMER_SHIFT(MASK(63, 0)) },
	{ "IA32_VMX_CR0_FIXED0", MSR, NONE_BEYOND, MSR_IA32_VMX_CR0_FIXED0, 0, UINT64_MAX },
	{ "IA32_VMX_CR0_FIXED1", MSR, ALL_OF, MSR_IA32_VMX_CR0_FIXED1, 0, UINT64_MAX },
	{ "IA32_VMX_CR4_FIXED0", MSR, NONE_BEYOND, MSR_IA32_VMX_CR4_FIXED0, 0, UINT64_MAX },
	{ "IA32_VMX_CR4_FIXED1", MSR, ALL_OF, MSR_IA32_VMX_CR4_FIXED1, 0, UINT64_MAX },
	{ "IA32_VMX_EPT_VPID_CAP", MSR, ALL_OF, MSR_IA32_VMX_EPT_VPID_CAP, 0, EPT_USED },
};

static uint64_t boot_cpu[ARRAY_COUNT(words)];
static bool some_have_more; /* for words of kind FEATURES */
static struct flaw_facts flaws;

static uint64_t read_word(const struct word *word)
{
	uint64_t mask = word->mask;
	uint64_t value;

	if (word->reg == MSR) {
		(void)msr_read_safe(word->index, &value); /* 0 if it does not exist */
	} else {
		struct cpuid_regs r = cpu_cpuid(word->index, word->subleaf);
		const uint32_t regs[] = { r.eax, r.ebx, r.ecx, r.edx };

		value = regs[word->reg];
		mask = mask == GUESTS ? cpuid_guest_mask(word->index, word->reg) : mask;
	}
	return value & mask;
}

void alike_capture(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		boot_cpu[i] = read_word(&words[i]);
	}
	some_have_more = false;
	flaws_gather(&flaws);
}

bool alike_check(char *why, size_t bytes)
{
	struct flaw_facts here;
	bool more_here = false;

	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		uint64_t value = read_word(&words[i]);
		uint64_t lacks = boot_cpu[i] & ~value, more = value & ~boot_cpu[i];

		if ((lacks != 0 && words[i].rule != NONE_BEYOND) ||
		    (more != 0 && (words[i].rule == SAME || words[i].rule == NONE_BEYOND))) {
			(void)str_printf(why, bytes,
					 "it is not like the boot CPU: %s is %#lx, not %#lx",
					 words[i].name, value, boot_cpu[i]);
			return false;
		}
		more_here |= more != 0 && words[i].rule == FEATURES;
	}
	if (!vmx_fits(why, bytes)) {
		return false;
	}
	some_have_more |= more_here;
	flaws_gather(&here);
	flaws_merge(&flaws, &here);
	return true;
}

void alike_trim(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	if (!some_have_more) {
		return;
	}
	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		if (words[i].rule == FEATURES && words[i].index == leaf &&
		    words[i].subleaf == subleaf) {
			regs[words[i].reg] &= (uint32_t)boot_cpu[i];
		}
	}
}

const struct flaw_facts *alike_flaws(void)
{
	return &flaws;
}
