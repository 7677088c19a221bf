/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control registers and XCR0. The guest owns most bits of CR0 and CR4 (vmcs.c, vmx.c), so only
 * changes of CR0.NE, CD or NW, CR4.MCE, or a reserved bit cause an exit. CR3, CLTS and LMSW do not
 * exit.
 */
#include "vmm/attention.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define CR0_DEFINED                                                                                \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
	 CR0_PG)

/*
 * SDM vol. 3, "PDPTE Registers": the reserved bits of a present PDPTE, and bits beyond MAXPHYADDR.
 */
static uint64_t pdpte_reserved(void)
{
	return MASK(2, 1) | MASK(8, 5) | MASK(63, ept_caps()->phys_bits);
}

/* SDM vol. 2, "MOV—Move to/from Control Registers": false for values that cause #GP(0). */
static bool cr0_allowed(uint64_t value, uint64_t old)
{
	uint64_t efer = vmread(VMCS_GUEST_EFER), cr4 = vmread(VMCS_GUEST_CR4);

	if ((value & ~CR0_DEFINED) >> 32 != 0 || ((value & CR0_PG) != 0 && (value & CR0_PE) == 0) ||
	    ((value & CR0_NW) != 0 && (value & CR0_CD) == 0)) {
		return false;
	}
	if ((value & CR0_PG) != 0 && (old & CR0_PG) == 0 && (efer & EFER_LME) != 0) {
		return (cr4 & CR4_PAE) != 0 &&
		       (vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEG_AR_L) == 0;
	}
	if ((value & CR0_PG) == 0 && (old & CR0_PG) != 0) {
		return (cr4 & CR4_PCIDE) == 0 && !vcpu_in_64bit_mode();
	}
	return true;
}

/* Loads the PDPTEs from memory if PAE paging is on after the MOV. */
static bool load_pdptes(struct vcpu *vcpu)
{
	uint64_t pdptes[4];

	if (gmem_read(&vcpu->vm->gmem, gpa(vmread(VMCS_GUEST_CR3) & MASK(31, 5)), pdptes,
		      sizeof(pdptes)) != 0) {
		return false;
	}
	for (size_t i = 0; i < ARRAY_COUNT(pdptes); i++) {
		if ((pdptes[i] & PTE_PRESENT) != 0 && (pdptes[i] & pdpte_reserved()) != 0) {
			return false;
		}
	}
	for (uint32_t i = 0; i < ARRAY_COUNT(pdptes); i++) {
		vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, pdptes[i]);
	}
	return true;
}

/*
 * Paging is turned on or off: IA32_EFER.LMA and the entry control follow (SDM, "Loading
 * IA32_EFER").
 */
static void follow_paging(uint64_t value)
{
	uint64_t efer = vmread(VMCS_GUEST_EFER);
	uint64_t entry = vmread(VMCS_ENTRY_CONTROLS);

	if ((value & CR0_PG) != 0 && (efer & EFER_LME) != 0) {
		vmwrite(VMCS_GUEST_EFER, efer | EFER_LMA);
		vmwrite(VMCS_ENTRY_CONTROLS, entry | ENTRY_IA32E_MODE_GUEST);
	} else {
		vmwrite(VMCS_GUEST_EFER, efer & ~EFER_LMA);
		vmwrite(VMCS_ENTRY_CONTROLS, entry & ~ENTRY_IA32E_MODE_GUEST);
	}
}

static enum exit_result write_cr0(struct vcpu *vcpu, uint64_t value)
{
	uint64_t old = vmread(VMCS_GUEST_CR0);
	bool long_mode = (vmread(VMCS_GUEST_EFER) & EFER_LME) != 0;

	if (!cr0_allowed(value, old)) {
		inject_gp(vcpu);
		return EXIT_RESUME;
	}
	value = (value & CR0_DEFINED) | CR0_ET;
	if ((value & CR0_PG) != 0 && !long_mode && (vmread(VMCS_GUEST_CR4) & CR4_PAE) != 0 &&
	    !load_pdptes(vcpu)) {
		inject_gp(vcpu);
		return EXIT_RESUME;
	}
	if (((value ^ old) & CR0_PG) != 0) {
		follow_paging(value);
		vcpu_flush_translations(vcpu);
	}
	/* Caches stay on: the host decides about memory types. */
	vmwrite(VMCS_CR0_READ_SHADOW, value);
	vmwrite(VMCS_GUEST_CR0, (value & ~(CR0_CD | CR0_NW)) | CR0_NE);
	return EXIT_NEXT_INSN;
}

/* SDM vol. 2, as above, for CR4. The guest owns the bits of guest_cr4; it only seems to own MCE. */
static bool cr4_allowed(uint64_t value, uint64_t old, bool long_mode)
{
	if ((value & ~(vmx_caps()->guest_cr4 | CR4_MCE)) != 0 ||
	    (long_mode && (value & CR4_PAE) == 0)) {
		return false;
	}
	return (value & ~old & CR4_PCIDE) == 0 ||
	       (long_mode && (vmread(VMCS_GUEST_CR3) & MASK(11, 0)) == 0);
}

static enum exit_result write_cr4(struct vcpu *vcpu, uint64_t value)
{
	uint64_t old = vmread(VMCS_GUEST_CR4), changed = value ^ old;
	bool long_mode = (vmread(VMCS_GUEST_EFER) & EFER_LMA) != 0;
	bool pae_paging = (vmread(VMCS_GUEST_CR0) & CR0_PG) != 0 && !long_mode &&
			  (value & CR4_PAE) != 0;

	if (!cr4_allowed(value, old, long_mode) ||
	    (pae_paging && (changed & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP)) != 0 &&
	     !load_pdptes(vcpu))) {
		inject_gp(vcpu);
		return EXIT_RESUME;
	}
	if ((changed & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP)) != 0) {
		vcpu_flush_translations(vcpu);
	}
	vmwrite(VMCS_CR4_READ_SHADOW, value);
	vmwrite(VMCS_GUEST_CR4, value | vmx_caps()->guest_cr4_on);
	return EXIT_NEXT_INSN;
}

static enum exit_result access_cr8(struct vcpu *vcpu, uint64_t why)
{
	unsigned number = (unsigned)CRQ_GPR(why);
	uint64_t value;

	(void)attention_set(vcpu, ATTENTION_EVENTS);
	if (CRQ_TYPE(why) == CRQ_MOV_FROM) {
		vcpu_set_gpr(vcpu, number, vcpu->vm->hooks->cr8_read(vcpu));
		return EXIT_NEXT_INSN;
	}
	value = vcpu_get_gpr(vcpu, number);
	if (value > 15) {
		inject_gp(vcpu);
		return EXIT_RESUME;
	}
	vcpu->vm->hooks->cr8_write(vcpu, (uint8_t)value);
	return EXIT_NEXT_INSN;
}

enum exit_result exit_cr_access(struct vcpu *vcpu)
{
	uint64_t why = vmread(VMCS_EXIT_QUALIFICATION);
	uint64_t value;

	if (CRQ_NUMBER(why) == 8) {
		return access_cr8(vcpu, why);
	}
	if (CRQ_TYPE(why) != CRQ_MOV_TO) {
		return EXIT_KILL_VM;
	}
	value = vcpu_get_gpr(vcpu, (unsigned)CRQ_GPR(why));
	if (!vcpu_in_64bit_mode()) {
		value &= UINT32_MAX;
	}
	switch (CRQ_NUMBER(why)) {
	case 0: return write_cr0(vcpu, value);
	case 4: return write_cr4(vcpu, value);
	default: return EXIT_KILL_VM;
	}
}

/* SDM vol. 2, "XSETBV—Set Extended Control Register": false for values that cause #GP(0). */
static bool xcr0_allowed(uint64_t value)
{
	const uint64_t avx512 = XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM;

	if ((value & ~vmx_caps()->guest_xcr0) != 0 || (value & XCR0_X87) == 0 ||
	    ((value & XCR0_AVX) != 0 && (value & XCR0_SSE) == 0)) {
		return false;
	}
	return (value & avx512) == 0 || ((value & avx512) == avx512 && (value & XCR0_AVX) != 0);
}

enum exit_result exit_xsetbv(struct vcpu *vcpu)
{
	const uint64_t *gpr = vcpu->regs.gpr;
	uint64_t value = (uint32_t)gpr[GPR_RAX] | gpr[GPR_RDX] << 32;

	if ((uint32_t)gpr[GPR_RCX] != 0 || !xcr0_allowed(value)) {
		inject_gp(vcpu);
		return EXIT_RESUME;
	}
	vcpu_state_set_xcr0(vcpu, value);
	return EXIT_NEXT_INSN;
}
