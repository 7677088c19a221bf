/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMX features of this machine, and turning VMX on and off. Order at boot: vmx_preflight and
 * vmx_choose (BSP), start of the other CPUs (each calls vmx_fits), vmx_init and vmx_start_all (BSP,
 * before smp_release).
 */
#ifndef UMBRA_VMM_VMX_H
#define UMBRA_VMM_VMX_H

#include "vmm/base/types.h"

/*
 * What must be flushed before every VM entry because of this CPU's flaws (SDM, "Processor-Specific
 * Vulnerabilities").
 */
#define VMX_FLUSH_L1D BIT(0) /* L1 terminal fault: IA32_FLUSH_CMD */
#define VMX_FLUSH_MDS BIT(1) /* microarchitectural data sampling: VERW */

/* Written by vmx_choose and vmx_init, constant afterwards. */
struct vmx_caps {
	uint32_t revision;
	/* Controls for a VMCS: what Umbra wants and this CPU supports. */
	uint32_t pin, cpu, cpu2, exit, entry;
	uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	uint64_t ept_vpid;
	uint64_t guest_cr4;	    /* bits of CR4 that a guest owns */
	uint64_t guest_cr4_on;	    /* bits that are set while a guest runs, whatever it wrote */
	uint64_t guest_xcr0;	    /* bits of XCR0 that a guest may set; 0: no XSAVE */
	uint64_t arch_capabilities; /* the host's; 0 if it does not exist */
	uint64_t host_spec_ctrl;    /* IA32_SPEC_CTRL in root mode, with switch_spec_ctrl */
	bool has_arch_capabilities;
	uint32_t max_basic_leaf; /* of CPUID */
	uint32_t xsave_bytes;	 /* size of the XSAVE area for guest_xcr0; 512 without XSAVE */
	uint8_t timer_shift;	 /* preemption timer counts every 2^n TSC ticks */
	uint32_t timer_round;	 /* 2^timer_shift - 1 */
	uint8_t entry_flush;	 /* VMX_FLUSH_* */
	bool preemption_timer;
	bool monitor_trap; /* the CPU supports CPU_MONITOR_TRAP_FLAG */
	bool ins_outs_info;
	bool tpr_shadow;
	bool apic_accesses; /* xAPIC page accesses are virtualised or reported with their offset */
	bool virtual_delivery; /* includes APIC-register virtualisation and TPR shadow */
	bool vpid;
	bool xsaves;
	bool ibpb;
	bool spec_ctrl;
	/* Entry and exit load and store it (vmcs.c); else it keeps the guest's value. */
	bool switch_spec_ctrl;
	bool no_large_exec; /* for struct ept_caps */
	bool fill_rsb;	    /* guests' entries in the return stack buffer affect root mode */
	bool flush_cmd;	    /* IA32_FLUSH_CMD exists */
	/* DR0 to DR3 are Umbra's: MOV DR exits, and guests have no breakpoints (exit_dr.c). */
	bool keeps_debug_registers;
};
const struct vmx_caps *vmx_caps(void);
/* Can guests use RDTSCP, RDPID and IA32_TSC_AUX? */
bool vmx_has_rdtscp(void);
/* Does IA32_SPEC_CTRL exist? */
bool vmx_has_spec_ctrl(void);
/* Does IA32_SPEC_CTRL exist, and keep the guest's value during exits? */
bool vmx_keeps_spec_ctrl(void);

/*
 * Logs each feature that Umbra needs and this CPU lacks, with the firmware option to change if
 * there is one. Returns true when nothing is missing. BSP, any time after log_init.
 */
bool vmx_preflight(void);

/* Can MOV DR exit on this CPU? Only after vmx_preflight returned true. */
bool vmx_can_keep_debug_registers(void);

/*
 * Reads the capabilities and chooses controls. Only after vmx_preflight returned true. With
 * keep_debug_registers, which needs vmx_can_keep_debug_registers, no guest ever gets at the CPU's
 * DR0 to DR3.
 */
void vmx_choose(bool keep_debug_registers);

/*
 * Can this CPU use the chosen controls, and does firmware let it enter VMX operation? If not,
 * returns false, and why holds a clause. Any CPU, after vmx_choose.
 */
bool vmx_fits(char *why, size_t bytes);

/* Settles what depends on the flaws of all CPUs, and passes ept/ its capabilities. */
void vmx_init(void);

/*
 * On every online CPU: checks (and locks, if open) IA32_FEATURE_CONTROL, sets the fixed bits,
 * VMXON. Returns ERR_UNSUPPORTED when a CPU failed; the log names it.
 */
int vmx_start_all(void);

/*
 * Leaves VMX operation, if this CPU is in it; no vCPU can run here any more. For the end of the
 * machine, at any instruction: afterwards the CPU writes to no VMCS, and INIT is not blocked.
 */
void vmx_stop_this_cpu(void);

#endif
