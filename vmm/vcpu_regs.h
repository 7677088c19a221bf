/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of the vCPU whose VMCS is current, and facts that follow from them. No locks. */
#ifndef UMBRA_VMM_VCPU_REGS_H
#define UMBRA_VMM_VCPU_REGS_H

#include "vmm/base/x86.h"
#include "vmm/vcpu.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/*
 * Outside of 64-bit mode only the low halves of general-purpose registers count: the SDM leaves the
 * upper halves undefined.
 */
static inline bool vcpu_in_64bit_mode(void)
{
	return (vmread(VMCS_GUEST_EFER) & 0x400) != 0 &&
	       (vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEG_AR_L) != 0;
}

/* Returns whether the guest, with this RFLAGS, gets a #DB after each instruction (TF, not BTF). */
static inline bool vcpu_single_steps(uint64_t rflags)
{
	return (rflags & RFLAGS_TF) != 0 && (vmread(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF) == 0;
}

/* General-purpose registers by their number in an instruction. RSP is in the VMCS. */
static inline uint64_t vcpu_get_gpr(const struct vcpu *vcpu, unsigned number)
{
	return number == GPR_RSP ? vmread(VMCS_GUEST_RSP) : vcpu->regs.gpr[number & 15];
}

static inline void vcpu_set_gpr(struct vcpu *vcpu, unsigned number, uint64_t value)
{
	if (number == GPR_RSP) {
		vmwrite(VMCS_GUEST_RSP, value);
	} else {
		vcpu->regs.gpr[number & 15] = value;
	}
}

/*
 * Flushes the translations that this CPU has cached for the vCPU: when the vCPU has moved to this
 * CPU, for example, or when an instruction or an event such as INIT would flush them on a physical
 * CPU. Does nothing without VPID, because then each VM entry and VM exit flushes them.
 */
static inline void vcpu_flush_translations(const struct vcpu *vcpu)
{
	if (vmx_caps()->vpid) {
		invvpid_single(vcpu->vpid);
	}
}

#endif
