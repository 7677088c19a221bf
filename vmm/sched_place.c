/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides on which CPU a vCPU is: where it starts, and when it moves. Only the CPU that a vCPU
 * leaves moves it, between two slices.
 *
 * Each CPU looks for a better place at each of its slices. So the number of other CPUs that it
 * looks at must not grow with the number of CPUs: it reads a mask of idle CPUs, and looks at a few
 * of the others in turn.
 */
#include "vmm/base/cpu.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"
#include "vmm/base/tsc.h"
#include "vmm/host/smp.h"
#include "vmm/sched_priv.h"
#include "vmm/vcpu_priv.h"

/*
 * How far a queue's virtual time must be ahead for a vCPU to move there, and how long the vCPU then
 * stays, so that filling the caches pays off.
 */
#define AHEAD_US 12000
#define STAY_US	 10000

/* How many of the busy CPUs a CPU looks at in a turn: the next ones each time. */
#define LOOKS 4

/*
 * If an idle CPU did a step of work within this time, it will do the next one, too, although it is
 * not marked as idle between two steps.
 */
#define WORKED_LATELY_US 4000

/* A queue raises the front (below) when its virtual time is this far ahead of it. */
#define FRONT_US 1000

/* Idle CPUs, to which a vCPU may be moved. */
static struct {
	ATOMIC(uint64_t) bits[CPU_MAX / 64];
} SCHED_LINE idle_cpus;

/* When an idle CPU last did a step of work (TSC). */
static struct {
	ATOMIC(uint64_t) tsc;
} SCHED_LINE worked;

/*
 * The largest virtual_now of any queue, to within FRONT_US. All CPUs read this cache line and few
 * write it, so that a CPU that was idle need not read the line of each other CPU.
 */
static struct {
	ATOMIC(uint64_t) virtual_now;
} SCHED_LINE front;

/* --- The clocks of queues --- */

static uint64_t clock_of(uint32_t cpu)
{
	return atomic_load_relaxed(&queues[cpu].virtual_now);
}

void sched_advance(struct run_queue *queue, uint64_t virtual_time)
{
	uint64_t most = atomic_load_relaxed(&front.virtual_now);

	if (virtual_time <= atomic_load_relaxed(&queue->virtual_now)) {
		return;
	}
	atomic_store_relaxed(&queue->virtual_now, virtual_time);
	while (virtual_time > most + tsc_from_us(FRONT_US) &&
	       !atomic_cas(&front.virtual_now, &most, virtual_time)) {
	}
}

uint64_t sched_front(void)
{
	return atomic_load_relaxed(&front.virtual_now);
}

void sched_idle_begins(uint32_t cpu)
{
	atomic_or(&idle_cpus.bits[cpu / 64], BIT(cpu % 64));
}

void sched_idle_over(struct run_queue *queue, uint32_t cpu)
{
	const uint64_t most = sched_front();

	atomic_and(&idle_cpus.bits[cpu / 64], ~BIT(cpu % 64));
	atomic_store_relaxed(&queue->virtual_now,
			     MAX(atomic_load_relaxed(&queue->virtual_now), most));
}

/* --- Where a vCPU starts --- */

/* The bits in word number i of a CPU mask that are CPUs of this machine. */
static uint64_t present(uint32_t i)
{
	const uint32_t count = percpu_count();

	return count >= 64 * (i + 1) ? UINT64_MAX : count <= 64 * i ? 0 : BIT(count - 64 * i) - 1;
}

/* The CPUs that may run a VM's vCPUs: all, if its affinity names no CPU of this machine. */
struct cpu_mask {
	uint64_t bits[CPU_MAX / 64];
};

static struct cpu_mask allowed_cpus(const struct vm *vm)
{
	struct cpu_mask mask;
	uint64_t some = 0;

	for (uint32_t i = 0; i < CPU_MAX / 64; i++) {
		mask.bits[i] = atomic_load_relaxed(&vm->affinity[i]) & present(i);
		some |= mask.bits[i];
	}
	for (uint32_t i = 0; some == 0 && i < CPU_MAX / 64; i++) {
		mask.bits[i] = present(i);
	}
	return mask;
}

static bool has_cpu(const struct cpu_mask *mask, uint32_t cpu)
{
	return (mask->bits[cpu / 64] & BIT(cpu % 64)) != 0;
}

static uint32_t weight_of(const struct vm *vm)
{
	return MIN(MAX(atomic_load_relaxed(&vm->weight), 1u), SCHED_WEIGHT_MAX);
}

static uint32_t least_loaded(const struct vm *vm)
{
	const struct cpu_mask allowed = allowed_cpus(vm);
	uint32_t best = CPU_MAX, best_weight = 0;

	for (uint32_t i = 0; i < percpu_count(); i++) {
		uint32_t weight = atomic_load_relaxed(&queues[i].weight);

		if (has_cpu(&allowed, i) && (best == CPU_MAX || weight < best_weight)) {
			best = i;
			best_weight = weight;
		}
	}
	return best;
}

/* Adds or removes one vCPU with this weight. Under the queue's lock; readers do not hold it. */
static void change(struct run_queue *queue, uint32_t count, uint32_t weight)
{
	atomic_add_own(&queue->count, count);
	atomic_add_own(&queue->weight, weight);
}

void sched_add(struct vcpu *vcpu)
{
	const uint32_t last = atomic_load_relaxed(&vcpu->cpu);
	const uint32_t cpu = last == VCPU_NO_CPU ? least_loaded(vcpu->vm) : last;
	const bool brings_clock = vcpu->id == 0;
	struct run_queue *queue = &queues[cpu];

	atomic_store(&vcpu->cpu, cpu);
	/* Stored, so that the same weight is later subtracted from the queue's sum. */
	vcpu->priv->sched.weight = weight_of(vcpu->vm);
	lock_take(&queue->lock, LOCK_RUN_QUEUE);
	vcpu->priv->sched.next = atomic_load_relaxed(&queue->first);
	atomic_store_release(&queue->first, vcpu);
	change(queue, 1, vcpu->priv->sched.weight);
	lock_drop(&queue->lock);
	/* From here on the vCPU belongs to the other CPU, which may have moved or removed it. */
	if (brings_clock) {
		atomic_store(&queue->clock, 0);
	}
	if (cpu != percpu_self()->index) {
		smp_kick(cpu);
	}
}

void sched_idle_worked(void)
{
	atomic_store_relaxed(&worked.tsc, cpu_rdtsc());
}

bool sched_rouse_idle(void)
{
	const uint64_t lately = atomic_load_relaxed(&worked.tsc) + tsc_from_us(WORKED_LATELY_US);

	for (uint32_t i = 0; i < CPU_MAX / 64; i++) {
		const uint64_t idle = atomic_load(&idle_cpus.bits[i]);

		if (idle != 0) {
			smp_kick(64 * i + (uint32_t)__builtin_ctzll(idle));
			return true;
		}
	}
	return cpu_rdtsc() < lately;
}

/* --- When a vCPU leaves --- */

void sched_take_out(struct run_queue *queue, struct vcpu *vcpu)
{
	struct vcpu *before = atomic_load_relaxed(&queue->first);

	if (before == vcpu) {
		atomic_store_relaxed(&queue->first, vcpu->priv->sched.next);
	} else {
		while (before->priv->sched.next != vcpu) {
			before = before->priv->sched.next;
		}
		before->priv->sched.next = vcpu->priv->sched.next;
	}
	change(queue, -1u, -vcpu->priv->sched.weight);
	if (queue->last_run == vcpu) {
		queue->last_run = NULL;
	}
	if (queue->yielded == vcpu) {
		queue->yielded = NULL;
	}
	if (queue->gave_up == vcpu) {
		queue->gave_up = NULL;
	}
}

/*
 * Moves a vCPU that is not running to another CPU, whose queue has reached virtual time `there`.
 * Own CPU.
 */
static void move(struct run_queue *queue, struct vcpu *vcpu, uint32_t cpu, uint64_t there)
{
	struct sched_entity *entity = &vcpu->priv->sched;
	uint64_t lag = tsc_from_us(SCHED_LAG_US);

	lock_take(&queue->lock, LOCK_RUN_QUEUE);
	sched_take_out(queue, vcpu);
	lock_drop(&queue->lock);
	vcpu_park(vcpu);
	entity->moved_at = cpu_rdtsc();
	entity->virtual_time = MIN(MAX(entity->virtual_time, there - MIN(there, lag)), there + lag);
	/* From now on kicks go to the new CPU; earlier kicks have left ATTENTION_KICKED set. */
	atomic_store(&vcpu->cpu, cpu);
	sched_add(vcpu);
}

/*
 * Finds an idle CPU that may run the vCPU, and clears its idle bit: no other CPU shall choose it,
 * too. Returns CPU_MAX if there is none.
 */
static uint32_t take_idle(const struct cpu_mask *allowed)
{
	for (uint32_t i = 0; i < CPU_MAX / 64; i++) {
		uint64_t idle = atomic_load_relaxed(&idle_cpus.bits[i]) & allowed->bits[i];

		for (; idle != 0; idle &= idle - 1) {
			const uint64_t bit = idle & -idle;

			if ((atomic_and(&idle_cpus.bits[i], ~bit) & bit) != 0) {
				return 64 * i + (uint32_t)__builtin_ctzll(bit);
			}
		}
	}
	return CPU_MAX;
}

/*
 * Returns the one of the next few CPUs whose vCPUs have had most time, or CPU_MAX if a move is not
 * worth it. The other CPUs follow in later turns: looking at all of them at each slice would cost
 * more with every CPU.
 */
static uint32_t find_ahead(struct run_queue *queue, const struct cpu_mask *allowed)
{
	uint64_t most = atomic_load_relaxed(&queue->virtual_now) + tsc_from_us(AHEAD_US);
	uint32_t target = CPU_MAX;

	for (uint32_t i = 0; i < MIN(LOOKS, percpu_count()); i++) {
		const uint32_t cpu = queue->next_look < percpu_count() ? queue->next_look : 0;
		uint64_t there;

		queue->next_look = cpu + 1;
		if (&queues[cpu] == queue || !has_cpu(allowed, cpu)) {
			continue;
		}
		there = clock_of(cpu);
		if (there > most) {
			most = there;
			target = cpu;
		}
	}
	return target;
}

void sched_give_away(struct run_queue *queue, struct vcpu *spare)
{
	const struct cpu_mask allowed = allowed_cpus(spare->vm);
	uint32_t target = take_idle(&allowed);

	if (target != CPU_MAX) {
		/* Its queue continues at the others' virtual time (sched_idle_over). */
		move(queue, spare, target,
		     MAX(clock_of(target), atomic_load_relaxed(&queue->virtual_now)));
		return;
	}
	target = find_ahead(queue, &allowed);
	if (target != CPU_MAX && cpu_rdtsc() - spare->priv->sched.moved_at > tsc_from_us(STAY_US)) {
		move(queue, spare, target, clock_of(target));
	}
}

void sched_follow_wishes(struct run_queue *queue, struct vcpu *vcpu)
{
	struct sched_entity *entity = &vcpu->priv->sched;
	uint32_t wishes = atomic_load_acquire(&vcpu->vm->wishes);
	uint32_t weight = weight_of(vcpu->vm);
	struct cpu_mask allowed;
	uint32_t target;

	if (wishes == entity->wishes_seen) {
		return;
	}
	entity->wishes_seen = wishes;
	lock_take(&queue->lock, LOCK_RUN_QUEUE);
	change(queue, 0, weight - entity->weight);
	entity->weight = weight;
	lock_drop(&queue->lock);
	allowed = allowed_cpus(vcpu->vm);
	if (!has_cpu(&allowed, percpu_self()->index)) {
		target = least_loaded(vcpu->vm);
		move(queue, vcpu, target, clock_of(target));
	}
}

void sched_set_weight(struct vm *vm, uint32_t weight)
{
	atomic_store_relaxed(&vm->weight, weight);
	atomic_add(&vm->wishes, 1);
}

void sched_set_affinity(struct vm *vm, const uint64_t affinity[CPU_MAX / 64])
{
	for (size_t i = 0; i < ARRAY_COUNT(vm->affinity); i++) {
		atomic_store_relaxed(&vm->affinity[i], affinity[i]);
	}
	atomic_add(&vm->wishes, 1);
}
