/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID for a guest: the bits that cpuid_rows.c allows and that all CPUs have, then changed by what
 * depends on the vCPU. The platform supplies topology, frequencies and hypervisor leaves
 * (vm_hooks.cpuid, which is called last). No locks.
 */
#include "ept/ept.h"
#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/alike.h"
#include "vmm/cpuid_rows.h"
#include "vmm/exits.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

enum { EAX, EBX, ECX, EDX };

static void fix_features(uint32_t regs[4])
{
	if ((regs[ECX] & CPUID_1_ECX_XSAVE) != 0 && (vmread(VMCS_GUEST_CR4) & CR4_OSXSAVE) != 0) {
		regs[ECX] |= CPUID_1_ECX_OSXSAVE;
	}
	regs[ECX] |= CPUID_1_ECX_HYPERVISOR;
}

static void fix_structured(uint32_t regs[4])
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

static void fix_extended_features(uint32_t regs[4])
{
	/*
	 * Intel CPUs show SYSCALL only to 64-bit code. Umbra is 64-bit code and always sees it, so
	 * it must be hidden from a guest in another mode.
	 */
	if (!vcpu_in_64bit_mode()) {
		regs[EDX] &= ~(uint32_t)CPUID_80000001_EDX_SYSCALL;
	}
	if (!vmx_has_rdtscp()) {
		regs[EDX] &= ~(uint32_t)CPUID_80000001_EDX_RDTSCP;
	}
}

/* Sets what depends on the guest, or on what Umbra supports, apart from features. */
static void fix(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	switch (leaf) {
	case 0: regs[EAX] = CPUID_LEAF_BASIC_MAX; break;
	case 1: fix_features(regs); break;
	case 7: fix_structured(regs); break;
	case 0xd: fix_xsave(vcpu, subleaf, regs); break;
	case 0x80000000: regs[EAX] = MIN(regs[EAX], CPUID_LEAF_EXTENDED_MAX); break;
	case 0x80000001: fix_extended_features(regs); break;
	case 0x80000007: regs[EDX] |= CPUID_80000007_EDX_INVARIANT_TSC; break;
	/* A guest's page tables are checked against this, whatever the machine's CPUID says. */
	case 0x80000008: regs[EAX] = (regs[EAX] & ~0xffu) | ept_caps()->phys_bits; break;
	default: break;
	}
}

static void compute(struct vcpu *vcpu, const struct cpuid_row *row, uint32_t leaf, uint32_t subleaf,
		    uint32_t regs[4])
{
	if (row != NULL && row->kind != CPUID_ABSENT &&
	    (row->kind == CPUID_SHOWN || subleaf == 0)) {
		struct cpuid_regs r = cpu_cpuid(leaf, subleaf);

		regs[EAX] = r.eax & row->mask[EAX];
		regs[EBX] = r.ebx & row->mask[EBX];
		regs[ECX] = r.ecx & row->mask[ECX];
		regs[EDX] = r.edx & row->mask[EDX];
		alike_trim(leaf, subleaf, regs);
		fix(vcpu, leaf, subleaf, regs);
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

/* Not inlined, so that the fast path need not save registers for it. */
static __attribute__((noinline)) enum exit_result answer(struct vcpu *vcpu,
							 struct cpuid_answer *slot, uint64_t key)
{
	uint32_t leaf = (uint32_t)vcpu->regs.gpr[GPR_RAX];
	uint32_t subleaf = (uint32_t)vcpu->regs.gpr[GPR_RCX];
	const struct cpuid_row *row = cpuid_row(leaf, vmx_caps()->max_basic_leaf);
	struct cpuid_answer found = { .key = key };

	compute(vcpu, row, leaf, subleaf, found.regs);
	if (row == NULL || !row->changes) {
		*slot = found;
	}
	return give(vcpu, found.regs);
}

/* CPUID is slow, and causes an exit under another hypervisor, so constant results are cached. */
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
