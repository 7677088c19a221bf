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
	struct vcpu *yielded; /* runs last, once */
	struct vcpu *gave_up; /* the last vCPU that ran, if it halted or yielded */
	uint64_t run_end;     /* TSC of the last vCPU's end; 0 after idling */
	uint64_t slice_begin, slice_end;
	uint64_t timer_deadline; /* the LAPIC timer is set to this ... */
	uint64_t timer_count;	 /* ... unless it has fired since */
	uint64_t served;	 /* TSC ticks spent on clocks of VMs in this slice */
	uint32_t next_look;	 /* the next CPU that give_away looks at */
	uint64_t looked;	 /* TSC of the last look between two slices */
	uint64_t listen_ticks;	 /* this CPU polls the console after so many; 0: it need not */

	/* Changes when a vCPU comes or goes. */
	struct lock lock SCHED_LINE;
	ATOMIC(uint32_t) count;
	ATOMIC(uint32_t) weight;     /* sum of all its vCPUs */
	ATOMIC(struct vcpu *) first; /* linked by priv->sched.next */

	/* Written by other CPUs. */
	ATOMIC(uint64_t) clock SCHED_LINE; /* TSC at which a VM's devices have work; 0: check */
	ATOMIC(bool) woken;		   /* a sleeping vCPU was kicked */

	/* Read by other CPUs. */
	ATOMIC(uint64_t) virtual_now SCHED_LINE; /* others compare with this */
} SCHED_LINE;
_Static_assert(sizeof(struct run_queue) % 64 == 0, "no line is shared with the next CPU's");
_Static_assert(offsetof(struct run_queue, lock) % 64 == 0 &&
		       offsetof(struct run_queue, clock) % 64 == 0 &&
		       offsetof(struct run_queue, virtual_now) % 64 == 0,
	       "each kind of use has lines of its own");

/* --- sched_slice.c --- */

extern struct run_queue queues[CPU_MAX];
struct run_queue *sched_own_queue(void);

/* So that a guest that keeps waking another cannot end all slices. */
#define SCHED_SLICE_MIN_US 100

/*
 * Claims a vCPU for this CPU until sched_release, so that its VM is not paused meanwhile
 * (vm_pause). False: its VM is paused, or does not run. Own CPU.
 */
bool sched_claim(struct vcpu *vcpu);
void sched_release(struct vcpu *vcpu);

/* Charges so many TSC ticks to the vCPU. Own CPU. */
void sched_charge(struct vcpu *vcpu, uint64_t ticks);

/* Runs the clocks that are due, for VMs whose first vCPU is on the queue. Own CPU. */
void sched_serve_clocks(struct run_queue *queue);
/* When that must be done next (TSC); 0: now. */
uint64_t sched_next_clock(const struct run_queue *queue);

/*
 * Until when the vCPU runs before this CPU must check something: the clock of a VM, typed input, or
 * the slice's end. Own CPU.
 */
uint64_t sched_next_look(const struct run_queue *queue, uint64_t now);

/* --- sched_place.c --- */

/* How far a vCPU that moves or starts may be from its new queue's virtual time. */
#define SCHED_LAG_US 40000

/* The largest virtual time of any queue, approximately. */
uint64_t sched_front(void);

/* The queue's virtual time has reached this value, or did earlier. Own CPU. */
void sched_advance(struct run_queue *queue, uint64_t virtual_time);

/*
 * Called before and after the wait. In between, others may give it a vCPU, with a kick. Afterwards
 * the queue continues at the others' virtual time: time that it did not use is lost. Own CPU.
 */
void sched_idle_begins(uint32_t cpu);
void sched_idle_over(struct run_queue *queue, uint32_t cpu);
/* Notes for sched_rouse_idle that this CPU, which is idle, did a step of work now. */
void sched_idle_worked(void);

/* Removes a vCPU from its queue. Own CPU, the queue's lock held. */
void sched_take_out(struct run_queue *queue, struct vcpu *vcpu);

/*
 * spare wants to run but must wait. It moves to an idle CPU, or to a CPU whose vCPUs have had more
 * time, if that is worth it. Own CPU, no lock held.
 */
void sched_give_away(struct run_queue *queue, struct vcpu *spare);

/*
 * Applies the changes that a user has requested for the VM to a vCPU that is not running. Own CPU.
 */
void sched_follow_wishes(struct run_queue *queue, struct vcpu *vcpu);

#endif
