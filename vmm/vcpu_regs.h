/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of the guest whose VMCS is current, and what follows from them. Own CPU. */
#ifndef UMBRA_VMM_VCPU_REGS_H
#define UMBRA_VMM_VCPU_REGS_H

#include "vmm/base/x86.h"
#include "vmm/vcpu.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/* Only the low half counts outside of 64-bit mode; the SDM leaves the upper half undefined then. */
static inline bool vcpu_in_64bit_mode(void)
{
	return (vmread(VMCS_GUEST_EFER) & 0x400) != 0 &&
	       (vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEG_AR_L) != 0;
}

/* Does RFLAGS of the guest ask for a #DB behind each instruction? */
static inline bool vcpu_single_steps(uint64_t rflags)
{
	return (rflags & RFLAGS_TF) != 0 && (vmread(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF) == 0;
}

/* Registers by the hardware's number, RSP included. */
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
 * Forgets the translations that this CPU holds for the vCPU, as what it did, or what came to it,
 * does on a CPU of its own. Without VPID each entry and exit does.
 */
static inline void vcpu_flush_translations(const struct vcpu *vcpu)
{
	if (vmx_caps()->vpid) {
		invvpid_single(vcpu->vpid);
	}
}

#endif
