/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CPU's queue as others use it: the run loop asks whether its slice is over, and other code asks
 * the vCPU's CPU to check a vCPU or a VM's devices. sched.c chooses the vCPU.
 *
 * The clock of a VM's devices is served by the CPU that has the VM's first vCPU on its queue,
 * whatever the state of that vCPU, and in the middle of others' slices: a device's work may be for
 * another vCPU.
 */
#include "vmm/sched_slice.h"

#include "vmm/attention.h"
#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"
#include "vmm/host/lapic.h"
#include "vmm/host/smp.h"
#include "vmm/sched_priv.h"
#include "vmm/vcpu_priv.h"

struct run_queue queues[CPU_MAX];

struct run_queue *sched_own_queue(void)
{
	return &queues[percpu_self()->index];
}

void sched_arm_timer(uint64_t deadline)
{
	struct run_queue *queue = sched_own_queue();
	uint64_t fired = percpu_self()->timer_count;

	if (queue->timer_deadline != deadline || queue->timer_count != fired) {
		queue->timer_deadline = deadline;
		queue->timer_count = fired;
		lapic_timer_arm(deadline);
	}
}

bool sched_claim(struct vcpu *vcpu)
{
	atomic_store(&vcpu->priv->sched.on_cpu, 1);
	if (atomic_load(&vcpu->vm->paused) || atomic_load_relaxed(&vcpu->vm->state) != VM_RUNNING) {
		atomic_store_release(&vcpu->priv->sched.on_cpu, 0);
		return false;
	}
	return true;
}

void sched_release(struct vcpu *vcpu)
{
	atomic_store_release(&vcpu->priv->sched.on_cpu, 0);
}

void sched_charge(struct vcpu *vcpu, uint64_t ticks)
{
	struct sched_entity *entity = &vcpu->priv->sched;

	entity->virtual_time += ticks * SCHED_WEIGHT_DEFAULT / entity->weight;
}

/* --- Clocks of VMs --- */

/*
 * Runs the VM's clock. The time is charged to the VM's first vCPU, and not to the vCPU that runs
 * here. Returns the next deadline; a VM that is paused or ends has none. Own CPU.
 */
static uint64_t serve_clock(struct run_queue *queue, struct vcpu *first)
{
	struct vm *vm = first->vm;
	bool runs = atomic_load_relaxed(&first->priv->sched.on_cpu) !=
		    0; /* else another vCPU runs here, or none */
	uint64_t begin = cpu_rdtsc(), used;

	if (!runs && !sched_claim(first)) {
		return UINT64_MAX;
	}
	if (begin >= atomic_load_relaxed(&vm->clock_deadline)) {
		vm->hooks->clock(vm, begin);
		used = cpu_rdtsc() - begin;
		queue->served += used;
		sched_charge(first, used);
	}
	if (!runs) {
		sched_release(first);
	}
	return atomic_load_relaxed(&vm->clock_deadline);
}

/*
 * Code that sets a VM's clock stores the deadline and then 0 to queue->clock, each with a full
 * barrier. This function exchanges queue->clock and then reads the deadline. So either the read
 * sees the new deadline, or the 0 comes after the exchange and stays for the next round. Own CPU.
 */
void sched_serve_clocks(struct run_queue *queue)
{
	struct vcpu *vcpu = atomic_load_acquire(&queue->first);
	uint64_t next = UINT64_MAX, unchanged = UINT64_MAX;

	atomic_xchg(&queue->clock, UINT64_MAX);
	for (; vcpu != NULL; vcpu = vcpu->priv->sched.next) {
		if (vcpu->id == 0) {
			next = MIN(next, serve_clock(queue, vcpu));
		}
	}
	(void)atomic_cas(&queue->clock, &unchanged, next); /* else it is 0 */
}

uint64_t sched_next_clock(const struct run_queue *queue)
{
	return atomic_load(&queue->clock);
}

void sched_clock_changed(struct vm *vm)
{
	uint32_t cpu = vm->vcpu_count == 0 ? VCPU_NO_CPU : atomic_load(&vm->vcpus[0]->cpu);

	if (cpu == VCPU_NO_CPU) {
		return; /* sched_add will check */
	}
	atomic_store(&queues[cpu].clock, 0);
	if (cpu != percpu_self()->index) {
		smp_kick(cpu);
	} else if (percpu_self()->vcpu != NULL) {
		(void)attention_set(percpu_self()->vcpu, ATTENTION_EVENTS);
	}
}

/* --- Slices --- */

void sched_kick(struct vcpu *vcpu)
{
	uint32_t cpu = atomic_load(&vcpu->cpu);

	if (cpu == VCPU_NO_CPU) {
		return;
	}
	if (atomic_load_relaxed(&vcpu->state) != VCPU_RUNNABLE) {
		atomic_store_release(&queues[cpu].woken, true);
	}
	if (cpu != percpu_self()->index) {
		smp_kick(cpu);
	} else if (percpu_self()->vcpu != NULL) {
		(void)attention_set(percpu_self()->vcpu, ATTENTION_EVENTS);
	}
}

/*
 * The console is looked at when a slice ends, too. So no look is set shortly before that: both are
 * counted from nearly the same moment, and it would cost one more exit in each slice.
 */
uint64_t sched_next_look(const struct run_queue *queue, uint64_t now)
{
	const uint64_t end = MIN(queue->slice_end, sched_next_clock(queue));
	const uint64_t listen = queue->listen_ticks, slack = listen / 16;

	return listen != 0 && now + listen + slack < end ? now + listen : end;
}

bool sched_slice_over(uint64_t *slice_end)
{
	struct run_queue *queue = sched_own_queue();
	uint64_t now = cpu_rdtsc();

	if (now >= sched_next_clock(queue)) {
		/* The running vCPU may have got an interrupt, or have woken another. */
		sched_serve_clocks(queue);
		*slice_end = MIN(*slice_end, now);
	}
	if (atomic_load_acquire(&queue->woken)) {
		queue->slice_end = MIN(queue->slice_end,
				       queue->slice_begin + tsc_from_us(SCHED_SLICE_MIN_US));
		*slice_end = MIN(*slice_end, queue->slice_end);
	}
	if (now >= queue->slice_end || queue->yielded != NULL) {
		return true;
	}
	if (now >= *slice_end) {
		if (queue->listen_ticks != 0) {
			console_listen();
		}
		*slice_end = sched_next_look(queue, now);
	}
	return false;
}

void sched_yield(void)
{
	sched_own_queue()->yielded = percpu_self()->vcpu;
}
