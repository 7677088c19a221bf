/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/vmcs.c: which bits stay the host's, the initial state of a vCPU (SDM vol. 3, "IA-32 and Intel
 * 64 Processor States Following Power-up, Reset, or INIT"), and that no field is written that a CPU
 * with these controls does not have, because that VMWRITE would fail.
 */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/host/idt.h"
#include "vmm/host/page_alloc.h"
#include "vmm/msr.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmcs.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_entry.h"
#include "vmm/vmx_insn.h"

#define UNTOUCHED 0x5a5a5a5a5a5a5a5aul
#define FIELDS	  0x8000

static struct vm vm;
static struct vcpu *vcpu;
static struct vcpu_private *priv;
static void *bitmap[2];

void msr_fill_bitmap(void *page, bool x2apic)
{
	bitmap[x2apic] = page;
}

uint64_t idt_tss_base(const struct percpu *cpu)
{
	assert_ptr_equal(cpu, percpu_self());
	return 0x7550;
}

struct cpu_table_register fake_sgdt(void)
{
	return (struct cpu_table_register){ 39, 0x6d70 };
}

struct cpu_table_register fake_sidt(void)
{
	return (struct cpu_table_register){ 4095, 0x1d70 };
}

void vmx_exit_entry(void)
{
}

/* A CPU with every optional feature, or with none. */
static void use_cpu(bool all)
{
	const uint32_t optional = CPU2_VIRTUALIZE_APIC_ACCESSES | CPU2_VIRTUALIZE_X2APIC_MODE |
				  CPU2_ENABLE_VPID | CPU2_APIC_REGISTER_VIRTUALIZATION |
				  CPU2_VIRTUAL_INTERRUPT_DELIVERY | CPU2_PAUSE_LOOP_EXITING |
				  CPU2_ENCLS_EXITING | CPU2_ENABLE_XSAVES | CPU2_ENCLV_EXITING |
				  CPU2_NOTIFY_WINDOW;

	fake_caps = (struct vmx_caps){ .revision = 0x2b,
				       .pin = 0x11,
				       .cpu = 0x22,
				       .cpu2 = CPU2_ENABLE_EPT | (all ? optional : 0),
				       .exit = 0x33,
				       .entry = 0x44,
				       .guest_cr4 = CR4_PAE | CR4_SMEP,
				       .guest_cr4_on = CR4_MCE | CR4_VMXE,
				       .host_spec_ctrl = 1,
				       .tpr_shadow = all,
				       .apic_accesses = all,
				       .virtual_delivery = all,
				       .vpid = all,
				       .xsaves = all,
				       .switch_spec_ctrl = all };
}

static int begin(bool all)
{
	use_cpu(all);
	fake_cpuid_set(1, 0, 0x706e5, 0, 0, 0);
	for (uint32_t field = 0; field < FIELDS; field++) {
		vmwrite(field, UNTOUCHED);
	}
	vcpu = page_alloc(1);
	priv = page_alloc((sizeof(*priv) + PAGE_SIZE - 1) / PAGE_SIZE);
	vcpu->vm = &vm;
	vcpu->priv = priv;
	vcpu->vpid = 77;
	vcpu->vmcs = page_alloc(1);
	vcpu->apic_page = page_alloc(1);
	vm.apic_access_page = page_alloc(1);
	vm.gmem.root.eptp = 0xe97e;
	priv->tsc_offset = 0x7ff5e7;
	priv->apic_mode = VCPU_APIC_X;
	assert_int_equal(vmcs_init(), 0);
	vmcs_setup(vcpu);
	return 0;
}

static int start(void **state)
{
	fake_setup(state);
	return begin(true);
}

/* Fields that exist only with their control. */
static const struct {
	uint32_t field;
	uint64_t value;
} optional_fields[] = {
	{ VMCS_VPID, 77 },
	{ VMCS_TPR_THRESHOLD, 0 },
	{ VMCS_XSS_EXITING_BITMAP, 0 },
	{ VMCS_PLE_GAP, 128 },
	{ VMCS_PLE_WINDOW, 4096 },
	{ VMCS_NOTIFY_WINDOW, 0 },
	{ VMCS_ENCLS_EXITING_BITMAP, UINT64_MAX },
	{ VMCS_ENCLV_EXITING_BITMAP, UINT64_MAX },
	{ VMCS_GUEST_INTERRUPT_STATUS, 0 },
	{ VMCS_EOI_EXIT_BITMAP0, 0 },
	{ VMCS_EOI_EXIT_BITMAP0 + 6, 0 },
};

TEST(test_optional_fields, start)
{
	for (size_t i = 0; i < ARRAY_COUNT(optional_fields); i++) {
		assert_int_equal(vmread(optional_fields[i].field), optional_fields[i].value);
	}
	assert_int_equal(vmread(VMCS_VIRTUAL_APIC_ADDRESS), page_hpa(vcpu->apic_page).v);
	assert_int_equal(vmread(VMCS_APIC_ACCESS_ADDRESS), page_hpa(vm.apic_access_page).v);
	fake_reset();
	begin(false);
	for (size_t i = 0; i < ARRAY_COUNT(optional_fields); i++) {
		assert_int_equal(vmread(optional_fields[i].field), UNTOUCHED);
	}
	assert_int_equal(vmread(VMCS_VIRTUAL_APIC_ADDRESS), UNTOUCHED);
	assert_int_equal(vmread(VMCS_APIC_ACCESS_ADDRESS), UNTOUCHED);
	assert_int_equal(vmread(VMCS_EXIT_MSR_LOAD_ADDRESS), UNTOUCHED);
	assert_int_equal(vmread(VMCS_EXIT_MSR_LOAD_COUNT), 0);
}

/* What causes exits, and what a guest may change without an exit. */
TEST(test_controls, start)
{
	assert_int_equal(*(uint32_t *)vcpu->vmcs, 0x2b);
	assert_int_equal(vmread(VMCS_PIN_CONTROLS), 0x11);
	assert_int_equal(vmread(VMCS_CPU_CONTROLS), 0x22);
	assert_int_equal(vmread(VMCS_EXIT_CONTROLS), 0x33);
	assert_int_equal(vmread(VMCS_ENTRY_CONTROLS), 0x44);
	assert_int_equal(vmread(VMCS_EXCEPTION_BITMAP), BIT(1) | BIT(17) | BIT(18));
	assert_int_equal(vmread(VMCS_CR0_MASK) & (CR0_NE | CR0_CD | CR0_NW | BIT(28)),
			 CR0_NE | CR0_CD | CR0_NW | BIT(28));
	assert_int_equal(~vmread(VMCS_CR0_MASK),
			 CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_WP | CR0_AM | CR0_PG);
	assert_int_equal(~vmread(VMCS_CR4_MASK), CR4_PAE | CR4_SMEP);
	assert_int_equal(vmread(VMCS_EPT_POINTER), 0xe97e);
	assert_int_equal(vmread(VMCS_TSC_OFFSET), 0x7ff5e7);
	assert_int_equal(vmread(VMCS_LINK_POINTER), UINT64_MAX);
	assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), 0);
}

/* IA32_SPEC_CTRL: the exit stores the guest's and loads the host's, the entry loads the guest's. */
TEST(test_spec_ctrl, start)
{
	uint64_t guest = page_hpa(priv).v + offsetof(struct vcpu_private, spec_ctrl);
	const struct msr_slot *host;

	assert_int_equal(vmread(VMCS_EXIT_MSR_STORE_ADDRESS), guest);
	assert_int_equal(vmread(VMCS_ENTRY_MSR_LOAD_ADDRESS), guest);
	assert_int_equal(guest % 16, 0);
	assert_int_equal(vmread(VMCS_EXIT_MSR_STORE_COUNT), 1);
	assert_int_equal(vmread(VMCS_ENTRY_MSR_LOAD_COUNT), 1);
	assert_int_equal(vmread(VMCS_EXIT_MSR_LOAD_COUNT), 1);
	assert_int_equal(priv->spec_ctrl.msr, MSR_IA32_SPEC_CTRL);
	host = (const void *)(uintptr_t)vmread(VMCS_EXIT_MSR_LOAD_ADDRESS);
	assert_int_equal(host->msr, MSR_IA32_SPEC_CTRL);
	assert_int_equal(host->value, 1);
}

TEST(test_apic_modes, start)
{
	static const struct {
		enum vcpu_apic_mode mode;
		uint32_t off;
	} rows[] = {
		{ VCPU_APIC_X, CPU2_VIRTUALIZE_X2APIC_MODE },
		{ VCPU_APIC_X2, CPU2_VIRTUALIZE_APIC_ACCESSES },
		{ VCPU_APIC_OFF, CPU2_VIRTUALIZE_X2APIC_MODE | CPU2_VIRTUALIZE_APIC_ACCESSES |
					 CPU2_APIC_REGISTER_VIRTUALIZATION |
					 CPU2_VIRTUAL_INTERRUPT_DELIVERY },
	};

	priv->eoi_exit_bitmap[3] = 0x1234;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		priv->apic_mode = rows[i].mode;
		vmcs_write_apic_controls(vcpu);
		assert_int_equal(vmread(VMCS_CPU2_CONTROLS), fake_caps.cpu2 & ~rows[i].off);
		assert_int_equal(vmread(VMCS_MSR_BITMAP),
				 page_hpa(bitmap[rows[i].mode == VCPU_APIC_X2]).v);
		assert_int_equal(vmread(VMCS_EOI_EXIT_BITMAP0 + 6), 0x1234);
	}
	assert_ptr_not_equal(bitmap[0], bitmap[1]);
}

static const struct {
	uint32_t field;
	uint64_t value;
} reset_state[] = {
	{ VMCS_GUEST_CS_SELECTOR, 0x9a00 },
	{ VMCS_GUEST_CS_BASE, 0x9a000 },
	{ VMCS_GUEST_CS_LIMIT, 0xffff },
	{ VMCS_GUEST_CS_ACCESS_RIGHTS, 0x9b },
	{ VMCS_GUEST_SS_SELECTOR, 0 },
	{ VMCS_GUEST_SS_BASE, 0 },
	{ VMCS_GUEST_SS_LIMIT, 0xffff },
	{ VMCS_GUEST_SS_ACCESS_RIGHTS, 0x93 },
	{ VMCS_GUEST_GS_BASE, 0 },
	{ VMCS_GUEST_TR_ACCESS_RIGHTS, 0x8b },
	{ VMCS_GUEST_LDTR_ACCESS_RIGHTS, 0x82 },
	{ VMCS_GUEST_GDTR_BASE, 0 },
	{ VMCS_GUEST_GDTR_LIMIT, 0xffff },
	{ VMCS_GUEST_IDTR_BASE, 0 },
	{ VMCS_GUEST_IDTR_LIMIT, 0xffff },
	{ VMCS_GUEST_CR0, CR0_ET | CR0_NE },
	{ VMCS_CR0_READ_SHADOW, 0x60000010 },
	{ VMCS_GUEST_CR3, 0 },
	{ VMCS_GUEST_CR4, CR4_MCE | CR4_VMXE },
	{ VMCS_CR4_READ_SHADOW, 0 },
	{ VMCS_GUEST_EFER, 0 },
	{ VMCS_GUEST_DEBUGCTL, 0 },
	{ VMCS_GUEST_DR7, 0x400 },
	{ VMCS_GUEST_RSP, 0 },
	{ VMCS_GUEST_RIP, 0 },
	{ VMCS_GUEST_RFLAGS, 2 },
	{ VMCS_GUEST_PENDING_DEBUG, 0 },
	{ VMCS_GUEST_INTERRUPTIBILITY, 0 },
	{ VMCS_GUEST_ACTIVITY_STATE, 0 },
	{ VMCS_GUEST_SYSENTER_CS, 0 },
	{ VMCS_GUEST_SYSENTER_EIP, 0 },
	{ VMCS_ENTRY_CONTROLS, 0x44 },
	{ VMCS_GUEST_INTERRUPT_STATUS, 0 },
};

/* INIT and SIPI for a vCPU that was in 64-bit mode, whatever its state. */
TEST(test_reset, start)
{
	static const struct vcpu_long_mode code = { .cr3 = 1, .rip = 2, .rsp = 3 };

	vmcs_set_long_mode(&code);
	for (size_t i = 0; i < ARRAY_COUNT(reset_state); i++) {
		vmwrite(reset_state[i].field, UNTOUCHED);
	}
	memset(&vcpu->regs, 0xff, sizeof(vcpu->regs));
	vmcs_reset_guest(vcpu, 0x9a);
	for (size_t i = 0; i < ARRAY_COUNT(reset_state); i++) {
		if (vmread(reset_state[i].field) != reset_state[i].value) {
			fail_msg("field %#x is %#lx", reset_state[i].field,
				 vmread(reset_state[i].field));
		}
	}
	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(vcpu->regs.gpr[i], i == GPR_RDX ? 0x706e5 : 0);
	}
}

/* Linux/x86 boot protocol, "64-bit Boot Protocol". */
TEST(test_long_mode, start)
{
	const struct vcpu_long_mode code = {
		.cr3 = 0x1000, .rip = 0x2000, .rsp = 0x3000, .gdt = gpa(0x4000), .gdt_bytes = 32
	};

	vmcs_set_long_mode(&code);
	assert_int_equal(vmread(VMCS_ENTRY_CONTROLS), 0x44 | ENTRY_IA32E_MODE_GUEST);
	assert_int_equal(vmread(VMCS_GUEST_EFER), EFER_LME | EFER_LMA);
	assert_int_equal(vmread(VMCS_GUEST_CR0), CR0_PE | CR0_ET | CR0_NE | CR0_PG);
	assert_int_equal(vmread(VMCS_GUEST_CR4), CR4_MCE | CR4_VMXE | CR4_PAE);
	assert_int_equal(vmread(VMCS_CR4_READ_SHADOW), CR4_PAE);
	assert_int_equal(vmread(VMCS_GUEST_CS_SELECTOR), 0x10);
	assert_int_equal(vmread(VMCS_GUEST_CS_ACCESS_RIGHTS), 0xa09b);
	assert_int_equal(vmread(VMCS_GUEST_DS_SELECTOR), 0x18);
	assert_int_equal(vmread(VMCS_GUEST_SS_ACCESS_RIGHTS), 0xc093);
	assert_int_equal(vmread(VMCS_GUEST_CR3), 0x1000);
	assert_int_equal(vmread(VMCS_GUEST_RIP), 0x2000);
	assert_int_equal(vmread(VMCS_GUEST_RSP), 0x3000);
	assert_int_equal(vmread(VMCS_GUEST_GDTR_BASE), 0x4000);
	assert_int_equal(vmread(VMCS_GUEST_GDTR_LIMIT), 31);
}

TEST(test_host, start)
{
	fake_cr0 = 0x80050033;
	fake_cr3 = 0xc3000;
	fake_cr4 = 0x342ee0;
	fake_msr_set(MSR_IA32_EFER, 0xd01);
	vmcs_write_host();
	assert_int_equal(vmread(VMCS_HOST_CR0), fake_cr0);
	assert_int_equal(vmread(VMCS_HOST_CR3), fake_cr3);
	assert_int_equal(vmread(VMCS_HOST_CR4), fake_cr4);
	assert_int_equal(vmread(VMCS_HOST_EFER), 0xd01);
	assert_int_equal(vmread(VMCS_HOST_GS_BASE), (uintptr_t)percpu_self());
	assert_int_equal(vmread(VMCS_HOST_TR_BASE), 0x7550);
	assert_int_equal(vmread(VMCS_HOST_GDTR_BASE), 0x6d70);
	assert_int_equal(vmread(VMCS_HOST_IDTR_BASE), 0x1d70);
	assert_int_equal(vmread(VMCS_HOST_RIP), (uintptr_t)vmx_exit_entry);
	assert_int_equal(vmread(VMCS_HOST_CS_SELECTOR), HOST_CS_SELECTOR);
	assert_int_equal(vmread(VMCS_HOST_SS_SELECTOR), HOST_DS_SELECTOR);
	assert_int_equal(vmread(VMCS_HOST_TR_SELECTOR), HOST_TSS_SELECTOR);
	assert_int_equal(vmread(VMCS_HOST_DS_SELECTOR), 0);
	assert_int_equal(vmread(VMCS_HOST_SYSENTER_EIP), 0);
}

TEST(test_no_memory, start)
{
	for (int pages = 0; pages < 3; pages++) {
		fake_reset();
		use_cpu(true);
		fake_pages_fail_after(pages);
		assert_int_equal(vmcs_init(), ERR_NOMEM);
	}
}
