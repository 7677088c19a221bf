/* SPDX-License-Identifier: Apache-2.0 */
/* What sched.c (whose turn), sched_place.c (which CPU) and sched_slice.c (the slice) share. */
#ifndef UMBRA_VMM_SCHED_PRIV_H
#define UMBRA_VMM_SCHED_PRIV_H

#include "vmm/base/atomic.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"
#include "vmm/sched.h"

/*
 * What others touch has cache lines apart from what the CPU itself writes at each slice, and the
 * queues of two CPUs have none in common.
 */
#define SCHED_LINE __attribute__((aligned(64)))
struct run_queue {
	/* Its own CPU's alone. */
	struct vcpu *last_run;
	struct vcpu *yielded; /* comes last, once */
	struct vcpu *gave_up; /* the last to run, when it halted or yielded */
	uint64_t run_end;     /* TSC, of the last to run; 0 after idling */
	uint64_t slice_begin, slice_end;
	uint64_t timer_deadline; /* what the LAPIC timer is armed for ... */
	uint64_t timer_count;	 /* ... unless it has fired since */
	uint64_t served;	 /* TSC ticks for clocks of VMs in this slice */
	uint32_t next_look;	 /* CPU at which give_away goes on to look */
	bool listens; /* the CPU that looks after the console, where that has to be often */

	/* Changes when a vCPU comes or goes. */
	struct lock lock SCHED_LINE;
	ATOMIC(uint32_t) count;
	ATOMIC(uint32_t) weight;     /* of all its vCPUs */
	ATOMIC(struct vcpu *) first; /* linked by priv->sched.next */

	/* Written by others. */
	ATOMIC(uint64_t) clock SCHED_LINE; /* TSC; a VM's devices have work then. 0: look */
	ATOMIC(bool) woken;		   /* a sleeper was kicked */

	/* Read by others. */
	ATOMIC(uint64_t) virtual_now SCHED_LINE; /* others compare */
} SCHED_LINE;
_Static_assert(sizeof(struct run_queue) % 64 == 0, "no line is shared with the next CPU's");
_Static_assert(offsetof(struct run_queue, lock) % 64 == 0 &&
		       offsetof(struct run_queue, clock) % 64 == 0 &&
		       offsetof(struct run_queue, virtual_now) % 64 == 0,
	       "each kind of use has lines of its own");

/* --- sched_slice.c --- */

extern struct run_queue queues[CPU_MAX];
struct run_queue *sched_own_queue(void);

/* A guest that keeps waking another must not end all slices. */
#define SCHED_SLICE_MIN_US 100

/*
 * Own CPU: takes a vCPU for this CPU, so that nobody pauses its VM meanwhile (vm_pause), until
 * sched_release. False: its VM is paused, or does not run.
 */
bool sched_claim(struct vcpu *vcpu);
void sched_release(struct vcpu *vcpu);

/* Own CPU: the vCPU has had so many TSC ticks. */
void sched_charge(struct vcpu *vcpu, uint64_t ticks);

/* Own CPU: has the devices served whose VM's clock is due, for the first vCPUs on the queue. */
void sched_serve_clocks(struct run_queue *queue);
/* When that is to be done next (TSC); 0: now. */
uint64_t sched_next_clock(const struct run_queue *queue);

/*
 * Own CPU: until when the vCPU runs before this CPU looks again: at the clock of a VM, for typed
 * text, or at the slice's end.
 */
uint64_t sched_next_look(const struct run_queue *queue, uint64_t now);

/* --- sched_place.c --- */

/* How far a vCPU that moves or begins may be from its new queue's virtual time. */
#define SCHED_LAG_US 40000

/* The most that any queue has got to, roughly. */
uint64_t sched_front(void);

/* Own CPU: the queue has got to this virtual time, or has been there. */
void sched_advance(struct run_queue *queue, uint64_t virtual_time);

/*
 * Own CPU, around the wait. From the first on others may give it a vCPU, with a kick. Afterwards
 * the queue goes on where others are: what it left unused is not owed to it.
 */
void sched_idle_begins(uint32_t cpu);
void sched_idle_over(struct run_queue *queue, uint32_t cpu);

/* Own CPU, the queue's lock held: takes a vCPU out of the queue that it is on. */
void sched_take_out(struct run_queue *queue, struct vcpu *vcpu);

/*
 * Own CPU: spare wants to run and has to wait. It moves to a CPU that idles, or to one whose vCPUs
 * have had more, when that is worth it. No lock held.
 */
void sched_give_away(struct run_queue *queue, struct vcpu *spare);

/* Own CPU: a vCPU that does not run takes over what a person wished for its VM meanwhile. */
void sched_follow_wishes(struct run_queue *queue, struct vcpu *vcpu);

#endif
