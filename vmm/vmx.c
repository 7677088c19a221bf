/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMX capabilities. One table has the VM-execution, VM-exit and VM-entry controls that Umbra
 * requires, uses if the CPU has them, or must clear. Each control word is and-ed with its
 * capability MSR. A required control that is missing is logged. Read-only after vmx_init, so no
 * lock.
 */
#include "vmm/vmx.h"

#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/errata.h"
#include "vmm/vmx_priv.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

static struct vmx_caps caps;

const struct vmx_caps *vmx_caps(void)
{
	return &caps;
}

bool vmx_has_rdtscp(void)
{
	return (caps.cpu2 & CPU2_ENABLE_RDTSCP) != 0;
}

bool vmx_has_spec_ctrl(void)
{
	return caps.spec_ctrl;
}

bool vmx_keeps_spec_ctrl(void)
{
	return caps.spec_ctrl && !caps.switch_spec_ctrl;
}

/*
 * One word of controls, with the bits that are always set, those that are set if the CPU supports
 * them, and those that must be clear.
 */
struct control_word {
	const char *name;
	uint32_t msr, true_msr;
	uint32_t required, optional, forbidden;
	size_t offset; /* of the word in struct vmx_caps */
};

enum { WORD_PIN, WORD_CPU, WORD_CPU2, WORD_EXIT, WORD_ENTRY };

static const struct control_word control_words[] = {
	[WORD_PIN] = { "pin-based controls", MSR_IA32_VMX_PINBASED_CTLS,
		       MSR_IA32_VMX_TRUE_PINBASED_CTLS,
		       PIN_EXTERNAL_INTERRUPT_EXITING | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS,
		       PIN_PREEMPTION_TIMER, 0, offsetof(struct vmx_caps, pin) },
	[WORD_CPU] = { "processor-based controls", MSR_IA32_VMX_PROCBASED_CTLS,
		       MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
		       CPU_USE_TSC_OFFSETTING | CPU_HLT_EXITING | CPU_MWAIT_EXITING |
			       CPU_RDPMC_EXITING | CPU_UNCONDITIONAL_IO_EXITING |
			       CPU_USE_MSR_BITMAPS | CPU_MONITOR_EXITING | CPU_SECONDARY_CONTROLS,
		       CPU_USE_TPR_SHADOW,
		       CPU_INTERRUPT_WINDOW_EXITING | CPU_NMI_WINDOW_EXITING | CPU_INVLPG_EXITING |
			       CPU_RDTSC_EXITING | CPU_CR3_LOAD_EXITING | CPU_CR3_STORE_EXITING |
			       CPU_MOV_DR_EXITING | CPU_PAUSE_EXITING | CPU_MONITOR_TRAP_FLAG,
		       offsetof(struct vmx_caps, cpu) },
	[WORD_CPU2] = { "secondary controls", MSR_IA32_VMX_PROCBASED_CTLS2,
			MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_ENABLE_EPT | CPU2_UNRESTRICTED_GUEST,
			CPU2_VIRTUALIZE_APIC_ACCESSES | CPU2_ENABLE_RDTSCP |
				CPU2_VIRTUALIZE_X2APIC_MODE | CPU2_ENABLE_VPID |
				CPU2_WBINVD_EXITING | CPU2_APIC_REGISTER_VIRTUALIZATION |
				CPU2_VIRTUAL_INTERRUPT_DELIVERY | CPU2_PAUSE_LOOP_EXITING |
				CPU2_ENABLE_INVPCID | CPU2_ENCLS_EXITING | CPU2_ENABLE_XSAVES |
				CPU2_ENCLV_EXITING | CPU2_BUS_LOCK_DETECTION | CPU2_NOTIFY_WINDOW,
			0, offsetof(struct vmx_caps, cpu2) },
	[WORD_EXIT] = { "exit controls", MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS,
			EXIT_SAVE_DEBUG_CONTROLS | EXIT_HOST_ADDRESS_SPACE_SIZE | EXIT_SAVE_EFER |
				EXIT_LOAD_EFER,
			0, 0, offsetof(struct vmx_caps, exit) },
	[WORD_ENTRY] = { "entry controls", MSR_IA32_VMX_ENTRY_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS,
			 ENTRY_LOAD_DEBUG_CONTROLS | ENTRY_LOAD_EFER, 0, 0,
			 offsetof(struct vmx_caps, entry) },
};

/* Names of requirements. A message has the name instead of the control's bit. */
static const struct {
	uint8_t word;
	uint32_t control;
	const char *text;
} control_names[] = {
	{ WORD_PIN, PIN_VIRTUAL_NMIS, "virtual NMIs" },
	{ WORD_CPU, CPU_SECONDARY_CONTROLS,
	  "secondary processor-based controls, hence neither EPT nor unrestricted guest" },
	{ WORD_CPU, CPU_USE_MSR_BITMAPS, "MSR bitmaps" },
	{ WORD_CPU, CPU_CR3_LOAD_EXITING, "a way to let guests load CR3 without an exit" },
	{ WORD_CPU2, CPU2_ENABLE_EPT, "EPT (extended page tables)" },
	{ WORD_CPU2, CPU2_UNRESTRICTED_GUEST,
	  "unrestricted guest (real mode under VMX; first in the processors of 2010)" },
	{ WORD_EXIT, EXIT_LOAD_EFER, "loading of IA32_EFER on exit" },
	{ WORD_ENTRY, ENTRY_LOAD_EFER, "loading of IA32_EFER on entry" },
};

/* Returns the capability MSR of a word, on this CPU, without features that have errata. */
static uint64_t control_capability(unsigned index)
{
	const struct control_word *word = &control_words[index];
	bool true_msrs = (cpu_rdmsr(MSR_IA32_VMX_BASIC) & VMX_BASIC_TRUE_CONTROLS) != 0;
	uint64_t capability = cpu_rdmsr(true_msrs ? word->true_msr : word->msr);

	if (index == WORD_PIN && (errata_of_this_cpu() & ERRATUM_TIMER) != 0) {
		capability &= ~(PIN_PREEMPTION_TIMER << 32);
	}
	return capability;
}

static uint64_t ept_capability(void)
{
	uint64_t capability = cpu_rdmsr(MSR_IA32_VMX_EPT_VPID_CAP);

	return (errata_of_this_cpu() & ERRATUM_EPT_AD) != 0 ? capability & ~EPT_CAP_ACCESSED_DIRTY
							    : capability;
}

static const char *control_name(unsigned word, uint32_t bits)
{
	for (size_t i = 0; i < ARRAY_COUNT(control_names); i++) {
		if (control_names[i].word == word && (control_names[i].control & bits) != 0) {
			return control_names[i].text;
		}
	}
	return NULL;
}

/* Returns whether the CPU meets the requirements of a word. Logs those that it does not meet. */
static bool control_word_ok(unsigned index)
{
	const struct control_word *word = &control_words[index];
	uint64_t capability = control_capability(index);
	uint32_t missing = word->required & ~(uint32_t)(capability >> 32);
	uint32_t stuck = word->forbidden & (uint32_t)capability;
	const char *name = control_name(index, missing | stuck);

	if ((missing | stuck) == 0) {
		return true;
	}
	if (name != NULL) {
		log_error("This CPU's VMX lacks %s.", name);
	} else {
		log_error("This CPU's VMX lacks what Umbra needs: %s, bits %#x cannot be set, "
			  "bits %#x cannot be cleared.",
			  word->name, missing, stuck);
	}
	return false;
}

static bool ept_ok(void)
{
	uint64_t ept = ept_capability();
	bool ok = true;

	if ((ept & EPT_CAP_WALK_4) == 0) {
		log_error("This CPU's EPT has no 4-level tables.");
		ok = false;
	}
	if ((ept & EPT_CAP_WB) == 0) {
		log_error("This CPU's EPT cannot keep its tables in write-back memory.");
		ok = false;
	}
	if ((ept & EPT_CAP_INVEPT) == 0 ||
	    (ept & (EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL)) == 0) {
		log_error("This CPU has no INVEPT.");
		ok = false;
	}
	return ok;
}

/* SDM vol. 3, "Enabling and Entering VMX Operation". */
static bool locked_off(void)
{
	uint64_t control;

	return msr_read_safe(MSR_IA32_FEATURE_CONTROL, &control) == 0 &&
	       (control & FEATURE_CONTROL_LOCK) != 0 && (control & FEATURE_CONTROL_VMX) == 0;
}

bool vmx_feature_control_ok(void)
{
	if (!locked_off()) {
		return true;
	}
	log_error("VMX is locked off by the firmware on CPU with APIC ID %u: enable \"Intel "
		  "Virtualization Technology\" (VT-x, VMX) in the firmware set-up, then switch the "
		  "machine off and on.",
		  cpu_cpuid(1, 0).ebx >> 24);
	return false;
}

bool vmx_preflight(void)
{
	bool ok = true;

	if ((cpu_cpuid(1, 0).ecx & CPUID_1_ECX_VMX) == 0) {
		log_error(
			"This CPU has no VMX (Intel VT-x), or firmware or another hypervisor hides "
			"it. Umbra runs on Intel processors with VMX and EPT.");
		return false;
	}
	if (!vmx_feature_control_ok()) {
		return false;
	}
	ok &= control_word_ok(WORD_PIN);
	ok &= control_word_ok(WORD_CPU);
	ok &= control_word_ok(WORD_EXIT);
	ok &= control_word_ok(WORD_ENTRY);
	/*
	 * IA32_VMX_PROCBASED_CTLS2 exists only with secondary controls, and IA32_VMX_EPT_VPID_CAP
	 * only with EPT or VPID.
	 */
	if ((control_capability(WORD_CPU) >> 32 & CPU_SECONDARY_CONTROLS) == 0) {
		return false;
	}
	ok &= control_word_ok(WORD_CPU2);
	if ((cpu_rdmsr(MSR_IA32_VMX_PROCBASED_CTLS2) >> 32 & CPU2_ENABLE_EPT) != 0) {
		ok &= ept_ok();
	}
	return ok;
}

static void choose_controls(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(control_words); i++) {
		const struct control_word *word = &control_words[i];
		uint64_t capability = control_capability((unsigned)i);
		uint32_t value = (word->required | word->optional) & (uint32_t)(capability >> 32);

		value |= (uint32_t)capability & ~word->forbidden;
		*(uint32_t *)(void *)((char *)&caps + word->offset) = value;
	}
}

/*
 * SDM: the parts of APIC virtualisation depend on each other (checks in "VM-Execution Control
 * Fields").
 */
static void settle_apic_controls(void)
{
	const uint32_t need_shadow = CPU2_VIRTUALIZE_X2APIC_MODE |
				     CPU2_APIC_REGISTER_VIRTUALIZATION |
				     CPU2_VIRTUAL_INTERRUPT_DELIVERY;
	const uint32_t full = need_shadow | CPU2_VIRTUALIZE_APIC_ACCESSES;

	if ((caps.cpu & CPU_USE_TPR_SHADOW) == 0) {
		caps.cpu2 &= ~need_shadow;
		caps.cpu |= CPU_CR8_LOAD_EXITING | CPU_CR8_STORE_EXITING;
	}
	/*
	 * A real CPU has both APIC-register virtualisation and virtual-interrupt delivery, or
	 * neither. Umbra uses both if all controls of `full` are there, and otherwise neither.
	 */
	if ((caps.cpu2 & full) != full) {
		caps.cpu2 &= ~(uint32_t)(CPU2_APIC_REGISTER_VIRTUALIZATION |
					 CPU2_VIRTUAL_INTERRUPT_DELIVERY);
	}
	caps.tpr_shadow = (caps.cpu & CPU_USE_TPR_SHADOW) != 0;
	caps.apic_accesses = (caps.cpu2 & CPU2_VIRTUALIZE_APIC_ACCESSES) != 0;
	caps.virtual_delivery = (caps.cpu2 & CPU2_VIRTUAL_INTERRUPT_DELIVERY) != 0;
}

/* Chooses the bits of CR4 and XCR0 that guests may set: their state is separate for each vCPU. */
static void settle_guest_state(void)
{
	const uint64_t avx512 = XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM;
	struct cpuid_regs regs = cpu_cpuid(1, 0);

	caps.guest_cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE |
			 CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE |
			 CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP;
	caps.guest_cr4 &= caps.cr4_fixed1;
	/* With MCE off a machine check would shut the CPU down instead of reaching the host. */
	caps.guest_cr4_on = caps.cr4_fixed0 | (cpu_read_cr4() & CR4_MCE);
	caps.xsave_bytes = 512;
	if ((regs.ecx & CPUID_1_ECX_XSAVE) == 0) {
		caps.guest_cr4 &= ~CR4_OSXSAVE;
		caps.cpu2 &= ~(uint32_t)CPU2_ENABLE_XSAVES;
		return;
	}
	caps.guest_xcr0 = cpu_cpuid(0xd, 0).eax & (XCR0_X87 | XCR0_SSE | XCR0_AVX | avx512);
	if ((caps.guest_xcr0 & avx512) != avx512) {
		caps.guest_xcr0 &= ~avx512;
	}
	/* Legacy area and header, then each component at its offset in CPUID.0DH. */
	caps.xsave_bytes = 512 + 64;
	for (uint32_t i = 2; i < 32; i++) {
		if ((caps.guest_xcr0 & BIT(i)) != 0) {
			regs = cpu_cpuid(0xd, i);
			caps.xsave_bytes = MAX(caps.xsave_bytes, regs.ebx + regs.eax);
		}
	}
	if ((cpu_cpuid(0xd, 1).eax & CPUID_D_1_EAX_XSAVES) == 0) {
		caps.cpu2 &= ~(uint32_t)CPU2_ENABLE_XSAVES;
	}
	caps.xsaves = (caps.cpu2 & CPU2_ENABLE_XSAVES) != 0;
}

void vmx_settle_flaws(const struct flaw_facts *facts)
{
	struct flaw_plan plan;

	flaws_decide(facts, &plan);
	caps.has_arch_capabilities = facts->has_capabilities;
	caps.arch_capabilities = facts->capabilities;
	caps.spec_ctrl = (facts->leaf7_edx &
			  (CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_SSBD)) != 0;
	caps.flush_cmd = (facts->leaf7_edx & CPUID_7_EDX_L1D_FLUSH) != 0;
	caps.ibpb = plan.ibpb;
	caps.entry_flush = plan.entry_flush;
	caps.fill_rsb = plan.fill_rsb;
	caps.no_large_exec = plan.no_large_exec;
	caps.switch_spec_ctrl = plan.switch_spec_ctrl;
	caps.host_spec_ctrl = plan.host_spec_ctrl;
}

/* The SDM lets every CPU set this control. Without it a guest would read and change a key. */
bool vmx_can_keep_debug_registers(void)
{
	return (control_capability(WORD_CPU) >> 32 & CPU_MOV_DR_EXITING) != 0;
}

static void settle_debug_registers(void)
{
	CHECK(vmx_can_keep_debug_registers());
	caps.cpu |= CPU_MOV_DR_EXITING;
	caps.keeps_debug_registers = true;
}

void vmx_choose_controls(bool keep_debug_registers)
{
	uint64_t basic = cpu_rdmsr(MSR_IA32_VMX_BASIC);
	uint64_t misc = cpu_rdmsr(MSR_IA32_VMX_MISC);

	caps = (struct vmx_caps){
		.max_basic_leaf = cpu_cpuid(0, 0).eax,
		.revision = (uint32_t)(basic & VMX_BASIC_REVISION),
		.ins_outs_info = (basic & VMX_BASIC_INS_OUTS_INFO) != 0,
		.timer_shift = (uint8_t)VMX_MISC_TIMER_SHIFT(misc),
		.timer_round = (uint32_t)BIT(VMX_MISC_TIMER_SHIFT(misc)) - 1,
		.cr0_fixed0 = cpu_rdmsr(MSR_IA32_VMX_CR0_FIXED0),
		.cr0_fixed1 = cpu_rdmsr(MSR_IA32_VMX_CR0_FIXED1),
		.cr4_fixed0 = cpu_rdmsr(MSR_IA32_VMX_CR4_FIXED0),
		.cr4_fixed1 = cpu_rdmsr(MSR_IA32_VMX_CR4_FIXED1),
		.ept_vpid = ept_capability(),
	};
	choose_controls();
	/* Without single-context INVVPID a reused VPID could have another vCPU's translations. */
	if ((caps.ept_vpid & EPT_CAP_INVVPID) == 0 ||
	    (caps.ept_vpid & EPT_CAP_INVVPID_SINGLE) == 0) {
		caps.cpu2 &= ~(uint32_t)CPU2_ENABLE_VPID;
	}
	caps.vpid = (caps.cpu2 & CPU2_ENABLE_VPID) != 0;
	caps.preemption_timer = (caps.pin & PIN_PREEMPTION_TIMER) != 0;
	caps.monitor_trap = (control_capability(WORD_CPU) >> 32 & CPU_MONITOR_TRAP_FLAG) != 0;
	if (keep_debug_registers) {
		settle_debug_registers();
	}
	settle_apic_controls();
	settle_guest_state();
}

bool vmx_fits(char *why, size_t bytes)
{
	if ((cpu_cpuid(1, 0).ecx & CPUID_1_ECX_VMX) == 0) {
		(void)str_copy(why, bytes, "it has no VMX");
		return false;
	}
	if (locked_off()) {
		(void)str_copy(why, bytes, "VMX is locked off by the firmware on it");
		return false;
	}
	/*
	 * The order of the table matters: the MSR of the secondary controls exists only if the
	 * processor-based controls, which come before, include CPU_SECONDARY_CONTROLS.
	 */
	for (unsigned i = 0; i < ARRAY_COUNT(control_words); i++) {
		const char *member = (const char *)&caps + control_words[i].offset;
		uint32_t value = *(const uint32_t *)(const void *)member;
		uint64_t capability = control_capability(i);
		uint32_t off = value & ~(uint32_t)(capability >> 32);
		uint32_t on = (uint32_t)capability & ~value;

		if ((off | on) != 0) {
			(void)str_printf(why, bytes,
					 "its VMX is not like the boot CPU's: %s, bits %#x cannot "
					 "be set, bits %#x cannot be cleared",
					 control_words[i].name, off, on);
			return false;
		}
	}
	if ((caps.ept_vpid & ~ept_capability() & EPT_CAP_ACCESSED_DIRTY) != 0) {
		(void)str_copy(why, bytes, "its EPT has no accessed and dirty bits");
		return false;
	}
	return true;
}

_Noreturn void vmx_insn_failed(const char *insn, uint64_t operand, const char *caller)
{
	panic("%s of %#lx failed in %s", insn, operand, caller);
}
