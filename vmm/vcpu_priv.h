/* SPDX-License-Identifier: Apache-2.0 */
/* Private data of a vCPU, for vmm/ only. */
#ifndef UMBRA_VMM_VCPU_PRIV_H
#define UMBRA_VMM_VCPU_PRIV_H

#include "vmm/base/atomic.h"
#include "vmm/base/x86.h"
#include "vmm/emul.h"
#include "vmm/vcpu.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/*
 * MSRs that keep the guest's values during exits, because the host does not use them (listed in
 * vcpu_state.c).
 */
#define VCPU_LIVE_MSR_MAX 8

/* Memory type range registers: the guest can read them back, but they have no effect. */
#define VCPU_MTRR_VARIABLE 8
#define VCPU_MTRR_FIXED	   11

/*
 * exit_cpuid.c: a cached CPUID result. An all-zero entry is valid: by the key's complement it is an
 * entry for a leaf that does not exist.
 */
#define CPUID_CACHE_SLOTS 32
struct cpuid_answer {
	uint64_t key; /* ~(leaf | subleaf << 32) */
	uint32_t regs[4];
};

struct msr_row;

#define VCPU_NO_PAGE UINT64_MAX

/* More pages than one instruction can touch: a gather of 16 elements across pages, and its code. */
#define HOLES_MAX 36

/* Data of the scheduler for a vCPU. Only its own CPU uses it, except on_cpu. */
struct sched_entity {
	struct vcpu *next; /* the next vCPU on the same CPU */
	/* TSC ticks that it has had, times SCHED_WEIGHT_DEFAULT / weight. */
	uint64_t virtual_time;
	uint32_t weight;	      /* its VM's weight when it was queued */
	uint32_t wishes_seen;	      /* vm.wishes when weight and CPU were last updated */
	uint64_t ready_since;	      /* TSC; 0: it is not waiting for its CPU */
	uint64_t moved_at;	      /* TSC of its last move */
	ATOMIC(uint64_t) run_ticks;   /* for sched_times: on the CPU ... */
	ATOMIC(uint64_t) steal_ticks; /* ... and runnable, while others were on it */
	ATOMIC(uint32_t) on_cpu;      /* runs or is polled right now; for vm_pause */
};

/* SDM vol. 3, "VM-Exit Controls for MSRs": an entry of a list that the CPU loads or stores. */
struct msr_slot {
	uint32_t msr;
	uint32_t reserved;
	uint64_t value;
} __attribute__((aligned(16)));

struct vcpu_private {
	uint64_t host_rsp; /* for the VMCS field HOST_RSP; used by vmx_entry.asm */

	bool vmcs_ready;
	ATOMIC(bool) halted_if; /* RFLAGS.IF at HLT; stored before the state becomes VCPU_HALTED */
	uint32_t loaded_cpu;	/* index of the CPU whose host state the VMCS holds */

	/* The values of VMCS fields that only Umbra writes. */
	uint32_t cpu_controls;
	uint32_t tpr_threshold;
	uint64_t deferred_interrupt; /* event information of an interrupt that was displaced by
				      * an exception */

	uint64_t timer_deadline; /* host TSC, from hooks.next_deadline */
	uint64_t tsc_offset;
	uint64_t tsc_adjust;

	enum vcpu_apic_mode apic_mode;
	uint64_t eoi_exit_bitmap[4];

	/* vcpu_state.c: valid while another vCPU's values are in the CPU; XCR0 always. */
	uint64_t xcr0;
	void *fpu;
	uint64_t dr[4], dr6, cr2;
	uint64_t live_msr[VCPU_LIVE_MSR_MAX];

	/*
	 * With switch_spec_ctrl: the guest's value, stored by each exit and loaded by each entry.
	 */
	struct msr_slot spec_ctrl;

	uint64_t msr_pat, msr_misc_enable, msr_mtrr_def_type;
	uint64_t mtrr_variable[2 * VCPU_MTRR_VARIABLE];
	uint64_t mtrr_fixed[VCPU_MTRR_FIXED];

	struct vcpu_long_mode start;
	bool has_start;

	struct sched_entity sched;

	const struct msr_row *msr_row; /* msr.c: the row that was found last */
	/*
	 * exit_ept.c: the last page in which no RAM was found, or VCPU_NO_PAGE, and the last
	 * device, or NULL. A VM's regions and devices do not move.
	 */
	uint64_t device_page;
	const struct iobus_range *device_range;
	/* hole.c: pages to which a frame of ones is lent for this vCPU. */
	gpa_t holes[HOLES_MAX];
	uint32_t hole_count;
	struct cpuid_answer cpuid_cache[CPUID_CACHE_SLOTS];
	struct emul_cache emul_cache;
};

/* Outside of 64-bit mode only the low half counts; the SDM leaves the upper half undefined then. */
static inline bool vcpu_in_64bit_mode(void)
{
	return (vmread(VMCS_GUEST_EFER) & 0x400) != 0 &&
	       (vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEG_AR_L) != 0;
}

/* Does the guest's RFLAGS request a #DB after each instruction? */
static inline bool vcpu_single_steps(uint64_t rflags)
{
	return (rflags & RFLAGS_TF) != 0 && (vmread(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF) == 0;
}

/* Registers by the hardware's number, including RSP. */
static inline uint64_t vcpu_get_gpr(const struct vcpu *vcpu, unsigned number)
{
	return number == GPR_RSP ? vmread(VMCS_GUEST_RSP) : vcpu->regs.gpr[number & 15];
}

static inline void vcpu_set_gpr(struct vcpu *vcpu, unsigned number, uint64_t value)
{
	if (number == GPR_RSP) {
		vmwrite(VMCS_GUEST_RSP, value);
	} else {
		vcpu->regs.gpr[number & 15] = value;
	}
}

/*
 * Siblings read the state to find out whether all vCPUs sleep (vm_check_halted). A vCPU that goes
 * to sleep first stores its state, then reads the others', with a full barrier in between: if two
 * do so at the same time, the last one sees the other. Own CPU.
 */
static inline void vcpu_set_state(struct vcpu *vcpu, enum vcpu_run_state state)
{
	atomic_store(&vcpu->state, state);
}

/* Sets which window exits are on: CPU_INTERRUPT_WINDOW_EXITING, CPU_NMI_WINDOW_EXITING. */
static inline void vcpu_set_windows(struct vcpu *vcpu, uint32_t windows)
{
	const uint32_t both = CPU_INTERRUPT_WINDOW_EXITING | CPU_NMI_WINDOW_EXITING;
	uint32_t value = (vcpu->priv->cpu_controls & ~both) | windows;

	if (value != vcpu->priv->cpu_controls) {
		vcpu->priv->cpu_controls = value;
		vmwrite(VMCS_CPU_CONTROLS, value);
	}
}

/*
 * Flushes the translations that this CPU has for the vCPU, after an operation that flushes the TLB
 * on a real CPU. Without VPID each entry and exit does this.
 */
static inline void vcpu_flush_translations(const struct vcpu *vcpu)
{
	if (vmx_caps()->vpid) {
		invvpid_single(vcpu->vpid);
	}
}

/* vcpu.c: makes the vCPU's VMCS current here, and loads its live registers. */
void vcpu_load(struct vcpu *vcpu);
/* Prepares the vCPU for another CPU: saves live registers, VMCLEAR. On the CPU that ran it. */
void vcpu_park(struct vcpu *vcpu);
/*
 * The vCPU leaves the CPU for good: VMCLEAR, live registers are dropped. Only on the CPU that ran
 * it.
 */
void vcpu_unload(struct vcpu *vcpu);
/* vcpu_run.c: runs until slice_end (host TSC), HLT, or the end of the VM. Interrupts off. */
void vcpu_run(struct vcpu *vcpu, uint64_t slice_end);
/* Takes requests of other CPUs; true when the vCPU has something to run for. Own CPU. */
bool vcpu_wake(struct vcpu *vcpu);
int vcpu_create(struct vm *vm, uint32_t id, struct vcpu **out);
void vcpu_destroy(struct vcpu *vcpu);
/* Logs the registers of a vCPU that failed. Its VMCS is current. */
void vcpu_dump(const struct vcpu *vcpu);

/* vcpu_tsc.c: sets the guest's TSC back by so many ticks. The VM is paused. */
void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks);
/* The guest writes its TSC, or IA32_TSC_ADJUST. Own CPU, VMCS current. */
void vcpu_write_tsc(struct vcpu *vcpu, uint64_t value);
void vcpu_write_tsc_adjust(struct vcpu *vcpu, uint64_t value);

/* vcpu_state.c: guest registers that stay in the CPU. Own CPU, except the first two. */
int vcpu_state_alloc(struct vcpu *vcpu);
void vcpu_state_free(struct vcpu *vcpu);
/* Saves the CPU's live registers to `from` and loads those of `to`. One of them may be NULL. */
void vcpu_state_switch(struct vcpu *from, struct vcpu *to);
/*
 * INIT of the vCPU that is loaded here: resets debug registers and CR2 (SDM, table of states after
 * INIT).
 */
void vcpu_state_reset(void);
/* For the guest's XSETBV; the value is valid. */
void vcpu_state_set_xcr0(struct vcpu *vcpu, uint64_t xcr0);
void vcpu_state_set_cr2(uint64_t cr2);
void vcpu_state_change_dr6(uint64_t clear, uint64_t set);

/* vmx_entry.asm: into the guest and back. */
enum vmx_enter_result {
	VMX_ENTER_EXITED,     /* the reason is in the VMCS; also for entries that failed because of
			   * guest state */
	VMX_ENTER_FAIL_VALID, /* the error is in VMCS_INSTRUCTION_ERROR */
	VMX_ENTER_FAIL_INVALID, /* no current VMCS */
};
uint32_t vmx_enter(struct vcpu *vcpu, struct vcpu_private *priv, bool launched);
void vmx_fill_rsb(void);
void vmx_exit_entry(void); /* HOST_RIP points to it; do not call it */

#endif
