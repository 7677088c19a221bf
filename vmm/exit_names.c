/* SPDX-License-Identifier: Apache-2.0 */
/* Names of exit reasons, for logs. */
#include "vmm/exit_names.h"

#include "vmm/vcpu.h"
#include "vmm/vmx_bits.h"

static const char *const exit_names[VCPU_EXIT_REASONS] = {
	[EXIT_REASON_EXCEPTION_NMI] = "exception",
	[EXIT_REASON_EXTERNAL_INTERRUPT] = "external-interrupt",
	[EXIT_REASON_TRIPLE_FAULT] = "triple-fault",
	[EXIT_REASON_INTERRUPT_WINDOW] = "interrupt-window",
	[EXIT_REASON_NMI_WINDOW] = "nmi-window",
	[EXIT_REASON_TASK_SWITCH] = "task-switch",
	[EXIT_REASON_CPUID] = "cpuid",
	[EXIT_REASON_GETSEC] = "getsec",
	[EXIT_REASON_HLT] = "hlt",
	[EXIT_REASON_INVD] = "invd",
	[EXIT_REASON_RDPMC] = "rdpmc",
	[EXIT_REASON_VMCALL] = "vmcall",
	[EXIT_REASON_VMCLEAR] = "vmclear",
	[EXIT_REASON_VMLAUNCH] = "vmlaunch",
	[EXIT_REASON_VMPTRLD] = "vmptrld",
	[EXIT_REASON_VMPTRST] = "vmptrst",
	[EXIT_REASON_VMREAD] = "vmread",
	[EXIT_REASON_VMRESUME] = "vmresume",
	[EXIT_REASON_VMWRITE] = "vmwrite",
	[EXIT_REASON_VMXOFF] = "vmxoff",
	[EXIT_REASON_VMXON] = "vmxon",
	[EXIT_REASON_CR_ACCESS] = "cr-access",
	[EXIT_REASON_DR_ACCESS] = "dr-access",
	[EXIT_REASON_IO] = "io",
	[EXIT_REASON_RDMSR] = "rdmsr",
	[EXIT_REASON_WRMSR] = "wrmsr",
	[EXIT_REASON_MWAIT] = "mwait",
	[EXIT_REASON_PAUSE] = "pause",
	[EXIT_REASON_MONITOR_TRAP_FLAG] = "monitor-trap-flag",
	[EXIT_REASON_MONITOR] = "monitor",
	[EXIT_REASON_TPR_BELOW_THRESHOLD] = "tpr-below-threshold",
	[EXIT_REASON_APIC_ACCESS] = "apic-access",
	[EXIT_REASON_VIRTUALIZED_EOI] = "virtualized-eoi",
	[EXIT_REASON_EPT_VIOLATION] = "ept-violation",
	[EXIT_REASON_EPT_MISCONFIG] = "ept-misconfig",
	[EXIT_REASON_INVEPT] = "invept",
	[EXIT_REASON_PREEMPTION_TIMER] = "preemption-timer",
	[EXIT_REASON_INVVPID] = "invvpid",
	[EXIT_REASON_WBINVD] = "wbinvd",
	[EXIT_REASON_XSETBV] = "xsetbv",
	[EXIT_REASON_APIC_WRITE] = "apic-write",
	[EXIT_REASON_INVPCID] = "invpcid",
	[EXIT_REASON_VMFUNC] = "vmfunc",
	[EXIT_REASON_ENCLS] = "encls",
	[EXIT_REASON_ENCLV] = "enclv",
	[EXIT_REASON_BUS_LOCK] = "bus-lock",
	[EXIT_REASON_NOTIFY] = "notify",
	[EXIT_REASON_SEAMCALL] = "seamcall",
	[EXIT_REASON_TDCALL] = "tdcall",
};

const char *exit_name(uint32_t reason)
{
	return reason < ARRAY_COUNT(exit_names) && exit_names[reason] != NULL ? exit_names[reason]
									      : "exit";
}
