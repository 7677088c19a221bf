/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine: memory, bus, vCPUs, and the hooks through which the platform (guest/) gives it
 * a virtual APIC. Life cycle: vm_create, add memory and devices, vm_add_vcpu, vm_start. Any code
 * may end it with vm_end. When all its vCPUs have left the scheduler, vm_ended() returns true, and
 * vm_destroy may be called.
 */
#ifndef UMBRA_VMM_VM_H
#define UMBRA_VMM_VM_H

#include "ept/gmem.h"
#include "vmm/base/atomic.h"
#include "vmm/base/percpu.h"
#include "vmm/base/types.h"
#include "vmm/iobus.h"

#define VM_MAX	    64
#define VM_VCPU_MAX 64
#define VM_NAME_MAX 32
/*
 * Bytes of vm_end's detail, with the end of the string; the longest text contains two 64-bit
 * numbers.
 */
#define VM_DETAIL_MAX 128

/*
 * The address of every vCPU's xAPIC page, which cannot be moved. Accesses go to
 * vm_hooks.apic_access.
 */
#define VM_APIC_BASE 0xfee00000ul

struct vcpu;
struct vm;

enum vm_state {
	VM_BUILDING,
	VM_RUNNING,
	VM_ENDING, /* vm_end was called; vCPUs leave at their next exit */
	VM_ENDED,  /* no CPU runs it any more */
};

/* Why a VM ended. Only the first reason counts. */
enum vm_end_reason {
	VM_END_NONE,
	VM_END_POWER_OFF, /* the guest asked (ACPI S5) */
	VM_END_RESET,	  /* the guest asked; boot/ builds it again */
	VM_END_TRIPLE_FAULT,
	VM_END_ENTRY_FAILED, /* VM entry refused the guest state or a control */
	VM_END_UNHANDLED,    /* an exit or access that Umbra does not support */
	VM_END_GUEST_PANIC,  /* its kernel reported a panic (pvpanic) */
	VM_END_HALTED,	     /* HLT with interrupts off on every vCPU: nothing can wake it */
	VM_END_NO_MEMORY,
	VM_END_TAMPERED,  /* an attacker changed its sealed memory */
	VM_END_ERROR,	  /* a failure of the hypervisor that affects only this VM */
	VM_END_DESTROYED, /* a user requested it */
};
const char *vm_end_reason_name(enum vm_end_reason reason);

/*
 * The functions of the virtual APIC and the platform. Constant, in guest/platform.c. They are
 * called on the CPU that runs the vCPU unless noted.
 */
struct vm_hooks {
	/*
	 * Highest vector that can be delivered now (IRR above PPR), or -1. Also runs expired
	 * timers.
	 */
	int (*irq_pending)(struct vcpu *vcpu);
	/* Without virtual-interrupt delivery: the vector was injected; moves it from IRR to ISR. */
	void (*irq_accepted)(struct vcpu *vcpu, uint8_t vector);
	/*
	 * Highest vector in IRR of any priority, or -1: RVI with virtual-interrupt delivery, else
	 * for the TPR threshold. Runs expired timers.
	 */
	int (*irr_highest)(struct vcpu *vcpu);
	/* EOI-induced exit (SDM, "EOI Virtualization") for a vector of the EOI-exit bitmap. */
	void (*eoi)(struct vcpu *vcpu, uint8_t vector);
	/*
	 * An EOI write in an APIC-access exit or x2APIC WRMSR: retires the highest vector of ISR.
	 */
	void (*eoi_highest)(struct vcpu *vcpu);
	/*
	 * APIC-write exit: the register at this offset of the virtual-APIC page was already
	 * written.
	 */
	void (*apic_written)(struct vcpu *vcpu, uint32_t offset);
	/* A decoded access to a register at offset (0..0xfff) of the APIC page, in xAPIC mode. */
	void (*apic_access)(struct vcpu *vcpu, struct io_access *access);
	/* CR8 / TPR without TPR shadow. value is 0..15. */
	uint8_t (*cr8_read)(struct vcpu *vcpu);
	void (*cr8_write)(struct vcpu *vcpu, uint8_t value);
	/*
	 * MSRs of the platform (IA32_APIC_BASE, x2APIC range, IA32_TSC_DEADLINE). ERR_NOTFOUND:
	 * #GP.
	 */
	int (*msr_read)(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
	int (*msr_write)(struct vcpu *vcpu, uint32_t msr, uint64_t value);
	/*
	 * Makes the last changes to a CPUID leaf: APIC ID, hypervisor leaves 4000_00xxH; vmm itself
	 * sets OSXSAVE. regs = eax..edx.
	 */
	void (*cpuid)(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
	/*
	 * Earliest host TSC at which irq_pending may change because of the vCPU's own state;
	 * UINT64_MAX: never.
	 */
	uint64_t (*next_deadline)(struct vcpu *vcpu);
	/*
	 * Polls input and periodic device work. Called between time slices, about each millisecond,
	 * and while idle, on vCPU 0's CPU.
	 */
	void (*poll)(struct vm *vm);
	/*
	 * Called when the TSC of vm_set_clock has passed: clears it (vm_forget_clock), does what is
	 * due, and lets each device set its next deadline. Called whatever the vCPUs do, on the CPU
	 * of the first vCPU.
	 */
	void (*clock)(struct vm *vm, uint64_t tsc);
	/*
	 * The VM was paused for so many ticks of the host's TSC and goes on now: clocks that count
	 * these ticks must continue where they stopped. No vCPU is on a CPU. Boot processor.
	 */
	void (*skip_time)(struct vm *vm, uint64_t ticks);
	/*
	 * on: the VM is paused. From the return until the call with on = false, nothing that other
	 * VMs do reaches its devices and memory. May wait until an access that has begun is over.
	 * Boot processor.
	 */
	void (*pause)(struct vm *vm, bool on);
	/*
	 * Does a bounded turn of device work that this vCPU has requested (vcpu_add_work). Returns
	 * until when (host TSC) the vCPU may run before this must be called again; 0: nothing is
	 * left. Called between its exits and entries. While something is left, the vCPU counts as
	 * runnable even if it is halted.
	 *
	 * leaves: the vCPU gives its CPU up, or its VM has ended. Then work that was put off to
	 * gather more is not put off any longer. Other work is left for the vCPU's next time on a
	 * CPU, or is done now if the VM has ended. If another call must follow before the vCPU
	 * leaves, the returned time has already passed.
	 */
	uint64_t (*work)(struct vcpu *vcpu, bool leaves);
};

struct vm {
	char name[VM_NAME_MAX];
	uint32_t id; /* small, unique among existing VMs; VPIDs are computed from it */
	ATOMIC(enum vm_state) state;
	ATOMIC(enum vm_end_reason) end_reason;
	char end_detail[VM_DETAIL_MAX]; /* a further clause for users, may be empty */
	struct gmem gmem;
	struct iobus iobus;
	const struct vm_hooks *hooks;
	void *platform; /* owned by guest/platform.c */
	struct vcpu *vcpus[VM_VCPU_MAX];
	uint32_t vcpu_count;
	ATOMIC(uint32_t) running; /* vCPUs that were given to the scheduler and have not left */
	/*
	 * Share of a CPU compared with other VMs; SCHED_WEIGHT_DEFAULT at first. See
	 * sched_set_weight.
	 */
	ATOMIC(uint32_t) weight;
	ATOMIC(uint64_t) affinity[CPU_MAX / 64]; /* host CPUs that may run it; all if none is set */
	ATOMIC(uint32_t) wishes;      /* counts changes of weight and affinity since the start */
	ATOMIC(bool) wrote_read_only; /* a write to read-only memory was logged once */
	ATOMIC(bool) odd_access;      /* an access to a device's page was logged once */
	ATOMIC(bool) paused;	      /* vm_pause */
	uint64_t paused_tsc;	      /* TSC when the VM was paused */
	void *apic_access_page;	      /* for the xAPIC page where the CPU virtualises it (SDM,
					 * "APIC-Access Page") */
	/* Under gmem.lock: how many vCPUs are not in xAPIC mode; whether the page is in the EPT. */
	uint32_t apic_away;
	bool apic_mapped;
	/* hole.c, under gmem.lock: the frame of ones, and how many EPT tables were made for it. */
	void *hole_page;
	uint32_t hole_tables;
	uint64_t tsc_offset; /* guest TSC - host TSC for a vCPU at its start */
	uint64_t started_tsc;
	ATOMIC(uint64_t) clock_deadline; /* of vm_set_clock */
	/*
	 * gathering: the devices (bits that guest/ assigns) for which a vCPU puts work off to
	 * gather more, or has work left for its next slice. A vCPU that halts may have added to
	 * that work, and waits for it: so it calls hooks.work, too.
	 *
	 * last_halt, if the VM has several vCPUs: the TSC of the last HLT, with the vCPU's number
	 * in its low bits. A vCPU that halts sets last_halt, then reads gathering. A vCPU that puts
	 * work off sets gathering, then reads last_halt. So at least one of them sees what the
	 * other has set.
	 */
	ATOMIC(uint32_t) gathering;
	ATOMIC(uint64_t) last_halt;
};

/* Returns ERR_NOMEM. Copies the name. hooks must outlive the VM. */
int vm_create(const char *name, const struct vm_hooks *hooks, void *platform, struct vm **out);
/* Adds a vCPU that waits for INIT-SIPI (id > 0) or for vcpu_set_long_mode (id 0). */
int vm_add_vcpu(struct vm *vm, struct vcpu **out);
/* Gives the vCPUs to the scheduler. */
void vm_start(struct vm *vm);
/*
 * Ends the VM for the reason; only the first call counts. detail may be NULL. Any CPU, any context.
 */
void vm_end(struct vm *vm, enum vm_end_reason reason, const char *detail);
/*
 * Keeps the vCPUs and devices of a running VM off the CPUs until vm_resume. When vm_pause returns,
 * none of them is on a CPU, and nothing that other VMs do reaches the VM. The guest's TSC and
 * timers stand still meanwhile, so no guest takes the pause for a hung vCPU. A second call of
 * either has no effect. Not from a hook. Boot processor.
 */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
static inline bool vm_is_paused(const struct vm *vm)
{
	return atomic_load_relaxed(&vm->paused);
}
/*
 * A device of the VM has work at this host TSC (UINT64_MAX: none). The earliest deadline of all
 * devices is the clock of the VM, at which hooks.clock is called. If a device replaces its deadline
 * by a later one, the earlier one stays, and hooks.clock is called once in vain. The clock belongs
 * to the VM, not to a vCPU: hooks.clock is called even if no vCPU runs. Any CPU, any lock may be
 * held.
 */
void vm_set_clock(struct vm *vm, uint64_t deadline);
/* For hooks.clock only: no device has a deadline until one sets it again. */
void vm_forget_clock(struct vm *vm);
/* Number of VMs between vm_create and vm_destroy; each has an id, and VPIDs from it. */
uint32_t vm_count(void);
/* True when no CPU runs any of its vCPUs any more. */
bool vm_ended(struct vm *vm);
/* Logs the exits of all vCPUs by reason; the platform calls it when a VM has ended. */
void vm_log_exits(const struct vm *vm);
/* Frees everything. Only after vm_ended, or before vm_start. Logs nothing. */
void vm_destroy(struct vm *vm);

/* Makes the vCPU check its pending events: wakes it from HLT, or takes it out of guest mode. */
void vcpu_kick(struct vcpu *vcpu);

#endif
