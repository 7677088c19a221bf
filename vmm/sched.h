/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Per-CPU run queues with time slices and shares by weight. Of a CPU's vCPUs that want to run, the
 * one runs first that has had least time for its weight. A CPU with too many of them gives one to
 * an idle CPU, or to a CPU whose vCPUs have had more time.
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
 * The loop of a CPU. On the BSP it calls `between` whenever a slice ended or the CPU was idle, at
 * least every 10 ms, and every console_listen_us if a serial line is polled. `between` cleans up
 * ended VMs and builds reset VMs again. It returns true when it has more to do; then the CPU does
 * not wait. NULL on APs.
 */
_Noreturn void sched_run(bool (*between)(void));
/* One iteration of the loop: a slice of one vCPU, or a wait. For sched_run and for tests. */
void sched_turn(bool (*between)(void));

/*
 * Finds a CPU to do work (vmm/host/work.h), which only CPUs do on which nothing wants to run.
 * Returns true if there is such a CPU, after kicking it, or if one did a step within the last 4 ms;
 * false if only the caller can do the work. Boot processor, from between.
 */
bool sched_rouse_idle(void);
/*
 * Excludes so many ticks between the last slice of this CPU and the next from charging: they were
 * not spent for a vCPU on its queue. Own CPU, from between.
 */
void sched_exempt(uint64_t ticks);
/*
 * Charges so many ticks, spent on any CPU for a VM before its start, to its vCPU: as run time, and
 * as time that it has had compared with others. Before vm_start.
 */
void sched_bill(struct vcpu *vcpu, uint64_t ticks);

/*
 * Changes the weight or the CPUs of a VM that runs: each of its vCPUs follows when its next turn
 * has ended, on its CPU of that moment. A vCPU that sleeps stays on its CPU. Boot processor.
 */
void sched_set_weight(struct vm *vm, uint32_t weight);
void sched_set_affinity(struct vm *vm, const uint64_t affinity[CPU_MAX / 64]);

/*
 * TSC ticks of all vCPUs of a VM so far: run_ticks on a CPU, steal_ticks runnable while others ran.
 * The values may be old when they arrive.
 */
struct sched_times {
	uint64_t run, steal;
};
void sched_times(const struct vm *vm, struct sched_times *out);

#endif
