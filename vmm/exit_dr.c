/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug exceptions, and MOV to and from debug registers, which exits where DR0 to DR3 hold a key
 * (crypto/key_store.h). What the guest writes is kept in memory and read back from there. The
 * CPU's own DR7 is 400H, so no breakpoint ever hits; DR7.GD works. No lock.
 */
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/* SDM vol. 3, "Debug Registers": bits that a guest can change, and those that read as 1. */
#define DR6_WRITABLE 0xe00ful
#define DR6_ONES     0xffff0ff0ul
#define DR7_WRITABLE 0xffff23fful
#define DR7_ONES     0x400ul
#define DR7_ENABLES  MASK(7, 0)

/*
 * The guest's DR7.GD is cleared. Where the debug registers are Umbra's, the VMCS has 400H, and the
 * guest's value is in memory.
 */
static void clear_guard(struct vcpu *vcpu)
{
	uint64_t dr7;

	if (vmx_caps()->keeps_debug_registers) {
		vcpu->priv->dr7 &= ~DR7_GD;
		return;
	}
	dr7 = vmread(VMCS_GUEST_DR7);
	if ((dr7 & DR7_GD) != 0) {
		vmwrite(VMCS_GUEST_DR7, dr7 & ~DR7_GD);
	}
}

/* The exit did not change these registers (SDM, "Exit Qualification for Debug Exceptions"). */
void exit_note_debug_exception(struct vcpu *vcpu, uint64_t why)
{
	uint64_t debugctl = vmread(VMCS_GUEST_DEBUGCTL);

	/*
	 * B3:B0 may be set for disabled breakpoints too. They would show the guest that an address
	 * equals a word of the key.
	 */
	if (vmx_caps()->keeps_debug_registers) {
		why &= ~DBQ_B0_B3;
	}
	/* B3:B0 are not sticky; BD and BS are. RTM (bit 16) is inverted. */
	vcpu_state_change_dr6(vcpu, DBQ_B0_B3 | ((why & DBQ_RTM) != 0 ? DBQ_RTM : 0),
			      (why & (DBQ_B0_B3 | DBQ_BD | DBQ_BS)) |
				      ((why & DBQ_RTM) != 0 ? 0 : DBQ_RTM));
	clear_guard(vcpu);
	if ((debugctl & (DEBUGCTL_LBR | DEBUGCTL_BTF)) != 0) {
		vmwrite(VMCS_GUEST_DEBUGCTL, debugctl & ~(DEBUGCTL_LBR | DEBUGCTL_BTF));
	}
}

/* The log has it once for each vCPU, because the guest's program waits in vain. */
static void tell_breakpoints(struct vcpu *vcpu)
{
	if (!vcpu->priv->told_breakpoints) {
		vcpu->priv->told_breakpoints = true;
		log_warn("vm %s: vCPU %u sets a breakpoint in DR7, which will never hit: [host] "
			 "key-store = registers keeps a key in the debug registers",
			 vcpu->vm->name, vcpu->id);
	}
}

static uint64_t read_register(const struct vcpu_private *priv, unsigned number)
{
	switch (number) {
	case 6: return priv->dr6;
	case 7: return priv->dr7;
	default: return priv->dr[number & 3];
	}
}

/* Returns false if the value causes #GP(0). */
static bool write_register(struct vcpu *vcpu, unsigned number, uint64_t value)
{
	struct vcpu_private *priv = vcpu->priv;

	if (number >= 6 && value >> 32 != 0) {
		return false;
	}
	switch (number) {
	case 6: priv->dr6 = (value & DR6_WRITABLE) | DR6_ONES; break;
	case 7:
		priv->dr7 = (value & DR7_WRITABLE) | DR7_ONES;
		if ((value & DR7_ENABLES) != 0) {
			tell_breakpoints(vcpu);
		}
		break;
	default: priv->dr[number & 3] = value; break;
	}
	return true;
}

/*
 * The exit comes before the checks of CPL and of CR4.DE (SDM, "Instructions That Cause VM Exits
 * Conditionally"). With CR4.DE clear, DR4 and DR5 are DR6 and DR7.
 */
static bool is_fault(struct vcpu *vcpu, unsigned number)
{
	if ((number == 4 || number == 5) && (vmread(VMCS_GUEST_CR4) & CR4_DE) != 0) {
		inject_ud(vcpu);
		return true;
	}
	if (SEG_AR_DPL(vmread(VMCS_GUEST_SS_ACCESS_RIGHTS)) != 0) {
		inject_gp(vcpu);
		return true;
	}
	if ((vcpu->priv->dr7 & DR7_GD) != 0) {
		exit_note_debug_exception(vcpu, DBQ_BD);
		inject_exception(vcpu, VECTOR_DB, 0);
		return true;
	}
	return false;
}

enum exit_result exit_dr_access(struct vcpu *vcpu)
{
	const uint64_t why = vmread(VMCS_EXIT_QUALIFICATION);
	const unsigned named = DRQ_NUMBER(why), gpr = (unsigned)CRQ_GPR(why);
	const unsigned number = named == 4 || named == 5 ? named + 2 : named;
	const uint64_t mask = vcpu_in_64bit_mode() ? UINT64_MAX : UINT32_MAX;

	if (is_fault(vcpu, named)) {
		return EXIT_RESUME;
	}
	if (DRQ_FROM(why)) {
		vcpu_set_gpr(vcpu, gpr, read_register(vcpu->priv, number) & mask);
	} else if (!write_register(vcpu, number, vcpu_get_gpr(vcpu, gpr) & mask)) {
		inject_gp(vcpu);
		return EXIT_RESUME;
	}
	return EXIT_NEXT_INSN;
}
