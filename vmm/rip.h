/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only these functions move RIP. They do all other effects of an instruction's end as well:
 * blocking by STI and MOV SS ends, RF is cleared, a single step becomes due. On the vCPU's own CPU,
 * its VMCS current.
 */
#ifndef UMBRA_VMM_RIP_H
#define UMBRA_VMM_RIP_H

#include "vmm/base/x86.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/* Skips an emulated instruction of so many bytes. */
void rip_skip(uint64_t length);

/*
 * One iteration of a repeated string instruction is done, and more follow: RIP stays. RF prevents a
 * second hit of an instruction breakpoint; a single step comes after each iteration (SDM vol. 3,
 * "Instruction-Breakpoint Exception Condition" and "Single-Step Exception Condition").
 */
void rip_next_round(void);

/* For rip_skip_inline: an instruction, or an iteration, was completed with RFLAGS.TF set. */
void rip_end_of_step(uint64_t rflags);

/* Ends blocking by STI and MOV SS. */
static inline void rip_unblock(void)
{
	uint64_t blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY);

	if ((blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)) != 0) {
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY,
			blocking & ~(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
	}
}

/* rip_skip for exit_dispatch, which nearly every exit uses. */
static inline __attribute__((always_inline)) void rip_skip_inline(uint64_t length)
{
	uint64_t rip = vmread(VMCS_GUEST_RIP);
	uint64_t next = rip + length;
	uint64_t rflags;

	if (((rip ^ next) >> 32) != 0 && !vcpu_in_64bit_mode()) {
		next &= UINT32_MAX;
	}
	vmwrite(VMCS_GUEST_RIP, next);
	rip_unblock();
	/* An exit for memory leaves RF set (SDM, "Saving RIP, RSP, RFLAGS, and SSP"). */
	rflags = vmread(VMCS_GUEST_RFLAGS);
	if (__builtin_expect((rflags & (RFLAGS_RF | RFLAGS_TF)) != 0, 0)) {
		vmwrite(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
		if ((rflags & RFLAGS_TF) != 0) {
			rip_end_of_step(rflags);
		}
	}
}

#endif
