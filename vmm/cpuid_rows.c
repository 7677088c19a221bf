/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID policy: which bits of the processor's features a guest sees. A leaf without a row reads
 * zero; a bit that is not in its row's mask is hidden. A feature is visible only if it works in a
 * guest and its state is separate for each vCPU. The tables are const.
 */
#include "vmm/cpuid_rows.h"

#include "vmm/base/x86.h"

#define ALL	      0xffffffffu
#define LEAF_EXTENDED 0x80000000u

static const struct cpuid_row basic_rows[CPUID_LEAF_BASIC_MAX + 1] = {
	[0x00] = { CPUID_SHOWN, false, { ALL, ALL, ALL, ALL } },
	[0x01] = { CPUID_SHOWN,
		   true,
		   { ALL, ALL,
		     CPUID_1_ECX_SSE3 | CPUID_1_ECX_PCLMULQDQ | CPUID_1_ECX_SSSE3 |
			     CPUID_1_ECX_FMA | CPUID_1_ECX_CX16 | CPUID_1_ECX_PCID |
			     CPUID_1_ECX_SSE4_1 | CPUID_1_ECX_SSE4_2 | CPUID_1_ECX_X2APIC |
			     CPUID_1_ECX_MOVBE | CPUID_1_ECX_POPCNT | CPUID_1_ECX_TSC_DEADLINE |
			     CPUID_1_ECX_AESNI | CPUID_1_ECX_XSAVE | CPUID_1_ECX_AVX |
			     CPUID_1_ECX_F16C | CPUID_1_ECX_RDRAND,
		     CPUID_1_EDX_FPU | CPUID_1_EDX_VME | CPUID_1_EDX_DE | CPUID_1_EDX_PSE |
			     CPUID_1_EDX_TSC | CPUID_1_EDX_MSR | CPUID_1_EDX_PAE | CPUID_1_EDX_MCE |
			     CPUID_1_EDX_CX8 | CPUID_1_EDX_APIC | CPUID_1_EDX_SEP |
			     CPUID_1_EDX_MTRR | CPUID_1_EDX_PGE | CPUID_1_EDX_MCA |
			     CPUID_1_EDX_CMOV | CPUID_1_EDX_PAT | CPUID_1_EDX_PSE36 |
			     CPUID_1_EDX_CLFSH | CPUID_1_EDX_MMX | CPUID_1_EDX_FXSR |
			     CPUID_1_EDX_SSE | CPUID_1_EDX_SSE2 | CPUID_1_EDX_SS |
			     CPUID_1_EDX_HTT } },
	[0x02] = { CPUID_SHOWN, false, { ALL, ALL, ALL, ALL } },
	[0x04] = { CPUID_SHOWN, false, { ALL, ALL, ALL, ALL } },
	/* 5 MONITOR/MWAIT: hidden. 6 power: the platform's. */
	[0x06] = { CPUID_SHOWN, false, { 0, 0, 0, 0 } },
	[0x07] = { CPUID_SHOWN_SUBLEAF_0,
		   false,
		   { 0,
		     CPUID_7_EBX_FSGSBASE | CPUID_7_EBX_BMI1 | CPUID_7_EBX_AVX2 |
			     CPUID_7_EBX_FDP_EXCPTN | CPUID_7_EBX_SMEP | CPUID_7_EBX_BMI2 |
			     CPUID_7_EBX_ERMS | CPUID_7_EBX_INVPCID | CPUID_7_EBX_NO_FCS_FDS |
			     CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512DQ | CPUID_7_EBX_RDSEED |
			     CPUID_7_EBX_ADX | CPUID_7_EBX_SMAP | CPUID_7_EBX_AVX512IFMA |
			     CPUID_7_EBX_CLFLUSHOPT | CPUID_7_EBX_CLWB | CPUID_7_EBX_AVX512CD |
			     CPUID_7_EBX_SHA | CPUID_7_EBX_AVX512BW | CPUID_7_EBX_AVX512VL,
		     CPUID_7_ECX_AVX512VBMI | CPUID_7_ECX_UMIP | CPUID_7_ECX_AVX512VBMI2 |
			     CPUID_7_ECX_GFNI | CPUID_7_ECX_VAES | CPUID_7_ECX_VPCLMULQDQ |
			     CPUID_7_ECX_AVX512VNNI | CPUID_7_ECX_AVX512BITALG |
			     CPUID_7_ECX_AVX512VPOPCNTDQ | CPUID_7_ECX_RDPID |
			     CPUID_7_ECX_CLDEMOTE | CPUID_7_ECX_MOVDIRI | CPUID_7_ECX_MOVDIR64B,
		     CPUID_7_EDX_FSRM | CPUID_7_EDX_AVX512VP2INTERSECT | CPUID_7_EDX_MD_CLEAR |
			     CPUID_7_EDX_SERIALIZE | CPUID_7_EDX_AVX512FP16 |
			     CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_L1D_FLUSH |
			     CPUID_7_EDX_ARCH_CAPS | CPUID_7_EDX_SSBD } },
	/* 0AH performance monitoring: hidden. */
	[0x0b] = { CPUID_SHOWN, false, { 0, 0, 0, 0 } },
	[0x0d] = { CPUID_SHOWN, true, { ALL, ALL, ALL, ALL } },
	/* 12H SGX, 14H processor trace: hidden. 15H, 16H: the platform's. */
};

static const struct cpuid_row extended_rows[CPUID_LEAF_EXTENDED_MAX - LEAF_EXTENDED + 1] = {
	[0] = { CPUID_SHOWN, false, { ALL, 0, 0, 0 } },
	[1] = { CPUID_SHOWN,
		true,
		{ 0, 0,
		  CPUID_80000001_ECX_LAHF | CPUID_80000001_ECX_LZCNT | CPUID_80000001_ECX_PREFETCHW,
		  CPUID_80000001_EDX_SYSCALL | CPUID_80000001_EDX_NX | CPUID_80000001_EDX_1G |
			  CPUID_80000001_EDX_RDTSCP | CPUID_80000001_EDX_LM } },
	[2] = { CPUID_SHOWN, false, { ALL, ALL, ALL, ALL } },
	[3] = { CPUID_SHOWN, false, { ALL, ALL, ALL, ALL } },
	[4] = { CPUID_SHOWN, false, { ALL, ALL, ALL, ALL } },
	[5] = { CPUID_SHOWN, false, { ALL, ALL, ALL, ALL } },
	[6] = { CPUID_SHOWN, false, { ALL, ALL, ALL, ALL } },
	[7] = { CPUID_SHOWN, false, { 0, 0, 0, 0 } },
	[8] = { CPUID_SHOWN, false, { 0xffff, 0, 0, 0 } },
};

const struct cpuid_row *cpuid_row(uint32_t leaf, uint32_t max_basic)
{
	if (leaf <= CPUID_LEAF_BASIC_MAX) {
		return leaf <= max_basic ? &basic_rows[leaf] : NULL;
	}
	if (leaf >= LEAF_EXTENDED && leaf <= CPUID_LEAF_EXTENDED_MAX) {
		return &extended_rows[leaf - LEAF_EXTENDED];
	}
	return NULL;
}

uint32_t cpuid_guest_mask(uint32_t leaf, unsigned reg)
{
	const struct cpuid_row *rows = leaf < LEAF_EXTENDED ? basic_rows : extended_rows;

	return rows[leaf & ~LEAF_EXTENDED].mask[reg];
}
