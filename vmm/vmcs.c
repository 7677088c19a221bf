/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMCS contents as tables of {field, value}. Short functions beside them handle what depends on
 * capabilities, the CPU or the VM. No lock: a VMCS belongs to the CPU that runs its vCPU.
 */
#include "vmm/vmcs.h"

#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/host/idt.h"
#include "vmm/host/page_alloc.h"
#include "vmm/msr.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_entry.h"
#include "vmm/vmx_insn.h"

struct field_value {
	uint32_t field;
	uint64_t value;
};

/* Bits of CR0 that a guest owns. NE must be 1 under VMX; CD and NW belong to the host. */
#define CR0_GUEST_OWNED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_WP | CR0_AM | CR0_PG)

/*
 * SDM, "PAUSE-Loop Exiting", in TSC ticks: PAUSEs closer together than the gap are one loop, and a
 * loop longer than the window exits. A critical section that is not preempted ends well before.
 */
#define PLE_GAP	   128
#define PLE_WINDOW 4096

static const struct field_value control_table[] = {
	{ VMCS_EXCEPTION_BITMAP, BIT(VECTOR_DB) | BIT(VECTOR_AC) | BIT(VECTOR_MC) },
	{ VMCS_PF_ERROR_CODE_MASK, 0 },
	{ VMCS_PF_ERROR_CODE_MATCH, 0 },
	{ VMCS_CR3_TARGET_COUNT, 0 },
	{ VMCS_EXIT_MSR_STORE_COUNT, 0 },
	{ VMCS_EXIT_MSR_LOAD_COUNT, 0 },
	{ VMCS_ENTRY_MSR_LOAD_COUNT, 0 },
	{ VMCS_ENTRY_INTERRUPTION_INFO, 0 },
	{ VMCS_CR0_MASK, ~CR0_GUEST_OWNED },
	{ VMCS_LINK_POINTER, UINT64_MAX },
};

static const struct field_value host_table[] = {
	{ VMCS_HOST_ES_SELECTOR, 0 },
	{ VMCS_HOST_CS_SELECTOR, HOST_CS_SELECTOR },
	{ VMCS_HOST_SS_SELECTOR, HOST_DS_SELECTOR },
	{ VMCS_HOST_DS_SELECTOR, 0 },
	{ VMCS_HOST_FS_SELECTOR, 0 },
	{ VMCS_HOST_GS_SELECTOR, 0 },
	{ VMCS_HOST_TR_SELECTOR, HOST_TSS_SELECTOR },
	{ VMCS_HOST_FS_BASE, 0 },
	{ VMCS_HOST_SYSENTER_CS, 0 },
	{ VMCS_HOST_SYSENTER_ESP, 0 },
	{ VMCS_HOST_SYSENTER_EIP, 0 },
};

/* SDM vol. 3, table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT". */
#define AR_DATA16 0x93
#define AR_CODE16 0x9b
#define AR_LDT	  0x82
#define AR_TSS	  0x8b

static const struct field_value reset_table[] = {
	{ VMCS_GUEST_ES_SELECTOR, 0 },
	{ VMCS_GUEST_SS_SELECTOR, 0 },
	{ VMCS_GUEST_DS_SELECTOR, 0 },
	{ VMCS_GUEST_FS_SELECTOR, 0 },
	{ VMCS_GUEST_GS_SELECTOR, 0 },
	{ VMCS_GUEST_LDTR_SELECTOR, 0 },
	{ VMCS_GUEST_TR_SELECTOR, 0 },
	{ VMCS_GUEST_ES_BASE, 0 },
	{ VMCS_GUEST_SS_BASE, 0 },
	{ VMCS_GUEST_DS_BASE, 0 },
	{ VMCS_GUEST_FS_BASE, 0 },
	{ VMCS_GUEST_GS_BASE, 0 },
	{ VMCS_GUEST_LDTR_BASE, 0 },
	{ VMCS_GUEST_TR_BASE, 0 },
	{ VMCS_GUEST_GDTR_BASE, 0 },
	{ VMCS_GUEST_IDTR_BASE, 0 },
	{ VMCS_GUEST_ES_LIMIT, 0xffff },
	{ VMCS_GUEST_CS_LIMIT, 0xffff },
	{ VMCS_GUEST_SS_LIMIT, 0xffff },
	{ VMCS_GUEST_DS_LIMIT, 0xffff },
	{ VMCS_GUEST_FS_LIMIT, 0xffff },
	{ VMCS_GUEST_GS_LIMIT, 0xffff },
	{ VMCS_GUEST_LDTR_LIMIT, 0xffff },
	{ VMCS_GUEST_TR_LIMIT, 0xffff },
	{ VMCS_GUEST_GDTR_LIMIT, 0xffff },
	{ VMCS_GUEST_IDTR_LIMIT, 0xffff },
	{ VMCS_GUEST_ES_ACCESS_RIGHTS, AR_DATA16 },
	{ VMCS_GUEST_CS_ACCESS_RIGHTS, AR_CODE16 },
	{ VMCS_GUEST_SS_ACCESS_RIGHTS, AR_DATA16 },
	{ VMCS_GUEST_DS_ACCESS_RIGHTS, AR_DATA16 },
	{ VMCS_GUEST_FS_ACCESS_RIGHTS, AR_DATA16 },
	{ VMCS_GUEST_GS_ACCESS_RIGHTS, AR_DATA16 },
	{ VMCS_GUEST_LDTR_ACCESS_RIGHTS, AR_LDT },
	{ VMCS_GUEST_TR_ACCESS_RIGHTS, AR_TSS },
	{ VMCS_GUEST_CR0, CR0_ET | CR0_NE },
	{ VMCS_CR0_READ_SHADOW, CR0_ET | CR0_NW | CR0_CD },
	{ VMCS_GUEST_CR3, 0 },
	{ VMCS_CR4_READ_SHADOW, 0 },
	{ VMCS_GUEST_EFER, 0 },
	{ VMCS_GUEST_DEBUGCTL, 0 },
	{ VMCS_GUEST_DR7, 0x400 },
	{ VMCS_GUEST_RSP, 0 },
	{ VMCS_GUEST_RIP, 0 },
	{ VMCS_GUEST_RFLAGS, RFLAGS_ONE },
	{ VMCS_GUEST_PENDING_DEBUG, 0 },
	{ VMCS_GUEST_INTERRUPTIBILITY, 0 },
	{ VMCS_GUEST_ACTIVITY_STATE, 0 },
	{ VMCS_GUEST_SYSENTER_CS, 0 },
	{ VMCS_GUEST_SYSENTER_ESP, 0 },
	{ VMCS_GUEST_SYSENTER_EIP, 0 },
};

/*
 * Changes for 64-bit code at selector 10H and flat data at 18H, as the Linux boot protocol demands.
 */
#define BOOT_CODE_SELECTOR 0x10
#define BOOT_DATA_SELECTOR 0x18
#define AR_CODE64	   0xa09b
#define AR_DATA32	   0xc093

static const struct field_value long_mode_table[] = {
	{ VMCS_GUEST_CS_SELECTOR, BOOT_CODE_SELECTOR },
	{ VMCS_GUEST_SS_SELECTOR, BOOT_DATA_SELECTOR },
	{ VMCS_GUEST_DS_SELECTOR, BOOT_DATA_SELECTOR },
	{ VMCS_GUEST_ES_SELECTOR, BOOT_DATA_SELECTOR },
	{ VMCS_GUEST_CS_BASE, 0 },
	{ VMCS_GUEST_CS_LIMIT, 0xffffffff },
	{ VMCS_GUEST_SS_LIMIT, 0xffffffff },
	{ VMCS_GUEST_DS_LIMIT, 0xffffffff },
	{ VMCS_GUEST_ES_LIMIT, 0xffffffff },
	{ VMCS_GUEST_CS_ACCESS_RIGHTS, AR_CODE64 },
	{ VMCS_GUEST_SS_ACCESS_RIGHTS, AR_DATA32 },
	{ VMCS_GUEST_DS_ACCESS_RIGHTS, AR_DATA32 },
	{ VMCS_GUEST_ES_ACCESS_RIGHTS, AR_DATA32 },
	{ VMCS_GUEST_CR0, CR0_PE | CR0_ET | CR0_NE | CR0_PG },
	{ VMCS_CR0_READ_SHADOW, CR0_PE | CR0_ET | CR0_NE | CR0_PG },
	{ VMCS_CR4_READ_SHADOW, 0 },
	{ VMCS_GUEST_EFER, EFER_LME | EFER_LMA },
};

/* One bitmap for vCPUs whose APIC is off or in xAPIC mode, one for x2APIC mode. */
static void *msr_bitmap[2];
/* The list of MSRs that exits load: one entry. */
static struct msr_slot *host_msrs;

static void write_table(const struct field_value *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		vmwrite(table[i].field, table[i].value);
	}
}

int vmcs_init(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(msr_bitmap); i++) {
		msr_bitmap[i] = page_alloc(1);
		if (msr_bitmap[i] == NULL) {
			return ERR_NOMEM;
		}
		msr_fill_bitmap(msr_bitmap[i], i == 1);
	}
	if (vmx_caps()->switch_spec_ctrl) {
		host_msrs = page_alloc(1);
		if (host_msrs == NULL) {
			return ERR_NOMEM;
		}
		*host_msrs = (struct msr_slot){ .msr = MSR_IA32_SPEC_CTRL,
						.value = vmx_caps()->host_spec_ctrl };
	}
	return 0;
}

void vmcs_write_host(void)
{
	write_table(host_table, ARRAY_COUNT(host_table));
	vmwrite(VMCS_HOST_CR0, cpu_read_cr0());
	vmwrite(VMCS_HOST_CR3, cpu_read_cr3());
	vmwrite(VMCS_HOST_CR4, cpu_read_cr4());
	vmwrite(VMCS_HOST_EFER, cpu_rdmsr(MSR_IA32_EFER));
	vmwrite(VMCS_HOST_GS_BASE, (uint64_t)percpu_self());
	vmwrite(VMCS_HOST_TR_BASE, idt_tss_base(percpu_self()));
	vmwrite(VMCS_HOST_GDTR_BASE, cpu_sgdt().base);
	vmwrite(VMCS_HOST_IDTR_BASE, cpu_sidt().base);
	vmwrite(VMCS_HOST_RIP, (uint64_t)(uintptr_t)vmx_exit_entry);
}

/* The secondary controls for each mode of the virtual APIC (SDM, "APIC Virtualization"). */
static uint32_t apic_controls(enum vcpu_apic_mode mode)
{
	uint32_t controls = vmx_caps()->cpu2;

	if (mode != VCPU_APIC_X) {
		controls &= ~(uint32_t)CPU2_VIRTUALIZE_APIC_ACCESSES;
	}
	if (mode != VCPU_APIC_X2) {
		controls &= ~(uint32_t)CPU2_VIRTUALIZE_X2APIC_MODE;
	}
	if (mode == VCPU_APIC_OFF) {
		controls &= ~(uint32_t)(CPU2_APIC_REGISTER_VIRTUALIZATION |
					CPU2_VIRTUAL_INTERRUPT_DELIVERY);
	}
	return controls;
}

void vmcs_write_apic_controls(struct vcpu *vcpu)
{
	const struct vcpu_private *priv = vcpu->priv;

	vmwrite(VMCS_CPU2_CONTROLS, apic_controls(priv->apic_mode));
	vmwrite(VMCS_MSR_BITMAP, page_hpa(msr_bitmap[priv->apic_mode == VCPU_APIC_X2]).v);
	if (vmx_caps()->virtual_delivery) {
		for (uint32_t i = 0; i < ARRAY_COUNT(priv->eoi_exit_bitmap); i++) {
			vmwrite(VMCS_EOI_EXIT_BITMAP0 + 2 * i, priv->eoi_exit_bitmap[i]);
		}
	}
}

/* Fields that exist only with their control. */
static void write_optional_controls(const struct vcpu *vcpu)
{
	const struct vmx_caps *caps = vmx_caps();

	if (caps->vpid) {
		vmwrite(VMCS_VPID, vcpu->vpid);
	}
	if (caps->tpr_shadow) {
		vmwrite(VMCS_VIRTUAL_APIC_ADDRESS, page_hpa(vcpu->apic_page).v);
		vmwrite(VMCS_TPR_THRESHOLD, 0);
	}
	if (caps->apic_accesses) {
		vmwrite(VMCS_APIC_ACCESS_ADDRESS, page_hpa(vcpu->vm->apic_access_page).v);
	}
	if (caps->xsaves) {
		vmwrite(VMCS_XSS_EXITING_BITMAP, 0);
	}
	if ((caps->cpu2 & CPU2_PAUSE_LOOP_EXITING) != 0) {
		vmwrite(VMCS_PLE_GAP, PLE_GAP);
		vmwrite(VMCS_PLE_WINDOW, PLE_WINDOW);
	}
	if ((caps->cpu2 & CPU2_NOTIFY_WINDOW) != 0) {
		vmwrite(VMCS_NOTIFY_WINDOW, 0); /* the CPU adds its own minimum */
	}
	if ((caps->cpu2 & CPU2_ENCLS_EXITING) != 0) {
		vmwrite(VMCS_ENCLS_EXITING_BITMAP, UINT64_MAX);
	}
	if ((caps->cpu2 & CPU2_ENCLV_EXITING) != 0) {
		vmwrite(VMCS_ENCLV_EXITING_BITMAP, UINT64_MAX);
	}
}

/*
 * Switches IA32_SPEC_CTRL through the CPU's own lists, so that no instruction of Umbra runs with
 * the guest's value (SDM, "Loading MSRs": in the order exit store, exit load; entry load).
 */
static void switch_spec_ctrl(struct vcpu *vcpu)
{
	struct msr_slot *guest = &vcpu->priv->spec_ctrl;
	uint64_t at = page_hpa(vcpu->priv).v + offsetof(struct vcpu_private, spec_ctrl);

	guest->msr = MSR_IA32_SPEC_CTRL;
	vmwrite(VMCS_EXIT_MSR_STORE_ADDRESS, at);
	vmwrite(VMCS_ENTRY_MSR_LOAD_ADDRESS, at);
	vmwrite(VMCS_EXIT_MSR_LOAD_ADDRESS, page_hpa(host_msrs).v);
	vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 1);
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 1);
	vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 1);
}

void vmcs_setup(struct vcpu *vcpu)
{
	const struct vmx_caps *caps = vmx_caps();

	*(uint32_t *)vcpu->vmcs = caps->revision;
	vmclear(page_hpa(vcpu->vmcs));
	vmptrld(page_hpa(vcpu->vmcs));
	vcpu->launched = false;
	vcpu->priv->cpu_controls = caps->cpu;
	vcpu->priv->tpr_threshold = 0;
	vcpu->priv->host_rsp = 0;
	vmwrite(VMCS_PIN_CONTROLS, caps->pin);
	vmwrite(VMCS_CPU_CONTROLS, caps->cpu);
	vmwrite(VMCS_EXIT_CONTROLS, caps->exit);
	vmwrite(VMCS_ENTRY_CONTROLS, caps->entry);
	write_table(control_table, ARRAY_COUNT(control_table));
	vmwrite(VMCS_CR4_MASK, ~caps->guest_cr4);
	vmwrite(VMCS_EPT_POINTER, vcpu->vm->gmem.root.eptp);
	vmwrite(VMCS_TSC_OFFSET, vcpu->priv->tsc_offset);
	write_optional_controls(vcpu);
	if (caps->switch_spec_ctrl) {
		switch_spec_ctrl(vcpu);
	}
	vmcs_write_apic_controls(vcpu);
	vmcs_reset_guest(vcpu, 0);
}

void vmcs_reset_guest(struct vcpu *vcpu, uint8_t sipi_vector)
{
	memset(&vcpu->regs, 0, sizeof(vcpu->regs));
	vcpu->regs.gpr[GPR_RDX] = cpu_cpuid(1, 0).eax;
	write_table(reset_table, ARRAY_COUNT(reset_table));
	vmwrite(VMCS_GUEST_CS_SELECTOR, (uint64_t)sipi_vector << 8);
	vmwrite(VMCS_GUEST_CS_BASE, (uint64_t)sipi_vector << PAGE_SHIFT);
	vmwrite(VMCS_GUEST_CR4, vmx_caps()->guest_cr4_on);
	vmwrite(VMCS_ENTRY_CONTROLS, vmx_caps()->entry);
	if (vmx_caps()->virtual_delivery) {
		vmwrite(VMCS_GUEST_INTERRUPT_STATUS, 0);
	}
}

void vmcs_set_long_mode(const struct vcpu_long_mode *state)
{
	write_table(long_mode_table, ARRAY_COUNT(long_mode_table));
	vmwrite(VMCS_GUEST_CR4, vmx_caps()->guest_cr4_on | CR4_PAE);
	vmwrite(VMCS_CR4_READ_SHADOW, CR4_PAE);
	vmwrite(VMCS_ENTRY_CONTROLS, vmx_caps()->entry | ENTRY_IA32E_MODE_GUEST);
	vmwrite(VMCS_GUEST_CR3, state->cr3);
	vmwrite(VMCS_GUEST_RIP, state->rip);
	vmwrite(VMCS_GUEST_RSP, state->rsp);
	vmwrite(VMCS_GUEST_GDTR_BASE, state->gdt.v);
	vmwrite(VMCS_GUEST_GDTR_LIMIT, state->gdt_bytes == 0 ? 0 : state->gdt_bytes - 1u);
}
