/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by sched.c (which vCPU runs), sched_place.c (on which CPU) and sched_slice.c (slices). */
#ifndef UMBRA_VMM_SCHED_PRIV_H
#define UMBRA_VMM_SCHED_PRIV_H

#include "vmm/base/atomic.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"
#include "vmm/sched.h"

/*
 * Fields that other CPUs access are on other cache lines than fields that the CPU itself writes at
 * each slice, and two CPUs' queues share no line.
 */
#define SCHED_LINE __attribute__((aligned(64)))
struct run_queue {
	/* Only its own CPU uses these. */
	struct vcpu *last_run;
	/* Has yielded: at the next choice every other vCPU that wants to run comes first. */
	struct vcpu *yielded;
	struct vcpu *gave_up; /* the last vCPU that ran, if it halted or yielded */
	uint64_t run_end;     /* TSC at the end of the last slice; 0 after idling */
	uint64_t slice_begin, slice_end;
	uint64_t timer_deadline; /* the LAPIC timer was set to this ... */
	uint64_t timer_count;	 /* ... at this percpu timer_count; if that differs, it has fired */
	uint64_t served;	 /* TSC ticks spent on clocks of VMs (below) in this slice */
	uint32_t next_look;	 /* the next CPU that sched_give_away looks at */
	uint64_t looked;	 /* TSC when the work between slices was last done */
	uint64_t listen_ticks;	 /* it polls the console each so many TSC ticks; 0: never */

	/* These change when a vCPU comes, goes, or gets another weight. */
	struct lock lock SCHED_LINE;
	ATOMIC(uint32_t) count;
	ATOMIC(uint32_t) weight;     /* sum of all its vCPUs */
	ATOMIC(struct vcpu *) first; /* linked by priv->sched.next */

	/*
	 * Written by other CPUs. clock: the earliest of the clocks of the VMs whose first vCPU is
	 * on this queue. The clock of a VM is the TSC at which its devices have work next
	 * (vm_set_clock). 0: one of them has changed, look through all.
	 */
	ATOMIC(uint64_t) clock SCHED_LINE;
	ATOMIC(bool) woken; /* a sleeping vCPU was kicked */

	/*
	 * The virtual time (sched.c) that the vCPUs of this queue have reached. Other CPUs compare
	 * theirs with it.
	 */
	ATOMIC(uint64_t) virtual_now SCHED_LINE;
} SCHED_LINE;
_Static_assert(sizeof(struct run_queue) % 64 == 0, "no line is shared with the next CPU's");
_Static_assert(offsetof(struct run_queue, lock) % 64 == 0 &&
		       offsetof(struct run_queue, clock) % 64 == 0 &&
		       offsetof(struct run_queue, virtual_now) % 64 == 0,
	       "each kind of use has lines of its own");

/* --- sched_slice.c --- */

extern struct run_queue queues[CPU_MAX];
struct run_queue *sched_own_queue(void);

/* The shortest slice. Without it, a guest that keeps waking vCPUs could cut every slice short. */
#define SCHED_SLICE_MIN_US 100

/*
 * Claims a vCPU for this CPU until sched_release: until then vm_pause of its VM waits. Returns
 * false if the VM is paused or does not run. Own CPU: only on the CPU that has the vCPU on its
 * queue, here and below; for a queue, on the CPU that the queue belongs to.
 */
bool sched_claim(struct vcpu *vcpu);
void sched_release(struct vcpu *vcpu);

/* Charges so many TSC ticks to the vCPU. Own CPU. */
void sched_charge(struct vcpu *vcpu, uint64_t ticks);

/* Calls hooks.clock of the VMs whose first vCPU is on the queue and whose clock is due. Own CPU. */
void sched_serve_clocks(struct run_queue *queue);
/* The TSC at which sched_serve_clocks must be called next; 0: now. */
uint64_t sched_next_clock(const struct run_queue *queue);

/*
 * Returns the TSC at which this CPU must next interrupt the running vCPU to check something: the
 * clock of a VM, typed input, or the slice's end. Own CPU.
 */
uint64_t sched_next_look(const struct run_queue *queue, uint64_t now);

/* --- sched_place.c --- */

/*
 * How far a vCPU that moves may be from its new queue's virtual time, and how far ahead of
 * sched_front one that starts may be.
 */
#define SCHED_LAG_US 40000

/* The largest virtual time of any queue, approximately. */
uint64_t sched_front(void);

/* Raises the queue's virtual time to this value, unless it is there already. Own CPU. */
void sched_advance(struct run_queue *queue, uint64_t virtual_time);

/*
 * Called before and after an idle CPU waits. In between, other CPUs may move a vCPU to this CPU,
 * and then kick it. Afterwards the queue continues at the others' virtual time: time that it did
 * not use is lost. Own CPU.
 */
void sched_idle_begins(uint32_t cpu);
void sched_idle_over(struct run_queue *queue, uint32_t cpu);
/* Notes for sched_rouse_idle that this CPU, which is idle, did a step of work now. */
void sched_idle_worked(void);

/* Removes a vCPU from its queue. Own CPU, the queue's lock held. */
void sched_take_out(struct run_queue *queue, struct vcpu *vcpu);

/*
 * spare wants to run, but this CPU runs another vCPU first. Moves it to an idle CPU, or to a CPU
 * whose vCPUs have had more time, if that is worth it. Own CPU, no lock held.
 */
void sched_give_away(struct run_queue *queue, struct vcpu *spare);

/*
 * A user may have changed the weight or affinity of the VM: applies that to this vCPU, which is not
 * running. Own CPU.
 */
void sched_follow_wishes(struct run_queue *queue, struct vcpu *vcpu);

#endif
