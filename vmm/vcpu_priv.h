/* SPDX-License-Identifier: Apache-2.0 */
/* Private data of a vCPU, for vmm/ only. */
#ifndef UMBRA_VMM_VCPU_PRIV_H
#define UMBRA_VMM_VCPU_PRIV_H

#include "vmm/base/atomic.h"
#include "vmm/emul.h"
#include "vmm/vcpu.h"

/*
 * MSRs that keep the guest's values during exits, because the host does not use them (listed in
 * vcpu_state.c).
 */
#define VCPU_LIVE_MSR_MAX 8

/* Memory type range registers: the guest can read them back, but they have no effect. */
#define VCPU_MTRR_VARIABLE 8
#define VCPU_MTRR_FIXED	   11

/*
 * exit_cpuid.c: a cached CPUID result. An entry of zeros is valid too, so the cache needs no
 * set-up: its key stands for a leaf that does not exist and reads zero.
 */
#define CPUID_CACHE_SLOTS 32
struct cpuid_answer {
	uint64_t key; /* ~(leaf | subleaf << 32) */
	uint32_t regs[4];
};

struct msr_row;

/* Data of the scheduler for a vCPU. Its own CPU writes it; other CPUs read the atomic fields. */
struct sched_entity {
	struct vcpu *next; /* the next vCPU on the same CPU */
	/* TSC ticks that it has had, times SCHED_WEIGHT_DEFAULT / weight. */
	uint64_t virtual_time;
	uint32_t weight;	      /* its VM's weight, as its queue's sum has it */
	uint32_t wishes_seen;	      /* vm.wishes when weight and CPU were last updated */
	uint64_t ready_since;	      /* TSC; 0: it is not waiting for its CPU */
	uint64_t moved_at;	      /* TSC of its last move */
	ATOMIC(uint64_t) run_ticks;   /* for sched_times: on the CPU ... */
	ATOMIC(uint64_t) steal_ticks; /* ... and ready, while others ran */
	ATOMIC(uint32_t) on_cpu;      /* claimed (sched_claim); vm_pause waits for it */
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
	/*
	 * With keeps_debug_registers dr and dr6 are valid always, and this is what the guest
	 * reads.
	 */
	uint64_t dr7;
	bool told_breakpoints; /* the log has that they never hit */
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
	/* device_access.c: the fixed range of the last device, or NULL. It never moves. */
	const struct iobus_range *device_range;
	struct gmem_lent lent; /* hole.c: frames of ones; in the list gmem.lent unless empty */
	struct cpuid_answer cpuid_cache[CPUID_CACHE_SLOTS];
	struct emul_cache emul_cache;
};

/*
 * Other vCPUs read the state to find out whether all vCPUs of the VM sleep (vm_check_halted). A
 * vCPU that goes to sleep stores its own state, then reads the others', with a full barrier in
 * between: if two do so at the same time, at least one sees the other's. Own CPU.
 */
static inline void vcpu_set_state(struct vcpu *vcpu, enum vcpu_run_state state)
{
	atomic_store(&vcpu->state, state);
}

/* vcpu.c: makes the vCPU's VMCS current here, and loads its live registers. */
void vcpu_load(struct vcpu *vcpu);
/* Prepares the vCPU for another CPU: saves live registers, VMCLEAR. On the CPU that ran it. */
void vcpu_park(struct vcpu *vcpu);
/*
 * The vCPU leaves its CPU for good, because its VM has ended: VMCLEAR, live registers are dropped.
 * Only on the CPU that ran it.
 */
void vcpu_unload(struct vcpu *vcpu);
int vcpu_create(struct vm *vm, uint32_t id, struct vcpu **out);
void vcpu_destroy(struct vcpu *vcpu);
#endif
