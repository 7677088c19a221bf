/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses VMX features, and turns VMX on and off, for the whole machine: settles what depends on
 * all CPUs, and passes it to its users. Boot processor; no lock.
 */
#include "crypto/tme.h"
#include "ept/ept.h"
#include "vmm/alike.h"
#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/smp.h"
#include "vmm/vmcs.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"
#include "vmm/vmx_priv.h"

void vmx_choose(bool keep_debug_registers)
{
	vmx_choose_controls(keep_debug_registers);
	alike_capture();
}

static void warn_of_flaw(void *context, const char *name, bool open, const char *what)
{
	if (open) {
		log_warn("CPU: %s: this flaw is not mitigated, because the CPU or its microcode "
			 "lacks %s.",
			 name, what);
	}
}

static void tell_ept(void)
{
	const struct vmx_caps *caps = vmx_caps();
	uint32_t max_extended = cpu_cpuid(0x80000000, 0).eax;
	struct ept_caps ept = {
		.page_2m = (caps->ept_vpid & EPT_CAP_2M) != 0,
		.page_1g = (caps->ept_vpid & EPT_CAP_1G) != 0,
		.accessed_dirty = (caps->ept_vpid & EPT_CAP_ACCESSED_DIRTY) != 0,
		.exec_only = (caps->ept_vpid & EPT_CAP_EXEC_ONLY) != 0,
		.invept_single = (caps->ept_vpid & EPT_CAP_INVEPT_SINGLE) != 0,
		.structures_wb = (caps->ept_vpid & EPT_CAP_WB) != 0,
		.no_large_exec = caps->no_large_exec,
		.phys_bits = max_extended >= 0x80000008 ? (uint8_t)cpu_cpuid(0x80000008, 0).eax
							: 36,
	};

	/* CPUID counts the KeyID bits of TDX, which no page table may have (SDM, "MOV to CR"). */
	ept.phys_bits -= tme_state()->tdx_bits;
	ept_configure(&ept);
}

static void log_caps(void)
{
	const struct vmx_caps *caps = vmx_caps();

	log_info("VMX: EPT%s%s, %s%s%s%s%s.",
		 (caps->ept_vpid & EPT_CAP_1G) != 0 ? " with 1 GiB pages" : "",
		 (caps->ept_vpid & EPT_CAP_ACCESSED_DIRTY) != 0 ? " and A/D bits" : "",
		 caps->virtual_delivery ? "APIC and interrupt delivery virtualised"
		 : caps->apic_accesses	? "APIC accesses virtualised"
					: "APIC in software",
		 caps->vpid ? ", VPID" : "", caps->preemption_timer ? ", preemption timer" : "",
		 caps->xsaves ? ", XSAVES" : "",
		 caps->entry_flush != 0 ? ", flushes on entry" : "");
}

void vmx_init(void)
{
	vmx_settle_flaws(alike_flaws());
	flaws_tell(alike_flaws(), warn_of_flaw, NULL);
	tell_ept();
	if (vmcs_init() != 0) {
		panic("no host pages left for MSR bitmaps");
	}
	log_caps();
}

/* Runs on every CPU; counts CPUs that fail in *arg. */
static void start_this_cpu(void *arg)
{
	const struct vmx_caps *caps = vmx_caps();
	ATOMIC(uint32_t) *failures = arg;
	struct percpu *cpu = percpu_self();
	uint32_t *region;
	uint64_t control;

	if (!vmx_feature_control_ok()) {
		(void)atomic_add(failures, 1);
		return;
	}
	if (msr_read_safe(MSR_IA32_FEATURE_CONTROL, &control) == 0 &&
	    (control & FEATURE_CONTROL_LOCK) == 0) {
		cpu_wrmsr(MSR_IA32_FEATURE_CONTROL,
			  control | FEATURE_CONTROL_VMX | FEATURE_CONTROL_LOCK);
	}
	cpu_write_cr0((cpu_read_cr0() | caps->cr0_fixed0) & caps->cr0_fixed1);
	cpu_write_cr4((cpu_read_cr4() | CR4_VMXE | caps->cr4_fixed0) & caps->cr4_fixed1);
	if (caps->xsaves) {
		cpu_wrmsr(MSR_IA32_XSS, 0); /* the value that guests see, whatever firmware left */
	}
	if (caps->switch_spec_ctrl) {
		cpu_wrmsr(MSR_IA32_SPEC_CTRL, caps->host_spec_ctrl);
	}
	region = page_alloc(1);
	if (region == NULL) {
		panic("no host page left for a VMXON region");
	}
	*region = caps->revision;
	if (!vmxon(page_hpa(region))) {
		log_error("VMXON failed on the CPU with APIC ID %u.", cpu->apic_id);
		page_free(region, 1);
		(void)atomic_add(failures, 1);
		return;
	}
	/* From now on vmx_stop_this_cpu, which an NMI may call at any instruction, does VMXOFF. */
	cpu->vmxon_region = region;
}

int vmx_start_all(void)
{
	ATOMIC(uint32_t) failures = { 0 };

	bootstrap_at_end(vmx_stop_this_cpu);
	smp_call_all(start_this_cpu, &failures);
	return atomic_load(&failures) == 0 ? 0 : ERR_UNSUPPORTED;
}

void vmx_stop_this_cpu(void)
{
	struct percpu *cpu = percpu_self();

	if (cpu->vmxon_region == NULL) {
		return;
	}
	cpu->vmxon_region = NULL;
	vmxoff();
	cpu_write_cr4(cpu_read_cr4() & ~CR4_VMXE);
}
