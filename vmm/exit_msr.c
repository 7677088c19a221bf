/* SPDX-License-Identifier: Apache-2.0 */
/* RDMSR and WRMSR; the policy is in msr.c. No lock: own CPU. */
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/msr.h"

enum exit_result exit_rdmsr(struct vcpu *vcpu)
{
	uint64_t *gpr = vcpu->regs.gpr;
	uint64_t value = 0;

	if (msr_guest_read(vcpu, (uint32_t)gpr[GPR_RCX], &value) != 0) {
		inject_gp(vcpu);
		return EXIT_RESUME;
	}
	gpr[GPR_RAX] = (uint32_t)value;
	gpr[GPR_RDX] = value >> 32;
	return EXIT_NEXT_INSN;
}

enum exit_result exit_wrmsr(struct vcpu *vcpu)
{
	uint64_t *gpr = vcpu->regs.gpr;
	uint64_t value = (uint32_t)gpr[GPR_RAX] | gpr[GPR_RDX] << 32;

	if (msr_guest_write(vcpu, (uint32_t)gpr[GPR_RCX], value) != 0) {
		inject_gp(vcpu);
		return EXIT_RESUME;
	}
	return EXIT_NEXT_INSN;
}
