/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EPT violations and APIC accesses. The address is memory that becomes usable, a device's register,
 * or neither. ept/ decides which (gmem_fault) and takes its own lock; none is held here.
 */
#include "vmm/apic_page.h"
#include "vmm/attention.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/emul.h"
#include "vmm/exits.h"
#include "vmm/hole.h"
#include "vmm/inject.h"
#include "vmm/rip.h"
#include "vmm/vcpu_dump.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/*
 * An access to an instruction's operand, not a page walk for it and not the delivery of an event.
 */
#define DATA_ACCESS (EPTV_GLA_VALID | EPTV_FINAL)

/*
 * An access to an address without memory that emul.c cannot do: an instruction that it does not
 * know, a fetch, a page walk, the delivery of an event. If no device is there, the CPU completes
 * the access with ones (hole.h). A device's registers are only for loads and stores: there the
 * guest gets #GP(0), or, during the delivery of an event, what the rules of #DF say. Logged once
 * for each VM.
 */
static enum exit_result odd_access(struct vcpu *vcpu, gpa_t gpa)
{
	if (hole_open(vcpu, gpa)) {
		return EXIT_RESUME;
	}
	if (!atomic_xchg(&vcpu->vm->odd_access, true)) {
		emul_log(vcpu, gpa);
	}
	inject_exception(vcpu, VECTOR_GP, 0);
	return EXIT_RESUME;
}

/* Decodes the instruction at RIP and executes it. */
static enum exit_result emulate(struct vcpu *vcpu, const struct emul_access *access)
{
	struct gwalk_fault fault;
	uint8_t length = 0;

	if ((vcpu->event.info & EVENT_VALID) != 0) {
		return odd_access(vcpu, access->gpa);
	}
	switch (emul_mmio(vcpu, access, &length, &fault)) {
	case EMUL_DONE: rip_skip(length); return EXIT_RESUME;
	case EMUL_AGAIN: rip_next_round(); return EXIT_RESUME;
	case EMUL_RETRY:
		/*
		 * The exit was not for the operand: it was for a stack or a descriptor table at an
		 * address without memory. Or another vCPU has changed the instruction, and the CPU
		 * must read the guest's memory again, with its page tables.
		 */
		if (!hole_open(vcpu, access->gpa)) {
			vcpu_flush_translations(vcpu);
		}
		return EXIT_RESUME;
	case EMUL_FAULTED:
		if (fault.vector == VECTOR_PF) {
			inject_page_fault(vcpu, fault.error_code, fault.linear);
		} else {
			inject_exception(vcpu, fault.vector, fault.error_code);
		}
		return EXIT_RESUME;
	case EMUL_UNKNOWN:
	default: return odd_access(vcpu, access->gpa);
	}
}

/*
 * The vCPU's progress since its last fault: RIP, and the registers in which a repeated string
 * instruction counts, because such an instruction stays at one RIP for long. None of them changes
 * while an instruction, or an event's delivery, is tried again.
 */
static uint64_t place_of(const struct vcpu *vcpu)
{
	const uint64_t *gpr = vcpu->regs.gpr;

	return vmread(VMCS_GUEST_RIP) + 0x9e3779b97f4a7c15ul * gpr[GPR_RCX] +
	       0xc2b2ae3d27d4eb4ful * gpr[GPR_RSI] + 0x165667b19e3779f9ul * gpr[GPR_RDI];
}

/*
 * A store, or a page walk that sets accessed or dirty bits, in memory that the VM may only read.
 * The guest gets #GP(0): that ends a process, but the access is not tried again for ever. Logged
 * once for each VM.
 */
static enum exit_result refuse_write(struct vcpu *vcpu, gpa_t gpa)
{
	if (!atomic_xchg(&vcpu->vm->wrote_read_only, true)) {
		log_warn("vm %s: it wrote to guest-physical %#lx, which it may only read, and got "
			 "#GP; further ones are not logged",
			 vcpu->vm->name, gpa.v);
	}
	inject_exception(vcpu, VECTOR_GP, 0);
	return EXIT_RESUME;
}

/* For an address at which no RAM is known yet. */
static enum exit_result memory_fault(struct vcpu *vcpu, uint64_t why, gpa_t address)
{
	unsigned access = (unsigned)why & (EPTV_READ | EPTV_WRITE | EPTV_FETCH);
	struct gmem_faulter by = { .vcpu = vcpu->id, .place = place_of(vcpu) };

	_Static_assert(EPTV_READ == GMEM_ACCESS_READ && EPTV_WRITE == GMEM_ACCESS_WRITE &&
			       EPTV_FETCH == GMEM_ACCESS_EXEC,
		       "the qualification's bits are gmem's");
	switch (gmem_fault(&vcpu->vm->gmem, address, access, &by)) {
	case GMEM_FAULT_FIXED: return EXIT_RESUME;
	case GMEM_FAULT_RIGHTS: return refuse_write(vcpu, address);
	case GMEM_FAULT_TAMPERED: return EXIT_RESUME;
	case GMEM_FAULT_NO_MEMORY: vm_end(vcpu->vm, VM_END_NO_MEMORY, NULL); return EXIT_RESUME;
	case GMEM_FAULT_MMIO:
	default: break;
	}
	if ((access & EPTV_FETCH) != 0 || (why & DATA_ACCESS) != DATA_ACCESS) {
		return odd_access(vcpu, address);
	}
	if ((address.v & PAGE_MASK) == VM_APIC_BASE &&
	    apic_page_map(vcpu->vm, vcpu->priv->apic_mode)) {
		return EXIT_RESUME;
	}
	return emulate(vcpu, &(struct emul_access){ address, access, true });
}

enum exit_result exit_ept_violation(struct vcpu *vcpu)
{
	uint64_t why = vmread(VMCS_EXIT_QUALIFICATION);
	gpa_t address = gpa(vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
	const struct iobus_range *device = vcpu->priv->device_range;

	if ((why & EPTV_NMI_UNBLOCKING) != 0 && (vcpu->event.info & EVENT_VALID) == 0) {
		inject_reblock_nmi(vcpu);
	}
	/*
	 * The fast path: the same device as the last time. Its range is fixed, so RAM never lies
	 * there. Every other address goes to gmem_fault, because a guest may have placed a share
	 * there since.
	 */
	if (device != NULL && iobus_range_holds(device, address.v, 1) &&
	    (why & (DATA_ACCESS | EPTV_FETCH)) == DATA_ACCESS) {
		return emulate(vcpu, &(struct emul_access){ address, why & (EPTV_READ | EPTV_WRITE),
							    true });
	}
	return memory_fault(vcpu, why, address);
}

/* Umbra never misconfigures its tables on purpose: this is a bug, but it ends only this VM. */
enum exit_result exit_ept_misconfig(struct vcpu *vcpu)
{
	char text[VM_DETAIL_MAX];

	vcpu_dump(vcpu);
	str_printf(text, sizeof(text), "malformed EPT entry at guest-physical %#lx",
		   vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
	vm_end(vcpu->vm, VM_END_UNHANDLED, text);
	return EXIT_RESUME;
}

enum exit_result exit_apic_access(struct vcpu *vcpu)
{
	uint64_t why = vmread(VMCS_EXIT_QUALIFICATION);
	struct emul_access access = { .gpa = gpa(VM_APIC_BASE + APICQ_OFFSET(why)) };

	switch (APICQ_TYPE(why)) {
	case APICQ_LINEAR_WRITE:
		/* The value of an EOI does not matter, so the instruction need not be decoded. */
		if (APICQ_OFFSET(why) == APIC_OFFSET_EOI && (vcpu->event.info & EVENT_VALID) == 0) {
			vcpu->vm->hooks->eoi_highest(vcpu);
			(void)attention_set(vcpu, ATTENTION_EVENTS);
			return EXIT_NEXT_INSN;
		}
		access.kind = GMEM_ACCESS_WRITE;
		return emulate(vcpu, &access);
	case APICQ_LINEAR_READ: access.kind = GMEM_ACCESS_READ; return emulate(vcpu, &access);
	default: return odd_access(vcpu, access.gpa); /* a fetch, a page walk or an event */
	}
}
