/* SPDX-License-Identifier: Apache-2.0 */
/* Per-CPU run queues with time slices. */
#ifndef UMBRA_VMM_SCHED_H
#define UMBRA_VMM_SCHED_H

#include "vmm/base/types.h"

struct vcpu;

/* Puts a vCPU on the queue of the least loaded CPU, or of vcpu->cpu once it has one. Any CPU. */
void sched_add(struct vcpu *vcpu);

/* The loop of a CPU. On the BSP `between` is called whenever a slice ended or the CPU was idle (at
 * least every 10 ms); it reaps ended VMs and builds reset ones anew. NULL on APs. */
_Noreturn void sched_run(void (*between)(void));

/* Own CPU, without a preemption timer: an interrupt at the host TSC deadline. Cheap when unchanged.
 */
void sched_arm_timer(uint64_t deadline);

#endif
