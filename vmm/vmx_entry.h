/* SPDX-License-Identifier: Apache-2.0 */
/* vmx_entry.asm: into the guest and back. */
#ifndef UMBRA_VMM_VMX_ENTRY_H
#define UMBRA_VMM_VMX_ENTRY_H

#include "vmm/vcpu_priv.h"

enum vmx_enter_result {
	VMX_ENTER_EXITED, /* the reason is in the VMCS; a failed entry due to guest state is among
			     them */
	VMX_ENTER_FAIL_VALID,	/* the error is in VMCS_INSTRUCTION_ERROR */
	VMX_ENTER_FAIL_INVALID, /* no current VMCS */
};
uint32_t vmx_enter(struct vcpu *vcpu, struct vcpu_private *priv, bool launched);
void vmx_fill_rsb(void);
void vmx_exit_entry(void); /* what HOST_RIP points to; not for calling */

#endif
