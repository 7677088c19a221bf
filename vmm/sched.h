/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Per-CPU run queues with time slices and shares by weight. Of the vCPUs of a CPU that want to
 * run, the one comes first that has had least for its weight; a CPU with more of them than it can
 * run gives one away to a CPU that idles, or whose vCPUs have had more.
 */
#ifndef UMBRA_VMM_SCHED_H
#define UMBRA_VMM_SCHED_H

#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

/* Of vm.weight: each vCPU's share of a CPU is to its neighbours' as their VMs' weights. */
#define SCHED_WEIGHT_DEFAULT 100u
#define SCHED_WEIGHT_MAX     10000u

struct vcpu;
struct vm;

/*
 * Puts a vCPU on the queue of the least loaded CPU that its VM's affinity allows, or of vcpu->cpu
 * once it has one. An affinity that names no CPU of this machine allows all. Any CPU.
 */
void sched_add(struct vcpu *vcpu);

/*
 * The loop of a CPU. On the BSP `between` is called whenever a slice ended or the CPU was idle (at
 * least every 10 ms; each CONSOLE_LISTEN_US where a serial line is listened to); it reaps ended VMs
 * and builds reset ones again. It returns true when it has more to do: the CPU then does not wait.
 * NULL on APs.
 */
_Noreturn void sched_run(bool (*between)(void));
/* One round of it: a slice of one vCPU, or a wait. For sched_run and for tests. */
void sched_turn(bool (*between)(void));

/*
 * Work (vmm/base/work.h) is done by CPUs on which nothing wants to run. True: there is one, and it
 * was kicked to look for some. False: nobody but the caller does any. Boot processor, from between.
 */
bool sched_rouse_idle(void);
/*
 * So many ticks of what lies between the last slice of this CPU and the next were spent for nobody
 * who is on its queue, and are not charged to any. Own CPU, from between.
 */
void sched_exempt(uint64_t ticks);
/*
 * So many ticks, on whatever CPU, were spent for a VM before its start: they count as run time of
 * its vCPU, and as time that it has had, beside others. Before vm_start.
 */
void sched_bill(struct vcpu *vcpu, uint64_t ticks);

/*
 * Another weight, or other CPUs, for a VM that runs: each of its vCPUs follows when its next turn
 * has ended, where it then is. One that sleeps stays where it sleeps. Boot processor.
 */
void sched_set_weight(struct vm *vm, uint32_t weight);
void sched_set_affinity(struct vm *vm, const uint64_t affinity[CPU_MAX / 64]);

/* For vm.c: the CPU of the first vCPU is to look at the VM's clock (vm_set_clock). Any CPU. */
void sched_clock_changed(struct vm *vm);

/* For vcpu_kick: the CPU of the vCPU is to look at it. Any CPU. */
void sched_kick(struct vcpu *vcpu);

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

/*
 * TSC ticks of all vCPUs of a VM so far: on a CPU, and runnable while others were on it. A moment's
 * reading: another CPU may be writing.
 */
struct sched_times {
	uint64_t run, steal;
};
void sched_times(const struct vm *vm, struct sched_times *out);

/* Own CPU, without a preemption timer: an interrupt at the host TSC deadline. Cheap when unchanged.
 */
void sched_arm_timer(uint64_t deadline);

#endif
