/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID policy: what a guest sees of the processor's features. A leaf without a row reads zero, a
 * bit that is not in its row's mask is hidden. Visible is only what works in a guest, with its
 * state kept apart for each vCPU. Topology, frequencies and hypervisor leaves are the platform's
 * (vm_hooks.cpuid, which has the last word). No locks; tables are const.
 */
#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/alike.h"
#include "vmm/exits.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"

enum { EAX, EBX, ECX, EDX };

#define ALL 0xffffffffu

#define LEAF_BASIC_MAX	  0x16u
#define LEAF_EXTENDED	  0x80000000u
#define LEAF_EXTENDED_MAX 0x80000008u

enum row_kind {
	ABSENT,
	SHOWN,
	SHOWN_SUBLEAF_0, /* the others read zero */
};

struct cpuid_row {
	uint8_t kind; /* enum row_kind */
	bool changes; /* depends on the guest's state: not to be cached */
	uint32_t mask[4];
	void (*fix)(struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4]);
};

static void fix_max_basic(struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	regs[EAX] = LEAF_BASIC_MAX;
}

static void fix_features(struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	if ((regs[ECX] & CPUID_1_ECX_XSAVE) != 0 && (vmread(VMCS_GUEST_CR4) & CR4_OSXSAVE) != 0) {
		regs[ECX] |= CPUID_1_ECX_OSXSAVE;
	}
	regs[ECX] |= CPUID_1_ECX_HYPERVISOR;
}

static void fix_structured(struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	const struct vmx_caps *caps = vmx_caps();

	regs[EAX] = 0;
	regs[EBX] |= CPUID_7_EBX_TSC_ADJUST;
	if ((caps->cpu2 & CPU2_ENABLE_INVPCID) == 0) {
		regs[EBX] &= ~(uint32_t)CPUID_7_EBX_INVPCID;
	}
	if (!vmx_has_rdtscp()) {
		regs[ECX] &= ~(uint32_t)CPUID_7_ECX_RDPID;
	}
	if ((caps->guest_cr4 & CR4_UMIP) == 0) {
		regs[ECX] &= ~(uint32_t)CPUID_7_ECX_UMIP;
	}
}

/* SDM vol. 1, "Enumeration of CPU Support for XSAVE Instructions": bytes for the components of
 * xcr0. */
static uint32_t xsave_bytes(uint64_t xcr0, bool compacted)
{
	uint32_t bytes = 512 + 64;

	for (uint32_t i = 2; i < 32; i++) {
		struct cpuid_regs r;

		if ((xcr0 & BIT(i)) == 0) {
			continue;
		}
		r = cpu_cpuid(0xd, i);
		if (!compacted) {
			bytes = MAX(bytes, r.ebx + r.eax);
		} else {
			bytes = ((r.ecx & 2) != 0 ? ALIGN_UP(bytes, 64u) : bytes) + r.eax;
		}
	}
	return bytes;
}

static void fix_xsave(struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	const struct vmx_caps *caps = vmx_caps();

	if (caps->guest_xcr0 == 0) {
		regs[EAX] = regs[EBX] = regs[ECX] = regs[EDX] = 0;
	} else if (subleaf == 0) {
		regs[EAX] = (uint32_t)caps->guest_xcr0;
		regs[EBX] = xsave_bytes(vcpu->priv->xcr0, false);
		regs[ECX] = caps->xsave_bytes;
		regs[EDX] = (uint32_t)(caps->guest_xcr0 >> 32);
	} else if (subleaf == 1) {
		regs[EAX] &= CPUID_D_1_EAX_XSAVEOPT | CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XGETBV1 |
			     (caps->xsaves ? CPUID_D_1_EAX_XSAVES : 0);
		regs[EBX] = (regs[EAX] & (CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XSAVES)) == 0
				    ? 0
				    : xsave_bytes(vcpu->priv->xcr0, true);
		regs[ECX] = 0; /* no supervisor states */
		regs[EDX] = 0;
	} else if (subleaf >= 63 || (caps->guest_xcr0 & BIT(subleaf)) == 0) {
		regs[EAX] = regs[EBX] = regs[ECX] = regs[EDX] = 0;
	}
}

static void fix_max_extended(struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	regs[EAX] = MIN(regs[EAX], LEAF_EXTENDED_MAX);
}

static void fix_extended_features(struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	/* Intel shows SYSCALL to 64-bit code alone, Umbra's included; a guest may ask from
	 * elsewhere. */
	if (!vcpu_in_64bit_mode()) {
		regs[EDX] &= ~(uint32_t)CPUID_80000001_EDX_SYSCALL;
	}
	if (!vmx_has_rdtscp()) {
		regs[EDX] &= ~(uint32_t)CPUID_80000001_EDX_RDTSCP;
	}
}

static void fix_invariant_tsc(struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	regs[EDX] |= CPUID_80000007_EDX_INVARIANT_TSC;
}

static const struct cpuid_row basic_rows[LEAF_BASIC_MAX + 1] = {
	[0x00] = { SHOWN, false, { ALL, ALL, ALL, ALL }, fix_max_basic },
	[0x01] = { SHOWN,
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
			     CPUID_1_EDX_HTT },
		   fix_features },
	[0x02] = { SHOWN, false, { ALL, ALL, ALL, ALL }, NULL },
	[0x04] = { SHOWN, false, { ALL, ALL, ALL, ALL }, NULL },
	/* 5 MONITOR/MWAIT: hidden. 6 power: the platform's. */
	[0x06] = { SHOWN, false, { 0, 0, 0, 0 }, NULL },
	[0x07] = { SHOWN_SUBLEAF_0,
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
			     CPUID_7_EDX_ARCH_CAPS | CPUID_7_EDX_SSBD },
		   fix_structured },
	/* 0AH performance monitoring: hidden. */
	[0x0b] = { SHOWN, false, { 0, 0, 0, 0 }, NULL },
	[0x0d] = { SHOWN, true, { ALL, ALL, ALL, ALL }, fix_xsave },
	/* 12H SGX, 14H processor trace: hidden. 15H, 16H: the platform's. */
};

static const struct cpuid_row extended_rows[LEAF_EXTENDED_MAX - LEAF_EXTENDED + 1] = {
	[0] = { SHOWN, false, { ALL, 0, 0, 0 }, fix_max_extended },
	[1] = { SHOWN,
		true,
		{ 0, 0,
		  CPUID_80000001_ECX_LAHF | CPUID_80000001_ECX_LZCNT | CPUID_80000001_ECX_PREFETCHW,
		  CPUID_80000001_EDX_SYSCALL | CPUID_80000001_EDX_NX | CPUID_80000001_EDX_1G |
			  CPUID_80000001_EDX_RDTSCP | CPUID_80000001_EDX_LM },
		fix_extended_features },
	[2] = { SHOWN, false, { ALL, ALL, ALL, ALL }, NULL },
	[3] = { SHOWN, false, { ALL, ALL, ALL, ALL }, NULL },
	[4] = { SHOWN, false, { ALL, ALL, ALL, ALL }, NULL },
	[5] = { SHOWN, false, { ALL, ALL, ALL, ALL }, NULL },
	[6] = { SHOWN, false, { ALL, ALL, ALL, ALL }, NULL },
	[7] = { SHOWN, false, { 0, 0, 0, 0 }, fix_invariant_tsc },
	[8] = { SHOWN, false, { 0xffff, 0, 0, 0 }, NULL },
};

/* NULL: reads zero. Beyond its last leaf a CPU repeats that one, which means nothing. */
static const struct cpuid_row *find_row(uint32_t leaf)
{
	if (leaf <= LEAF_BASIC_MAX) {
		return leaf <= vmx_caps()->max_basic_leaf ? &basic_rows[leaf] : NULL;
	}
	if (leaf >= LEAF_EXTENDED && leaf <= LEAF_EXTENDED_MAX) {
		return &extended_rows[leaf - LEAF_EXTENDED];
	}
	return NULL;
}

uint32_t cpuid_guest_mask(uint32_t leaf, unsigned reg)
{
	const struct cpuid_row *rows = leaf < LEAF_EXTENDED ? basic_rows : extended_rows;

	return rows[leaf & ~LEAF_EXTENDED].mask[reg];
}

static void compute(struct vcpu *vcpu, const struct cpuid_row *row, uint32_t leaf, uint32_t subleaf,
		    uint32_t regs[4])
{
	if (row != NULL && row->kind != ABSENT && (row->kind == SHOWN || subleaf == 0)) {
		struct cpuid_regs r = cpu_cpuid(leaf, subleaf);

		regs[EAX] = r.eax & row->mask[EAX];
		regs[EBX] = r.ebx & row->mask[EBX];
		regs[ECX] = r.ecx & row->mask[ECX];
		regs[EDX] = r.edx & row->mask[EDX];
		alike_trim(leaf, subleaf, regs);
		if (row->fix != NULL) {
			row->fix(vcpu, subleaf, regs);
		}
	}
	vcpu->vm->hooks->cpuid(vcpu, leaf, subleaf, regs);
}

static enum exit_result give(struct vcpu *vcpu, const uint32_t regs[4])
{
	uint64_t *gpr = vcpu->regs.gpr;

	gpr[GPR_RAX] = regs[EAX];
	gpr[GPR_RBX] = regs[EBX];
	gpr[GPR_RCX] = regs[ECX];
	gpr[GPR_RDX] = regs[EDX];
	return EXIT_NEXT_INSN;
}

/* Out of line, so that the short way need not save registers for it. */
static __attribute__((noinline)) enum exit_result answer(struct vcpu *vcpu,
							 struct cpuid_answer *slot, uint64_t key)
{
	uint32_t leaf = (uint32_t)vcpu->regs.gpr[GPR_RAX];
	uint32_t subleaf = (uint32_t)vcpu->regs.gpr[GPR_RCX];
	const struct cpuid_row *row = find_row(leaf);
	struct cpuid_answer found = { .key = key };

	compute(vcpu, row, leaf, subleaf, found.regs);
	if (row == NULL || !row->changes) {
		*slot = found;
	}
	return give(vcpu, found.regs);
}

/* CPUID is slow, and under another hypervisor an exit of its own: answers that stay are kept. */
enum exit_result exit_cpuid(struct vcpu *vcpu)
{
	uint32_t leaf = (uint32_t)vcpu->regs.gpr[GPR_RAX];
	uint32_t subleaf = (uint32_t)vcpu->regs.gpr[GPR_RCX];
	uint64_t key = ~(leaf | (uint64_t)subleaf << 32);
	struct cpuid_answer *slot =
		&vcpu->priv->cpuid_cache[(leaf ^ leaf >> 27 ^ subleaf << 2) % CPUID_CACHE_SLOTS];

	return __builtin_expect(slot->key == key, 1) ? give(vcpu, slot->regs)
						     : answer(vcpu, slot, key);
}
