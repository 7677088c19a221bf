/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the run loop asks of its CPU's queue while a vCPU has its slice, and what any CPU asks of
 * the queue that a vCPU or a VM's devices are on.
 */
#ifndef UMBRA_VMM_SCHED_SLICE_H
#define UMBRA_VMM_SCHED_SLICE_H

#include "vmm/base/types.h"

struct vcpu;
struct vm;

/* For vcpu_kick: the CPU of the vCPU is to look at it. Any CPU. */
void sched_kick(struct vcpu *vcpu);

/* For vm.c: the CPU of the first vCPU is to look at the VM's clock (vm_set_clock). Any CPU. */
void sched_clock_changed(struct vm *vm);

/*
 * Own CPU, for the run loop, at *slice_end at the latest: true when the slice is over. It is
 * shortened when a sleeper of this CPU was woken, and ends at once after sched_yield. Else
 * *slice_end is when to ask again; the CPU that has the console takes in what was typed then.
 */
bool sched_slice_over(uint64_t *slice_end);

/*
 * Own CPU: the vCPU that runs waits for others; they come first once, its VM's before all, and of
 * those the one that has been ready longest.
 */
void sched_yield(void);

/* Own CPU, without a preemption timer: an interrupt at the host TSC deadline. Cheap when unchanged.
 */
void sched_arm_timer(uint64_t deadline);

#endif
