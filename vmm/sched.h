/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Per-CPU run queues with time slices and shares by weight. Of the vCPUs of a CPU that want to run,
 * the next is the one that has had least time for its weight. A CPU with too many of them gives one
 * to an idle CPU, or to a CPU whose vCPUs have had more time.
 */
#ifndef UMBRA_VMM_SCHED_H
#define UMBRA_VMM_SCHED_H

#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

/* For vm.weight: the shares of two vCPUs on a CPU are in proportion to their VMs' weights. */
#define SCHED_WEIGHT_DEFAULT 100u
#define SCHED_WEIGHT_MAX     10000u

struct vcpu;
struct vm;

/*
 * Puts a vCPU on the queue of the least loaded CPU that its VM's affinity allows, or of vcpu->cpu
 * if it has a CPU. An affinity that names no CPU of this machine allows all CPUs. Any CPU.
 */
void sched_add(struct vcpu *vcpu);

/*
 * The loop of a CPU. On the BSP it calls `between` after a slice or a wait, at least every 10 ms,
 * but not after each of several slices shorter than a millisecond. `between` cleans up ended VMs,
 * builds reset VMs again and serves the shell. It returns true when it has more to do; then the CPU
 * does not wait. NULL on APs.
 */
_Noreturn void sched_run(bool (*between)(void));
/* One iteration of the loop: a slice of one vCPU, or a wait. For sched_run and for tests. */
void sched_turn(bool (*between)(void));

/*
 * Wakes an idle CPU for work (vmm/host/work.h), which only CPUs do that have nothing else to run.
 * Returns true if it has woken one, or if a CPU did a step within the last 4 ms; false if only the
 * caller can do the work. Boot processor, from between.
 */
bool sched_rouse_idle(void);
/*
 * The caller has spent so many TSC ticks, since the last slice of this CPU, for no vCPU on its
 * queue: they are charged to none of them. Own CPU, from between.
 */
void sched_exempt(uint64_t ticks);
/*
 * Charges TSC ticks that a CPU has spent for a VM before its start to the VM's vCPU: they count as
 * run time, and in the vCPU's share. Before vm_start.
 */
void sched_bill(struct vcpu *vcpu, uint64_t ticks);

/*
 * Changes the weight or the CPUs of a VM that runs. Each of its vCPUs changes, or moves, after its
 * next slice; so a vCPU that sleeps stays on its CPU until then. Boot processor.
 */
void sched_set_weight(struct vm *vm, uint32_t weight);
void sched_set_affinity(struct vm *vm, const uint64_t affinity[CPU_MAX / 64]);

/*
 * The sums over all vCPUs of a VM so far, in TSC ticks: run is time on a CPU; steal is time in
 * which a vCPU wanted to run while others ran. They may be out of date at once.
 */
struct sched_times {
	uint64_t run, steal;
};
void sched_times(const struct vm *vm, struct sched_times *out);

#endif
