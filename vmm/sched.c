/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Per-CPU run queues. Each queue has a lock for CPUs that add a vCPU from elsewhere. The list
 * changes under the lock. Its own CPU walks it, and only its own CPU removes vCPUs. sched_place.c
 * decides on which CPU a vCPU is.
 *
 * Shares are kept by virtual time: the TSC ticks that a vCPU has had, divided by its weight. A
 * queue's virtual_now is the virtual time that its vCPUs have reached. A vCPU that wakes starts
 * there, a little ahead of the others: so a vCPU that sleeps much runs soon, but gains nothing by
 * sleeping. Queues are compared by virtual time as well: on a queue where it advances faster, a
 * vCPU gets more time.
 */
#include "vmm/attention.h"
#include "vmm/base/cpu.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"
#include "vmm/host/lapic.h"
#include "vmm/host/work.h"
#include "vmm/sched_priv.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_run.h"
#include "vmm/vmx_insn.h"

/* A slice ends so that others can run, and so that users' input is read. */
#define SLICE_US     4000
#define IDLE_US	     10000
#define LOOK_US	     1000	       /* between two looks for input and VMs that ended */
#define IDLE_BUSY_US CONSOLE_LISTEN_US /* while a console has text to output, or may get some */

/* Removes the vCPUs of VMs that end. Own CPU. */
static void reap(struct run_queue *queue)
{
	struct vcpu *vcpu, *next;

	lock_take(&queue->lock, LOCK_RUN_QUEUE);
	for (vcpu = atomic_load_acquire(&queue->first); vcpu != NULL; vcpu = next) {
		next = vcpu->priv->sched.next;
		if (atomic_load_acquire(&vcpu->vm->state) == VM_ENDING) {
			sched_take_out(queue, vcpu);
			vcpu_unload(vcpu);
			atomic_sub(&vcpu->vm->running, 1);
		}
	}
	lock_drop(&queue->lock);
}

/* --- Choosing a vCPU --- */

/* Does the vCPU want to run? A vCPU that was asleep joins the others here. */
static bool is_ready(struct run_queue *queue, struct vcpu *vcpu)
{
	struct sched_entity *entity = &vcpu->priv->sched;
	const uint64_t now = atomic_load_relaxed(&queue->virtual_now);
	uint64_t credit = tsc_from_us(SLICE_US);
	bool ready = false;

	if (sched_claim(vcpu)) {
		ready = vcpu_wake(vcpu);
		sched_release(vcpu);
	}
	if (!ready) {
		entity->ready_since = 0;
	} else if (entity->ready_since == 0) {
		entity->ready_since = cpu_rdtsc();
		entity->virtual_time = MAX(entity->virtual_time, now - MIN(now, credit));
	}
	return ready;
}

/*
 * Does a run before b? The vCPU that yielded comes last. Other vCPUs of its VM may run up to a
 * slice earlier than their share allows, and no more: a VM whose vCPUs all spin must not keep the
 * CPU.
 */
static bool comes_first(const struct run_queue *queue, const struct vcpu *a, const struct vcpu *b)
{
	const struct vcpu *yielded = queue->yielded;
	uint64_t a_time = a->priv->sched.virtual_time, b_time;

	if (b == NULL || a == yielded || b == yielded) {
		return b == NULL || b == yielded;
	}
	b_time = b->priv->sched.virtual_time;
	if (yielded != NULL) {
		a_time += a->vm == yielded->vm ? 0 : tsc_from_us(SLICE_US);
		b_time += b->vm == yielded->vm ? 0 : tsc_from_us(SLICE_US);
	}
	return a_time < b_time;
}

/*
 * `fair`, the choice of comes_first, is a sibling of the vCPU that yielded. It is unknown for which
 * sibling that vCPU waits. The best guess is the one that has waited longest for the CPU, because
 * then each of them runs once in a round; the one with the least virtual time may itself be
 * waiting, again and again. Shares of other VMs do not change: this chooses only siblings that
 * comes_first would let run before other VMs' vCPUs.
 */
static struct vcpu *longest_ready(const struct run_queue *queue, struct vcpu *fair,
				  uint64_t others_time)
{
	const struct vcpu *yielded = queue->yielded;
	struct vcpu *vcpu = atomic_load_acquire(&queue->first);
	struct vcpu *best = fair;

	for (; vcpu != NULL; vcpu = vcpu->priv->sched.next) {
		const struct sched_entity *entity = &vcpu->priv->sched;

		if (vcpu->vm == yielded->vm && vcpu != yielded && entity->ready_since != 0 &&
		    entity->ready_since < best->priv->sched.ready_since &&
		    entity->virtual_time < others_time) {
			best = vcpu;
		}
	}
	return best;
}

/* Returns the vCPU that runs after a yield. `fair` is the choice of comes_first. */
static struct vcpu *pick_after_yield(struct run_queue *queue, struct vcpu *fair,
				     uint64_t others_least, struct vcpu **spare)
{
	struct sched_entity *entity = &queue->yielded->priv->sched;
	const uint64_t now = atomic_load_relaxed(&queue->virtual_now);
	uint64_t slice = tsc_from_us(SLICE_US);
	struct vcpu *best = fair;

	/* As with sleep, a vCPU gains nothing by time that it gives up. */
	entity->virtual_time = MAX(entity->virtual_time, now - MIN(now, slice));
	if (fair != NULL && fair != queue->yielded && fair->vm == queue->yielded->vm) {
		best = longest_ready(queue, fair,
				     others_least > UINT64_MAX - slice ? UINT64_MAX
								       : others_least + slice);
		*spare = best != fair ? fair : *spare;
	}
	return best;
}

/*
 * The vCPU that runs next, or NULL; *spare is one that would come after it. The search begins
 * behind the vCPU that ran last, so that equals take turns.
 */
static struct vcpu *pick(struct run_queue *queue, struct vcpu **spare)
{
	struct vcpu *first = atomic_load_acquire(&queue->first);
	struct vcpu *vcpu = queue->last_run;
	struct vcpu *best = NULL;
	uint64_t others_least = UINT64_MAX; /* least virtual time of VMs other than the yielder's */

	*spare = NULL;
	atomic_store_relaxed(&queue->woken, false);
	for (uint32_t i = atomic_load_relaxed(&queue->count); i > 0 && first != NULL; i--) {
		vcpu = vcpu == NULL || vcpu->priv->sched.next == NULL ? first
								      : vcpu->priv->sched.next;
		if (!is_ready(queue, vcpu)) {
			continue;
		}
		if (queue->yielded != NULL && vcpu->vm != queue->yielded->vm) {
			others_least = MIN(others_least, vcpu->priv->sched.virtual_time);
		}
		if (comes_first(queue, vcpu, best)) {
			*spare = best;
			best = vcpu;
		} else if (comes_first(queue, vcpu, *spare)) {
			*spare = vcpu;
		}
	}
	if (best != NULL) {
		sched_advance(queue, best->priv->sched.virtual_time);
	}
	if (queue->yielded != NULL) {
		best = pick_after_yield(queue, best, others_least, spare);
		queue->yielded = NULL;
	}
	queue->last_run = best;
	return best;
}

/* A slice ends early if a timer of a sleeping vCPU expires before. */
static uint64_t slice_end(const struct run_queue *queue, const struct vcpu *runs)
{
	uint64_t now = cpu_rdtsc();
	uint64_t end = now + tsc_from_us(SLICE_US);
	struct vcpu *vcpu = atomic_load_acquire(&queue->first);

	for (; vcpu != NULL; vcpu = vcpu->priv->sched.next) {
		if (vcpu != runs && atomic_load_relaxed(&vcpu->state) == VCPU_HALTED &&
		    atomic_load_relaxed(&vcpu->priv->halted_if) && sched_claim(vcpu)) {
			end = MIN(end, vcpu->vm->hooks->next_deadline(vcpu));
			sched_release(vcpu);
		}
	}
	return MAX(end, now + tsc_from_us(SCHED_SLICE_MIN_US));
}

/*
 * The time between two slices is charged as well: to the vCPU that ran last if it halted or
 * yielded, else to the one that runs next. So a vCPU that wakes again and again pays for both of
 * its changes, and takes nothing from the others' shares.
 */
static void run(struct run_queue *queue, struct vcpu *vcpu)
{
	struct sched_entity *entity = &vcpu->priv->sched;
	uint64_t begin = cpu_rdtsc(), used;

	if (!sched_claim(vcpu)) {
		return;
	}
	if (queue->run_end != 0) {
		sched_charge(queue->gave_up != NULL ? queue->gave_up : vcpu,
			     begin - queue->run_end);
	}
	queue->slice_begin = begin;
	queue->served = 0;
	atomic_add_own(&entity->steal_ticks, begin - entity->ready_since);
	queue->slice_end = slice_end(queue, vcpu);
	vcpu_run(vcpu, sched_next_look(queue, queue->looked));
	queue->gave_up = atomic_load_relaxed(&vcpu->state) != VCPU_RUNNABLE ||
					 queue->yielded == vcpu
				 ? vcpu
				 : NULL;
	sched_release(vcpu);
	queue->run_end = entity->ready_since = cpu_rdtsc();
	used = entity->ready_since - begin - queue->served;
	atomic_add_own(&entity->run_ticks, used);
	sched_charge(vcpu, used);
}

/* --- The loop --- */

/* Polls the devices of VMs whose first vCPU is on this CPU. */
static void poll(struct run_queue *queue)
{
	struct vcpu *vcpu = atomic_load_acquire(&queue->first);

	for (; vcpu != NULL; vcpu = vcpu->priv->sched.next) {
		if (vcpu->id == 0 && sched_claim(vcpu)) {
			vcpu->vm->hooks->poll(vcpu->vm);
			sched_release(vcpu);
		}
	}
}

/* Interrupts are off from here to the HLT, so a kick that comes after the check is not missed. */
static void wait_for_kick(struct run_queue *queue, uint64_t deadline)
{
	struct vcpu *vcpu = atomic_load_acquire(&queue->first);

	for (; vcpu != NULL; vcpu = vcpu->priv->sched.next) {
		if (!sched_claim(vcpu)) {
			continue;
		}
		/* A vCPU that halts with interrupts off does not wake for its timers. */
		if (atomic_load_relaxed(&vcpu->state) == VCPU_HALTED &&
		    atomic_load_relaxed(&vcpu->priv->halted_if)) {
			deadline = MIN(deadline, vcpu->vm->hooks->next_deadline(vcpu));
		}
		sched_release(vcpu);
		if (atomic_load_relaxed(&vcpu->state) == VCPU_RUNNABLE ||
		    attention_has(vcpu, ATTENTION_KICKED) != 0) {
			return;
		}
	}
	queue->timer_deadline = 0; /* lapic_idle_until uses the timer, too */
	lapic_idle_until(MIN(deadline, sched_next_clock(queue)));
}

/*
 * Does a step of work instead of the wait if there is any. A vCPU that wakes meanwhile, or moves to
 * this CPU, waits at most for that step.
 */
static void idle(struct run_queue *queue, bool console_busy)
{
	uint32_t wait_us = console_busy ? IDLE_BUSY_US : IDLE_US;
	const uint32_t self = percpu_self()->index;

	/* Before wait_for_kick looks: a CPU that moves a vCPU here kicks this one afterwards. */
	sched_idle_begins(self);
	if (work_some()) {
		sched_idle_worked();
		/* The boot processor may wait for this CPU to take an interrupt. */
		cpu_interrupt_window();
	} else {
		wait_for_kick(queue, cpu_rdtsc() + tsc_from_us(wait_us));
	}
	sched_idle_over(queue, self);
	queue->run_end = 0;
}

/*
 * vCPUs that wake each other have slices of some microseconds. The work between slices need not be
 * done after each of them: a single slice may last longer than LOOK_US anyway. But the serial line
 * must be served as often as console_listen asks for.
 */
static bool is_time_to_look(const struct run_queue *queue)
{
	const uint64_t look = tsc_from_us(LOOK_US), listen = queue->listen_ticks;

	return cpu_rdtsc() - queue->looked >= (listen != 0 ? MIN(look, listen) : look);
}

void sched_turn(bool (*between)(void))
{
	struct run_queue *queue = sched_own_queue();
	struct vcpu *spare, *vcpu;
	bool console_busy, more = false;

	if (cpu_rdtsc() >= sched_next_clock(queue)) {
		sched_serve_clocks(queue);
	}
	vcpu = pick(queue, &spare);
	queue->listen_ticks = between != NULL ? tsc_from_us(console_listen_us()) : 0;
	if (spare != NULL) {
		sched_give_away(queue, spare);
	}
	if (vcpu != NULL) {
		run(queue, vcpu);
		cpu_interrupt_window();
		sched_follow_wishes(queue, vcpu);
	}
	reap(queue);
	if (vcpu != NULL && !is_time_to_look(queue)) {
		return;
	}
	queue->looked = cpu_rdtsc();
	if (between != NULL) {
		more = between();
	}
	poll(queue);
	console_busy = console_flush() || queue->listen_ticks != 0;
	if (vcpu == NULL && !more) {
		idle(queue, console_busy);
	}
}

_Noreturn void sched_run(bool (*between)(void))
{
	for (;;) {
		sched_turn(between);
	}
}
