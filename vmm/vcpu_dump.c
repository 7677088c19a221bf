/* SPDX-License-Identifier: Apache-2.0 */
/* Logs the registers of a vCPU that failed. Its VMCS is current. */
#include "vmm/vcpu_dump.h"

#include "vmm/console/log.h"
#include "vmm/exit_names.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx_insn.h"

#define READ(field) vmread(field)

static void dump_segment(const char *name, unsigned seg)
{
	log_error("  %s %04lx base %016lx limit %08lx rights %05lx", name,
		  READ(VMCS_GUEST_SELECTOR(seg)), READ(VMCS_GUEST_BASE(seg)),
		  READ(VMCS_GUEST_LIMIT(seg)), READ(VMCS_GUEST_ACCESS_RIGHTS(seg)));
}

/*
 * The value that the guest reads from the register: the bits that the guest does not own come from
 * the shadow.
 */
static uint64_t seen(uint32_t reg, uint32_t mask, uint32_t shadow)
{
	return (READ(reg) & ~READ(mask)) | (READ(shadow) & READ(mask));
}

void vcpu_dump(const struct vcpu *vcpu)
{
	static const char *const names[] = { "ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR" };
	const uint64_t *gpr = vcpu->regs.gpr;
	uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);

	log_error("vm %s: vCPU %u, last exit %#x (%s), qualification %#lx, length %lu",
		  vcpu->vm->name, vcpu->id, reason, exit_name(reason & 0xffff),
		  READ(VMCS_EXIT_QUALIFICATION), READ(VMCS_EXIT_INSTRUCTION_LENGTH));
	log_error("  RIP %016lx RSP %016lx RFLAGS %08lx", READ(VMCS_GUEST_RIP),
		  READ(VMCS_GUEST_RSP), READ(VMCS_GUEST_RFLAGS));
	for (unsigned i = 0; i < 16; i += 4) {
		log_error("  r%-2u %016lx %016lx %016lx %016lx", i, gpr[i], gpr[i + 1], gpr[i + 2],
			  gpr[i + 3]);
	}
	log_error("  CR0 %08lx (guest sees %08lx) CR3 %lx CR4 %lx (guest sees %lx) EFER %lx",
		  READ(VMCS_GUEST_CR0), seen(VMCS_GUEST_CR0, VMCS_CR0_MASK, VMCS_CR0_READ_SHADOW),
		  READ(VMCS_GUEST_CR3), READ(VMCS_GUEST_CR4),
		  seen(VMCS_GUEST_CR4, VMCS_CR4_MASK, VMCS_CR4_READ_SHADOW), READ(VMCS_GUEST_EFER));
	for (unsigned seg = 0; seg < ARRAY_COUNT(names); seg++) {
		dump_segment(names[seg], seg);
	}
	log_error("  GDT %lx+%lx IDT %lx+%lx", READ(VMCS_GUEST_GDTR_BASE),
		  READ(VMCS_GUEST_GDTR_LIMIT), READ(VMCS_GUEST_IDTR_BASE),
		  READ(VMCS_GUEST_IDTR_LIMIT));
	log_error("  vectoring %lx entry event %lx interruptibility %lx guest-physical %lx",
		  READ(VMCS_IDT_VECTORING_INFO), READ(VMCS_ENTRY_INTERRUPTION_INFO),
		  READ(VMCS_GUEST_INTERRUPTIBILITY), READ(VMCS_GUEST_PHYSICAL_ADDRESS));
}
