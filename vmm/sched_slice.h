/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the run loop asks of its CPU's queue while a vCPU has its slice, and what any CPU asks of
 * the CPU that has a vCPU, or the devices of a VM, on its queue.
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
 * For the run loop: is the slice over? It is asked at *slice_end at the latest. If not, stores in
 * *slice_end when to ask again. A slice is shortened when a sleeping vCPU of this CPU was kicked,
 * and is over at once after sched_yield. Also serves clocks of VMs that are due and, on the CPU
 * that has the console, reads typed input. Own CPU.
 */
bool sched_slice_over(uint64_t *slice_end);

/*
 * The vCPU that runs waits for others: its slice ends, and at the next choice the other vCPUs come
 * first, once. Those of its own VM come before all others, first the one that has been ready
 * longest. Own CPU.
 */
void sched_yield(void);

/*
 * For CPUs without a preemption timer: requests an interrupt at this host TSC. Cheap when it is the
 * same as before. Own CPU.
 */
void sched_arm_timer(uint64_t deadline);

#endif
