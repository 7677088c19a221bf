/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The minimum of VMX that runs a function as a guest. SDM vol. 3, chapters on VMX; encodings of
 * VMCS fields: its appendix "Field Encoding in VMCS".
 */
#include "rows.h"

#define CPUID_VMX      BIT(5) /* 1:ECX */
#define FEATURE_LOCK   BIT(0)
#define FEATURE_VMXON  BIT(2)
#define CR0_NE	       BIT(5)
#define CR4_VMXE       BIT(13)
#define MSR_VMX_BASIC  0x480
#define MSR_VMX_PIN    0x481 /* + 1 processor, + 2 exit, + 3 entry controls */
#define MSR_VMX_TRUE   0x48d
#define MSR_VMX_CPU2   0x48b
#define MSR_EFER       0xc0000080
#define BASIC_TRUE     BIT(55)
#define CPU_SECONDARY  BIT(31)
#define CPU_MSR_BITMAP BIT(28)
#define CPU_TPR_SHADOW BIT(21)
#define CPU2_EPT       BIT(1)
#define EXIT_64	       BIT(9)
#define ENTRY_64       BIT(9)
#define EPTP_4_LEVELS  (3u << 3)
#define EPTP_WB	       6u
#define EPTP_AD	       BIT(6)
#define WINDOW_SLOT    1u /* in the EPT's top table: 512 GiB */
#define INVEPT_GLOBAL  2u
#define INVVPID_ALL    2u

/* VMCS fields, in the order of their encoding. */
#define VPID		       0x0000
#define GUEST_SELECTORS	       0x0800
#define HOST_SELECTORS	       0x0c00
#define MSR_BITMAP	       0x2004
#define VIRTUAL_APIC	       0x2012
#define EPT_POINTER	       0x201a
#define PCONFIG_BITMAP	       0x203e
#define GUEST_PHYSICAL	       0x2400
#define LINK_POINTER	       0x2800
#define PIN_CONTROLS	       0x4000
#define CPU_CONTROLS	       0x4002
#define EXCEPTION_BITMAP       0x4004
#define EXIT_CONTROLS	       0x400c
#define ENTRY_CONTROLS	       0x4012
#define ENTRY_EVENT	       0x4016
#define TPR_THRESHOLD	       0x401c
#define CPU2_CONTROLS	       0x401e
#define INSTRUCTION_ERROR      0x4400
#define EXIT_REASON	       0x4402
#define EXIT_EVENT	       0x4404
#define GUEST_LIMITS	       0x4800
#define GUEST_GDTR_LIMIT       0x4810
#define GUEST_IDTR_LIMIT       0x4812
#define GUEST_RIGHTS	       0x4814
#define GUEST_INTERRUPTIBILITY 0x4824
#define GUEST_ACTIVITY	       0x4826
#define QUALIFICATION	       0x6400
#define GUEST_CR0	       0x6800
#define GUEST_BASES	       0x6806
#define GUEST_GDTR_BASE	       0x6816
#define GUEST_IDTR_BASE	       0x6818
#define GUEST_DR7	       0x681a
#define GUEST_RSP	       0x681c
#define GUEST_RIP	       0x681e
#define GUEST_RFLAGS	       0x6820
#define GUEST_PENDING_DEBUG    0x6822
#define HOST_CR0	       0x6c00
#define HOST_TR_BASE	       0x6c0a
#define HOST_GDTR_BASE	       0x6c0c
#define HOST_IDTR_BASE	       0x6c0e

int vmx_enter(uint64_t regs[16]);
void guest_return(void);

static uint64_t *ept, *window[4]; /* window[level] has the leaf of that level */

static uint64_t vmread(uint64_t field)
{
	uint64_t value;

	__asm__ volatile("vmread %1, %0" : "=rm"(value) : "r"(field) : "cc");
	return value;
}

static void vmwrite(uint64_t field, uint64_t value)
{
	uint8_t failed;

	__asm__ volatile("vmwrite %2, %1; setbe %0"
			 : "=qm"(failed)
			 : "r"(field), "rm"(value)
			 : "cc");
	if (failed) {
		print("  VMWRITE of field %lx fails\n", field);
		cannot("a VMCS field is not there");
	}
}

static void make_ept(void)
{
	uint64_t *low;

	if (ept != NULL) {
		return;
	}
	ept = arena_page();
	low = arena_page();
	for (unsigned level = 1; level <= 3; level++) {
		window[level] = arena_page();
	}
	ept[0] = (uintptr_t)low | EPT_RWX;
	for (uint64_t i = 0; i < 4; i++) {
		low[i] = i * GIB | EPT_RWX | EPT_WB | EPT_LARGE;
	}
	ept[WINDOW_SLOT] = (uintptr_t)window[3] | EPT_RWX;
}

volatile uint64_t *ept_window(unsigned level, uint64_t entry)
{
	window[3][0] = (uintptr_t)window[2] | EPT_RWX;
	window[2][0] = (uintptr_t)window[1] | EPT_RWX;
	window[level][0] = entry | (level > 1 ? EPT_LARGE : 0);
	return &window[level][0];
}

static void invalidate(uint64_t type, bool vpid)
{
	struct {
		uint64_t first, second;
	} descriptor = { 0, 0 };
	uint8_t failed;

	if (vpid) {
		__asm__ volatile("invvpid %1, %2; setbe %0"
				 : "=qm"(failed)
				 : "m"(descriptor), "r"(type)
				 : "cc", "memory");
	} else {
		__asm__ volatile("invept %1, %2; setbe %0"
				 : "=qm"(failed)
				 : "m"(descriptor), "r"(type)
				 : "cc", "memory");
	}
	if (failed) {
		cannot(vpid ? "INVVPID fails" : "INVEPT fails");
	}
}

void invept_all(void)
{
	invalidate(INVEPT_GLOBAL, false);
}

void invvpid_all(void)
{
	invalidate(INVVPID_ALL, true);
}

static bool vmx_on(void)
{
	struct cpu *cpu = this_cpu();
	uint64_t cr, region;
	uint8_t failed;

	if (cpu->vmx) {
		return true;
	}
	if (!(cpuid(1, 0).ecx & CPUID_VMX)) {
		cannot("no VMX");
		return false;
	}
	if (!(rdmsr(MSR_FEATURE) & FEATURE_LOCK)) {
		wrmsr(MSR_FEATURE, FEATURE_LOCK | FEATURE_VMXON);
	}
	__asm__ volatile("movq %%cr0, %0" : "=r"(cr));
	__asm__ volatile("movq %0, %%cr0" : : "r"(cr | CR0_NE));
	__asm__ volatile("movq %%cr4, %0" : "=r"(cr));
	__asm__ volatile("movq %0, %%cr4" : : "r"(cr | CR4_VMXE));
	if (cpu->vmxon == NULL) {
		cpu->vmxon = arena_page();
		cpu->vmcs = arena_page();
		cpu->stack = arena_page();
		*(uint32_t *)cpu->vmxon = (uint32_t)rdmsr(MSR_VMX_BASIC) & 0x7fffffff;
		*(uint32_t *)cpu->vmcs = *(uint32_t *)cpu->vmxon;
	}
	region = (uintptr_t)cpu->vmxon;
	__asm__ volatile("vmxon %1; setbe %0" : "=qm"(failed) : "m"(region) : "cc", "memory");
	if (failed) {
		cannot("VMXON fails");
	}
	cpu->vmx = !failed;
	return cpu->vmx;
}

/* The control's wanted bits that the CPU supports, and the bits that the CPU requires. */
static uint64_t control(uint32_t msr, uint64_t wanted)
{
	uint64_t allowed = rdmsr(msr);

	if ((wanted & ~(allowed >> 32)) != 0) {
		print("  MSR %x is %lx, wanted %lx\n", msr, allowed, wanted);
		cannot("a VMX control is not there");
	}
	return (wanted | (uint32_t)allowed) & allowed >> 32;
}

static void write_controls(const struct vm *vm)
{
	uint32_t msr = rdmsr(MSR_VMX_BASIC) & BASIC_TRUE ? MSR_VMX_TRUE : MSR_VMX_PIN;
	bool x2apic = vm->controls2 & CPU2_X2APIC;

	vmwrite(PIN_CONTROLS, control(msr, 0));
	vmwrite(CPU_CONTROLS,
		control(msr + 1, CPU_SECONDARY | (vm->msr_bitmap ? CPU_MSR_BITMAP : 0) |
					 (x2apic ? CPU_TPR_SHADOW : 0)));
	vmwrite(EXIT_CONTROLS, control(msr + 2, EXIT_64));
	vmwrite(ENTRY_CONTROLS, control(msr + 3, ENTRY_64));
	vmwrite(CPU2_CONTROLS, control(MSR_VMX_CPU2, CPU2_EPT | vm->controls2));
	vmwrite(EXCEPTION_BITMAP, 0xffffffff); /* every exception exits */
	vmwrite(ENTRY_EVENT, 0);
	vmwrite(EPT_POINTER, (uintptr_t)ept | EPTP_4_LEVELS | EPTP_WB | EPTP_AD);
	vmwrite(LINK_POINTER, ~0ull);
	if (vm->msr_bitmap) {
		vmwrite(MSR_BITMAP, (uintptr_t)arena_page());
	}
	if (x2apic) {
		vmwrite(VIRTUAL_APIC, (uintptr_t)arena_page());
		vmwrite(TPR_THRESHOLD, 0);
	}
	if (vm->controls2 & CPU2_VPID) {
		vmwrite(VPID, vm->vpid);
	}
	if (vm->controls2 & CPU2_PCONFIG) {
		vmwrite(PCONFIG_BITMAP, vm->pconfig_bitmap);
	}
}

static const struct segment {
	uint16_t selector;
	uint32_t limit, rights;
} data_segment = { 0x10, 0xffffffff, 0xc093 }, code_segment = { 0x08, 0xffffffff, 0xa09b },
  no_segment = { 0, 0, 0x10000 };

/* In the order of the fields: ES, CS, SS, DS, FS, GS, LDTR, TR. The host has no LDTR. */
static void write_segment(unsigned n, const struct segment *segment, uint64_t base)
{
	vmwrite(GUEST_SELECTORS + 2 * n, segment->selector);
	vmwrite(GUEST_LIMITS + 2 * n, segment->limit);
	vmwrite(GUEST_RIGHTS + 2 * n, segment->rights);
	vmwrite(GUEST_BASES + 2 * n, base);
	if (n != 6) {
		vmwrite(HOST_SELECTORS + 2 * (n < 6 ? n : n - 1), segment->selector);
	}
}

/* Writes TR, GDTR and IDTR with this CPU's values. */
static void write_tables(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdtr, idtr;
	struct segment task = { .limit = 0x67, .rights = 0x8b };
	uint64_t tss;

	__asm__ volatile("sgdt %0; sidt %1; str %2" : "=m"(gdtr), "=m"(idtr), "=r"(task.selector));
	tss = *(uint64_t *)(gdtr.base + task.selector);
	tss = (tss >> 16 & 0xffffff) | (tss >> 56 & 0xff) << 24 |
	      *(uint64_t *)(gdtr.base + task.selector + 8) << 32;
	write_segment(7, &task, tss);
	vmwrite(HOST_TR_BASE, tss);
	vmwrite(GUEST_GDTR_BASE, gdtr.base);
	vmwrite(GUEST_IDTR_BASE, idtr.base);
	vmwrite(HOST_GDTR_BASE, gdtr.base);
	vmwrite(HOST_IDTR_BASE, idtr.base);
	vmwrite(GUEST_GDTR_LIMIT, gdtr.limit);
	vmwrite(GUEST_IDTR_LIMIT, idtr.limit);
}

/* Guest and host start with this CPU's own state. */
static void write_state(void)
{
	static const struct segment *const segments[] = { &data_segment, &code_segment,
							  &data_segment, &data_segment,
							  &no_segment,	 &no_segment,
							  &no_segment };
	static const uint64_t control_registers[] = { GUEST_CR0, HOST_CR0 };
	uint64_t cr0, cr4;

	__asm__ volatile("movq %%cr0, %0; movq %%cr4, %1" : "=r"(cr0), "=r"(cr4));
	for (unsigned side = 0; side < 2; side++) { /* CR0, CR3, CR4 are consecutive */
		vmwrite(control_registers[side], cr0);
		vmwrite(control_registers[side] + 2, read_cr3());
		vmwrite(control_registers[side] + 4, cr4);
	}
	for (unsigned n = 0; n < ARRAY_COUNT(segments); n++) {
		write_segment(n, segments[n], 0);
	}
	write_tables();
	vmwrite(GUEST_DR7, 0x400);
	vmwrite(GUEST_RFLAGS, 2);
	vmwrite(GUEST_INTERRUPTIBILITY, 0);
	vmwrite(GUEST_ACTIVITY, 0);
	vmwrite(GUEST_PENDING_DEBUG, 0);
}

bool vm_start(const struct vm *vm)
{
	uint64_t region;
	uint8_t failed;

	if (!vmx_on()) {
		return false;
	}
	make_ept();
	region = (uintptr_t)this_cpu()->vmcs;
	__asm__ volatile("vmclear %1; setbe %0" : "=qm"(failed) : "m"(region) : "cc", "memory");
	if (!failed) {
		__asm__ volatile("vmptrld %1; setbe %0"
				 : "=qm"(failed)
				 : "m"(region)
				 : "cc", "memory");
	}
	if (failed) {
		cannot("VMCLEAR or VMPTRLD fails");
		return false;
	}
	write_controls(vm);
	write_state();
	return true;
}

void vm_stop(void)
{
	struct cpu *cpu = this_cpu();
	uint64_t cr4;

	if (!cpu->vmx) {
		return;
	}
	__asm__ volatile("vmxoff" : : : "cc", "memory");
	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("movq %0, %%cr4" : : "r"(cr4 & ~CR4_VMXE));
	cpu->vmx = false;
}

struct exit vm_run(uint64_t (*code)(uint64_t), uint64_t argument)
{
	uint64_t region = (uintptr_t)this_cpu()->vmcs;
	uint64_t *top = (uint64_t *)(this_cpu()->stack + PAGE_BYTES - 16);
	uint64_t regs[16] = { 0 };

	*--top = (uintptr_t)guest_return;
	regs[6] = argument; /* RDI */
	vmwrite(GUEST_RSP, (uintptr_t)top);
	vmwrite(GUEST_RIP, (uintptr_t)code);
	/* A VMCS that has run would need VMRESUME; after VMCLEAR VMLAUNCH works. */
	__asm__ volatile("vmclear %0; vmptrld %0" : : "m"(region) : "cc", "memory");
	if (vmx_enter(regs) != 0) {
		print("  VM entry fails: instruction error %lu\n", vmread(INSTRUCTION_ERROR));
		return (struct exit){ .reason = EXIT_FAILED };
	}
	return (struct exit){ .reason = vmread(EXIT_REASON),
			      .qualification = vmread(QUALIFICATION),
			      .gpa = vmread(GUEST_PHYSICAL),
			      .interruption = vmread(EXIT_EVENT),
			      .rcx = regs[1],
			      .rax = regs[0] };
}
