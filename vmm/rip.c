/* SPDX-License-Identifier: Apache-2.0 */
/* Moves RIP, with the other effects of a completed instruction. For the vCPU's own CPU: no lock. */
#include "vmm/rip.h"

#include "vmm/base/x86.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

void rip_end_of_step(uint64_t rflags)
{
	if (vcpu_single_steps(rflags)) {
		vmwrite(VMCS_GUEST_PENDING_DEBUG,
			vmread(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
	}
}

void rip_skip(uint64_t length)
{
	rip_skip_inline(length);
}

void rip_next_round(void)
{
	uint64_t rflags = vmread(VMCS_GUEST_RFLAGS) | RFLAGS_RF;

	rip_unblock();
	vmwrite(VMCS_GUEST_RFLAGS, rflags);
	rip_end_of_step(rflags);
}
