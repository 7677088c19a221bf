/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine: memory, bus, vCPUs, and the hooks by which the platform (guest/) gives it a
 * virtual APIC. Life cycle: vm_create, add memory and devices, vm_add_vcpu, vm_start; it ends with
 * vm_end from anywhere; when the scheduler has seen all its vCPUs off, vm_ended() says so and
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
/* Bytes of vm_end's detail, with the end of the string; the longest says two numbers of 64 bits. */
#define VM_DETAIL_MAX 128

/* Where every vCPU's xAPIC page lies; it cannot be moved. Accesses go to vm_hooks.apic_access. */
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
	VM_END_UNHANDLED,    /* an exit or access that no policy knows */
	VM_END_GUEST_PANIC,  /* its kernel said so (pvpanic) */
	VM_END_HALTED,	     /* HLT with interrupts off on every vCPU: nothing can wake it */
	VM_END_NO_MEMORY,
	VM_END_ERROR,	  /* hypervisor-side failure for this VM alone */
	VM_END_DESTROYED, /* a person wanted it */
};
const char *vm_end_reason_name(enum vm_end_reason reason);

/*
 * What the virtual APIC and the platform own. Filled once, const, in guest/platform.c. All are
 * called on the CPU that runs the vCPU unless noted.
 */
struct vm_hooks {
	/* Highest vector that could be delivered now (IRR above PPR), or -1. Also runs expired
	 * timers. */
	int (*irq_pending)(struct vcpu *vcpu);
	/* Without virtual-interrupt delivery: the vector was injected, IRR -> ISR. */
	void (*irq_accepted)(struct vcpu *vcpu, uint8_t vector);
	/*
	 * Highest vector in IRR of any priority, or -1: RVI with virtual-interrupt delivery, else
	 * for the TPR threshold. Runs expired timers.
	 */
	int (*irr_highest)(struct vcpu *vcpu);
	/* EOI-induced exit (SDM, "EOI Virtualization") for a vector of the EOI-exit bitmap. */
	void (*eoi)(struct vcpu *vcpu, uint8_t vector);
	/* EOI write seen in an APIC-access exit or x2APIC WRMSR: retires the highest vector of ISR.
	 */
	void (*eoi_highest)(struct vcpu *vcpu);
	/* APIC-write exit: the register at offset of the virtual-APIC page was written already. */
	void (*apic_written)(struct vcpu *vcpu, uint32_t offset);
	/* xAPIC register access at offset (0..0xfff) of the APIC page, decoded; and x2APIC MSRs. */
	void (*apic_access)(struct vcpu *vcpu, struct io_access *access);
	/* CR8 / TPR without TPR shadow. value is 0..15. */
	uint8_t (*cr8_read)(struct vcpu *vcpu);
	void (*cr8_write)(struct vcpu *vcpu, uint8_t value);
	/* MSRs of the platform (IA32_APIC_BASE, x2APIC range, IA32_TSC_DEADLINE). ERR_NOTFOUND:
	 * #GP. */
	int (*msr_read)(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
	int (*msr_write)(struct vcpu *vcpu, uint32_t msr, uint64_t value);
	/* Last word on a CPUID leaf: APIC ID, OSXSAVE is vmm's own, hypervisor leaves 4000_00xxH.
	 * regs = eax..edx. */
	void (*cpuid)(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
	/*
	 * Earliest TSC (host) at which irq_pending may change by what the vCPU itself has;
	 * UINT64_MAX when never.
	 */
	uint64_t (*next_deadline)(struct vcpu *vcpu);
	/* Looks for input and periodic device work. End of each time slice and while idle, on vCPU
	 * 0's CPU. */
	void (*poll)(struct vm *vm);
	/*
	 * vm_set_clock's TSC has passed: forgets it (vm_forget_clock), does what is due, and has
	 * each device set its next. Whatever the vCPUs do meanwhile, on the CPU that has the first
	 * of them.
	 */
	void (*clock)(struct vm *vm, uint64_t tsc);
	/*
	 * The VM was paused for so many ticks of the host's TSC and goes on now: clocks that are
	 * kept in these have to go on from where they stood. No vCPU is on a CPU. Boot processor.
	 */
	void (*skip_time)(struct vm *vm, uint64_t ticks);
	/*
	 * A bounded turn of device work that this vCPU has caused (vcpu_add_work). Returns whether
	 * there is more. Called between its exits and entries; it counts as runnable as long as
	 * there is, even halted.
	 */
	bool (*work)(struct vcpu *vcpu);
};

struct vm {
	char name[VM_NAME_MAX];
	uint32_t id; /* small, unique among living VMs; also feeds the VPIDs */
	enum vm_state state;
	enum vm_end_reason end_reason;
	char end_detail[VM_DETAIL_MAX]; /* one more clause for people, may be empty */
	struct gmem gmem;
	struct iobus iobus;
	const struct vm_hooks *hooks;
	void *platform; /* guest/platform.c's */
	struct vcpu *vcpus[VM_VCPU_MAX];
	uint32_t vcpu_count;
	ATOMIC(uint32_t) running; /* vCPUs handed to the scheduler and not yet off */
	uint32_t weight; /* share of a CPU beside others; SCHED_WEIGHT_DEFAULT at first; read when a
			    vCPU is put on a queue */
	uint64_t
		affinity[CPU_MAX / 64]; /* host CPUs that may run it; none set: all; atomic words */
	ATOMIC(uint32_t) wishes;	/* changes of these two since the start (sched.h) */
	ATOMIC(bool) wrote_read_only;	/* that was logged once */
	ATOMIC(bool) odd_access;	/* one in a device's page was logged once */
	bool paused;			/* atomic; vm_pause */
	uint64_t paused_tsc;		/* since when */
	void *apic_access_page;		/* backs the xAPIC page where the CPU virtualises it (SDM,
				   "APIC-Access Page") */
	/* Under gmem.lock: vCPUs that are not in xAPIC mode; the page is in the EPT. */
	uint32_t apic_away;
	bool apic_mapped;
	/* hole.c, under gmem.lock: the frame of ones, and EPT tables that were made for it. */
	void *hole_page;
	uint32_t hole_tables;
	uint64_t tsc_offset; /* guest TSC - host TSC that a vCPU starts with */
	uint64_t started_tsc;
	ATOMIC(uint64_t) clock_deadline; /* of vm_set_clock */
};

/* ERR_NOMEM; the name is copied. hooks must outlive the VM. */
int vm_create(const char *name, const struct vm_hooks *hooks, void *platform, struct vm **out);
/* Adds a vCPU that waits for INIT-SIPI (id > 0) or for vcpu_set_state_* (id 0). */
int vm_add_vcpu(struct vm *vm, struct vcpu **out);
/* Hands the vCPUs to the scheduler. */
void vm_start(struct vm *vm);
/* Ends the VM for the reason; the first call wins. detail may be NULL. Any CPU, any context. */
void vm_end(struct vm *vm, enum vm_end_reason reason, const char *detail);
/*
 * Keeps the vCPUs and devices of a running VM from the CPUs until vm_resume; on return of vm_pause
 * none is on one. The guest's TSC and timers stand still meanwhile, so that no guest takes the
 * pause for a vCPU that hangs. Either may be called twice. Not from a hook. Boot processor.
 */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
/*
 * A device of the VM has work of its own at this TSC (host); UINT64_MAX: none. The earliest
 * deadline of all devices counts. A device whose deadline moves to a later time sets that; the
 * earlier one stays, and hooks.clock is called once in vain. Their time is the VM's, not a vCPU's:
 * hooks.clock is called then though no vCPU runs. Any CPU, any lock held.
 */
void vm_set_clock(struct vm *vm, uint64_t deadline);
/* For hooks.clock alone: no device has a deadline until it sets one again. */
void vm_forget_clock(struct vm *vm);
/* VMs between vm_create and vm_destroy: each has an id, and VPIDs by it. */
uint32_t vm_count(void);
/* True once no CPU runs any of its vCPUs. */
bool vm_ended(struct vm *vm);
/* Exits of all vCPUs by reason, to the log; the platform prints it when a VM ended. */
void vm_log_exits(const struct vm *vm);
/* Frees everything. Only after vm_ended, or before vm_start. Prints nothing. */
void vm_destroy(struct vm *vm);

/* Makes the vCPU look at its pending events: wakes it from HLT, or takes it out of guest mode. */
void vcpu_kick(struct vcpu *vcpu);

#endif
