/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Per-CPU run queues. A vCPU stays on the CPU that it was given; its CPU takes turns among its own
 * in slices. Each queue has a lock for those who add from elsewhere; the list is changed under
 * it, and walked by its CPU, which alone removes.
 */
#include "vmm/sched.h"

#include "vmm/base/console.h"
#include "vmm/base/cpu.h"
#include "vmm/base/lapic.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"
#include "vmm/base/smp.h"
#include "vmm/base/tsc.h"
#include "vmm/vcpu_priv.h"

/* A slice ends so that others run, and so that people's input is looked at. */
#define SLICE_US     4000
#define IDLE_US	     10000
#define IDLE_BUSY_US 1000 /* while a console has text left to pass on */

struct run_queue {
	struct lock lock;
	struct vcpu *first; /* linked by priv->next */
	struct vcpu *last_run;
	uint32_t count;
	uint64_t timer_deadline; /* what the LAPIC timer is armed for ... */
	uint64_t timer_count;	 /* ... unless it has fired since */
};

static struct run_queue queues[CPU_MAX];

static struct run_queue *own_queue(void)
{
	return &queues[percpu_self()->index];
}

void sched_arm_timer(uint64_t deadline)
{
	struct run_queue *queue = own_queue();
	uint64_t fired = percpu_self()->timer_count;

	if (queue->timer_deadline != deadline || queue->timer_count != fired) {
		queue->timer_deadline = deadline;
		queue->timer_count = fired;
		lapic_timer_arm(deadline);
	}
}

static uint32_t least_loaded(void)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < percpu_count(); i++) {
		if (__atomic_load_n(&queues[i].count, __ATOMIC_RELAXED) <
		    __atomic_load_n(&queues[best].count, __ATOMIC_RELAXED)) {
			best = i;
		}
	}
	return best;
}

void sched_add(struct vcpu *vcpu)
{
	struct run_queue *queue;

	if (vcpu->cpu == VCPU_NO_CPU) {
		vcpu->cpu = least_loaded();
	}
	queue = &queues[vcpu->cpu];
	lock_take(&queue->lock);
	vcpu->priv->next = queue->first;
	__atomic_store_n(&queue->first, vcpu, __ATOMIC_RELEASE);
	queue->count++;
	lock_drop(&queue->lock);
	if (vcpu->cpu != percpu_self()->index) {
		smp_kick(vcpu->cpu);
	}
}

/* Own CPU: takes out the vCPUs of VMs that end. */
static void reap(struct run_queue *queue)
{
	struct vcpu **link;

	lock_take(&queue->lock);
	link = &queue->first;
	while (*link != NULL) {
		struct vcpu *vcpu = *link;

		if (__atomic_load_n(&vcpu->vm->state, __ATOMIC_ACQUIRE) != VM_ENDING) {
			link = &vcpu->priv->next;
			continue;
		}
		*link = vcpu->priv->next;
		queue->count--;
		queue->last_run = NULL;
		vcpu_unload(vcpu);
		__atomic_sub_fetch(&vcpu->vm->running, 1, __ATOMIC_ACQ_REL);
	}
	lock_drop(&queue->lock);
}

/* The next vCPU after the one that ran last which has something to do, or NULL. */
static struct vcpu *pick(struct run_queue *queue)
{
	struct vcpu *first = __atomic_load_n(&queue->first, __ATOMIC_ACQUIRE);
	struct vcpu *vcpu = queue->last_run;

	for (uint32_t i = 0; i <= queue->count; i++) {
		vcpu = vcpu == NULL || vcpu->priv->next == NULL ? first : vcpu->priv->next;
		if (vcpu == NULL) {
			return NULL;
		}
		if (vcpu_wake(vcpu)) {
			queue->last_run = vcpu;
			return vcpu;
		}
	}
	return NULL;
}

/* Devices of a VM are looked after where its first vCPU runs. */
static void poll(struct run_queue *queue)
{
	struct vcpu *vcpu = __atomic_load_n(&queue->first, __ATOMIC_ACQUIRE);

	for (; vcpu != NULL; vcpu = vcpu->priv->next) {
		if (vcpu->id == 0 &&
		    __atomic_load_n(&vcpu->vm->state, __ATOMIC_RELAXED) == VM_RUNNING) {
			vcpu->vm->hooks->poll(vcpu->vm);
		}
	}
}

/* Interrupts are off from here to the HLT, so a kick that comes after the look is not missed. */
static void idle(struct run_queue *queue, bool console_busy)
{
	uint64_t deadline = cpu_rdtsc() + tsc_from_us(console_busy ? IDLE_BUSY_US : IDLE_US);
	struct vcpu *vcpu = __atomic_load_n(&queue->first, __ATOMIC_ACQUIRE);

	for (; vcpu != NULL; vcpu = vcpu->priv->next) {
		if (__atomic_load_n(&vcpu->kicked, __ATOMIC_SEQ_CST) != 0) {
			return;
		}
		if (vcpu->state == VCPU_HALTED) {
			deadline = MIN(deadline, vcpu->vm->hooks->next_deadline(vcpu));
		}
	}
	queue->timer_deadline = 0; /* cpu_idle_until uses the timer itself */
	cpu_idle_until(deadline);
}

_Noreturn void sched_run(void (*between)(void))
{
	struct run_queue *queue = own_queue();

	for (;;) {
		struct vcpu *vcpu = pick(queue);
		bool console_busy;

		if (vcpu != NULL) {
			vcpu_run(vcpu, cpu_rdtsc() + tsc_from_us(SLICE_US));
			cpu_interrupt_window();
		}
		reap(queue);
		if (between != NULL) {
			between();
		}
		poll(queue);
		console_busy = console_flush();
		if (vcpu == NULL) {
			idle(queue, console_busy);
		}
	}
}
