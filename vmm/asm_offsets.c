/* SPDX-License-Identifier: Apache-2.0 */
/* Only compiled to assembly: its marked lines become vmm/asm_offsets.inc for NASM. */
#include "vmm/vcpu_priv.h"
#include "vmm/vmcs_fields.h"
#include "vmm/vmx_entry.h"
#include "vmm/vmx_insn.h"

#define DEFINE(name, value) __asm__ volatile("\n->" name " %c0" : : "i"(value))

void asm_offsets(void);
void asm_offsets(void)
{
	DEFINE("VCPU_RAX", offsetof(struct vcpu, regs.gpr[0]));
	DEFINE("VCPU_RCX", offsetof(struct vcpu, regs.gpr[1]));
	DEFINE("VCPU_RDX", offsetof(struct vcpu, regs.gpr[2]));
	DEFINE("VCPU_RBX", offsetof(struct vcpu, regs.gpr[3]));
	DEFINE("VCPU_RBP", offsetof(struct vcpu, regs.gpr[5]));
	DEFINE("VCPU_RSI", offsetof(struct vcpu, regs.gpr[6]));
	DEFINE("VCPU_RDI", offsetof(struct vcpu, regs.gpr[7]));
	DEFINE("VCPU_R8", offsetof(struct vcpu, regs.gpr[8]));
	DEFINE("VCPU_R9", offsetof(struct vcpu, regs.gpr[9]));
	DEFINE("VCPU_R10", offsetof(struct vcpu, regs.gpr[10]));
	DEFINE("VCPU_R11", offsetof(struct vcpu, regs.gpr[11]));
	DEFINE("VCPU_R12", offsetof(struct vcpu, regs.gpr[12]));
	DEFINE("VCPU_R13", offsetof(struct vcpu, regs.gpr[13]));
	DEFINE("VCPU_R14", offsetof(struct vcpu, regs.gpr[14]));
	DEFINE("VCPU_R15", offsetof(struct vcpu, regs.gpr[15]));
	DEFINE("PRIV_HOST_RSP", offsetof(struct vcpu_private, host_rsp));
	DEFINE("FIELD_HOST_RSP", VMCS_HOST_RSP);
	DEFINE("ENTER_EXITED", VMX_ENTER_EXITED);
	DEFINE("ENTER_FAIL_VALID", VMX_ENTER_FAIL_VALID);
	DEFINE("ENTER_FAIL_INVALID", VMX_ENTER_FAIL_INVALID);
}
