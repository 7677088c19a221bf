/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine's VMX can do, and turning it on and off. Order at boot: vmx_preflight and
 * vmx_choose (BSP), smp start (each CPU: vmx_fits), vmx_init and vmx_start_all (BSP, before
 * smp_release).
 */
#ifndef UMBRA_VMM_VMX_H
#define UMBRA_VMM_VMX_H

#include "vmm/base/types.h"

/* Work before every VM entry that this CPU's flaws ask for (SDM, "Processor-Specific
 * Vulnerabilities"). */
#define VMX_FLUSH_L1D BIT(0) /* L1 terminal fault: IA32_FLUSH_CMD */
#define VMX_FLUSH_MDS BIT(1) /* microarchitectural data sampling: VERW */

/* Written by vmx_choose and vmx_init, constant from then on. */
struct vmx_caps {
	uint32_t revision;
	/* Controls as they go into a VMCS: what Umbra wants and this CPU offers. */
	uint32_t pin, cpu, cpu2, exit, entry;
	uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	uint64_t ept_vpid;
	uint64_t guest_cr4;	    /* bits of CR4 that a guest owns */
	uint64_t guest_cr4_on;	    /* bits that are on in guests, whatever these think */
	uint64_t guest_xcr0;	    /* bits of XCR0 that a guest may set; 0: no XSAVE */
	uint64_t arch_capabilities; /* the host's, 0 without */
	uint64_t host_spec_ctrl;    /* IA32_SPEC_CTRL in root mode, with switch_spec_ctrl */
	bool has_arch_capabilities;
	uint32_t max_basic_leaf; /* of CPUID */
	uint32_t xsave_bytes;	 /* what XSAVE of guest_xcr0 needs; 512 without XSAVE */
	uint8_t timer_shift;	 /* preemption timer counts every 2^n TSC ticks */
	uint32_t timer_round;	 /* 2^timer_shift - 1 */
	uint8_t entry_flush;	 /* VMX_FLUSH_* */
	bool preemption_timer;
	bool monitor_trap; /* CPU_MONITOR_TRAP_FLAG can be set */
	bool ins_outs_info;
	bool tpr_shadow;
	bool apic_accesses; /* xAPIC page accesses are virtualised or reported with their offset */
	bool virtual_delivery; /* implies APIC-register virtualisation, TPR shadow */
	bool vpid;
	bool xsaves;
	bool ibpb;
	bool spec_ctrl;
	bool switch_spec_ctrl; /* entry and exit load and store it (vmcs.c); else it stays live */
	bool no_large_exec;    /* struct ept_caps */
	bool fill_rsb;	/* what guests leave in the return stack buffer counts in root mode */
	bool flush_cmd; /* IA32_FLUSH_CMD exists */
};
const struct vmx_caps *vmx_caps(void);
/* RDTSCP, RDPID and IA32_TSC_AUX work in guests. */
bool vmx_has_rdtscp(void);
/* IA32_SPEC_CTRL exists. */
bool vmx_has_spec_ctrl(void);
/* It exists, and a guest's value stays in the CPU over exits. */
bool vmx_keeps_spec_ctrl(void);

/*
 * Says in words, on every console, each thing that this CPU lacks and Umbra needs, with the
 * firmware option to change where there is one. True when nothing is missing. BSP, any time after
 * log_init.
 */
bool vmx_preflight(void);

/* Reads the capabilities and chooses controls. Only after vmx_preflight was true. */
void vmx_choose(void);

/*
 * Any CPU, after vmx_choose: it can use the controls that were chosen, and firmware lets it enter
 * VMX operation. Else false, and why gets a clause.
 */
bool vmx_fits(char *why, size_t bytes);

/* Settles what depends on the flaws of all CPUs, and passes to ept/ what it may use. */
void vmx_init(void);

/*
 * Every online CPU: checks (and locks, if open) IA32_FEATURE_CONTROL, sets the fixed bits, VMXON.
 * ERR_UNSUPPORTED when any CPU could not; it was named in the log.
 */
int vmx_start_all(void);

/*
 * This CPU: leaves VMX operation, if it is in it; no vCPU can be used here any more. For the end of
 * the machine, at any instruction: the CPU then writes to no VMCS, and heeds INIT.
 */
void vmx_stop_this_cpu(void);

#endif
