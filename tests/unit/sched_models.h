/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of vmm/sched.c: vCPUs are models that spin or sleep. Each CPU has its own clock, and
 * the CPU whose clock is behind runs next.
 */
#ifndef UMBRA_TEST_SCHED_MODELS_H
#define UMBRA_TEST_SCHED_MODELS_H

#include "tests/unit/test.h"
#include "vmm/attention.h"
#include "vmm/base/percpu.h"
#include "vmm/base/tsc.h"
#include "vmm/host/lapic.h"
#include "vmm/sched.h"
#include "vmm/sched_slice.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_run.h"

#define MODELS 8
#ifndef CPUS
#define CPUS 4
#endif
#define MS 1000000ul /* TSC ticks: the fake runs at 1 GHz */

static struct model {
	struct vm vm;
	struct vcpu vcpu;
	struct vcpu_private priv;
	bool yields, ends;    /* ends: the vCPU ends in its next turn */
	uint64_t sleep, work; /* ticks; sleep 0: it spins */
	uint64_t wakes_at;    /* host TSC */
	bool woke;
	uint64_t latest; /* most ticks from wakes_at to its turn */
	unsigned parked, unloaded, turns, polls;
	unsigned ticks;		    /* of the VM's clock ... */
	uint64_t period, tick_cost; /* ... every so many TSC ticks; 0: once */
	uint64_t ticked_late;	    /* most ticks that one was late */
} models[MODELS];

static uint64_t clocks[CPUS], until;
static struct model *turns_of[8];
static size_t turn_count;
static struct model *kicked_by_poll; /* by the poll hook, once */
static unsigned idle_count;
static uint64_t idle_until;
static uint64_t poll_ticks; /* ticks that the hook takes, and so each change of vCPU */
static uint64_t late_kick;  /* kicks models[1] at this TSC, once */

static struct model *model_of(const struct vcpu *vcpu)
{
	return (struct model *)(void *)((char *)(uintptr_t)vcpu - offsetof(struct model, vcpu));
}

bool vcpu_wake(struct vcpu *vcpu)
{
	struct model *model = model_of(vcpu);

	(void)attention_clear(vcpu, ATTENTION_KICKED);
	if (vcpu->state.only == VCPU_HALTED && model->priv.halted_if.only &&
	    fake_tsc >= model->wakes_at) {
		vcpu->state.only = VCPU_RUNNABLE;
		model->woke = true;
	}
	return vcpu->state.only == VCPU_RUNNABLE;
}

/* Does it leave the guest, because of the timer or a kick? */
static bool exits(struct vcpu *vcpu, uint64_t timer)
{
	static uint64_t kicks;
	const uint64_t now = fake_kicks(percpu_self()->index);
	const bool yes = (attention_clear(vcpu, ATTENTION_EVENTS) & ATTENTION_EVENTS) != 0 ||
			 model_of(vcpu)->yields || kicks != now || fake_tsc >= timer;

	kicks = now;
	return yes;
}

void vcpu_run(struct vcpu *vcpu, uint64_t slice_end)
{
	struct model *model = model_of(vcpu);
	uint64_t work_end = fake_tsc + model->work;

	percpu_self()->vcpu = vcpu;
	model->turns++;
	if (turn_count < ARRAY_COUNT(turns_of)) {
		turns_of[turn_count++] = model;
	}
	if (model->woke) {
		model->woke = false;
		model->latest = MAX(model->latest, fake_tsc - model->wakes_at);
	}
	if (model->ends) {
		model->vm.state.only = VM_ENDING;
		vcpu->state.only = VCPU_HALTED;
		return;
	}
	(void)attention_set(vcpu, ATTENTION_EVENTS);
	while (!exits(vcpu, slice_end) || !sched_slice_over(&slice_end)) {
		fake_tsc += MS / 100;
		if (late_kick != 0 && fake_tsc >= late_kick) {
			late_kick = 0;
			models[1].wakes_at = fake_tsc;
			(void)attention_set(&models[1].vcpu, ATTENTION_KICKED);
			sched_kick(&models[1].vcpu);
		}
		if (model->yields) {
			sched_yield();
		}
		if (model->sleep != 0 && fake_tsc >= work_end) {
			vcpu->state.only = VCPU_HALTED;
			model->wakes_at = fake_tsc + model->sleep;
			return;
		}
	}
}

void vcpu_park(struct vcpu *vcpu)
{
	assert_int_equal(vcpu->cpu.only, percpu_self()->index);
	model_of(vcpu)->parked++;
	if (percpu_self()->vcpu == vcpu) {
		percpu_self()->vcpu = NULL;
	}
}

void vcpu_unload(struct vcpu *vcpu)
{
	assert_int_equal(vcpu->cpu.only, percpu_self()->index);
	model_of(vcpu)->unloaded++;
	percpu_self()->vcpu = NULL;
}

static uint64_t next_deadline(struct vcpu *vcpu)
{
	return model_of(vcpu)->wakes_at;
}

static void poll(struct vm *vm)
{
	((struct model *)vm)->polls++;
	fake_tsc += poll_ticks;
	if (kicked_by_poll != NULL) {
		kicked_by_poll->wakes_at = fake_tsc;
		(void)attention_set(&kicked_by_poll->vcpu, ATTENTION_KICKED);
		sched_kick(&kicked_by_poll->vcpu);
		kicked_by_poll = NULL;
	}
}

/* The hook of another VM changes the clock of this one, as another CPU may; once. */
static struct model *changes_meanwhile;

static inline void set_clock(struct model *model, uint64_t deadline)
{
	model->vm.clock_deadline.only = deadline;
	sched_clock_changed(&model->vm);
}

static void tick(struct vm *vm, uint64_t tsc)
{
	struct model *model = (struct model *)vm;

	assert_int_equal(model->vcpu.cpu.only, percpu_self()->index);
	assert_false(vm->paused.only);
	model->ticks++;
	model->ticked_late = MAX(model->ticked_late, tsc - vm->clock_deadline.only);
	vm->clock_deadline.only = model->period != 0 ? tsc + model->period : UINT64_MAX;
	fake_tsc += model->tick_cost;
	if (changes_meanwhile != NULL) {
		set_clock(changes_meanwhile, fake_tsc + MS / 4);
		changes_meanwhile = NULL;
	}
}

static const struct vm_hooks hooks = { .next_deadline = next_deadline,
				       .poll = poll,
				       .clock = tick };

/* A VM with one vCPU, which has started. */
static struct model *begin(unsigned index, uint32_t weight, uint64_t affinity)
{
	struct model *model = &models[index];

	memset(model, 0, sizeof(*model));
	model->vm.weight.only = weight;
	model->vm.affinity[0].only = affinity;
	model->vm.state.only = VM_RUNNING;
	model->vm.vcpus[0] = &model->vcpu;
	model->vm.vcpu_count = model->vm.running.only = 1;
	model->vm.hooks = &hooks;
	model->vm.clock_deadline.only = UINT64_MAX;
	model->vcpu.vm = &model->vm;
	model->vcpu.cpu.only = VCPU_NO_CPU;
	model->vcpu.state.only = VCPU_RUNNABLE;
	model->vcpu.priv = &model->priv;
	model->priv.halted_if.only = true;
	sched_add(&model->vcpu);
	return model;
}

static bool sleeps[CPUS];
static uint64_t kicks_seen[CPUS];

/* Of the CPUs that are awake, the one whose clock is behind the others'; CPUS: none. */
static uint32_t next_cpu(void)
{
	uint32_t behind = CPUS;

	for (uint32_t i = 0; i < percpu_count(); i++) {
		if (!sleeps[i] && (behind == CPUS || clocks[i] < clocks[behind])) {
			behind = i;
		}
	}
	return behind;
}

static inline void turn(uint32_t cpu)
{
	fake_set_cpu(cpu);
	fake_tsc = clocks[cpu];
	sched_turn(NULL);
	clocks[cpu] = fake_tsc;
}

static bool somebody_was_kicked(void)
{
	for (uint32_t i = 0; i < percpu_count(); i++) {
		if (sleeps[i] && fake_kicks(i) != kicks_seen[i]) {
			return true;
		}
	}
	return false;
}

/* While one CPU sleeps the others run. A kick for another reason may wake it early. */
void lapic_idle_until(uint64_t deadline)
{
	uint32_t self = percpu_self()->index, next;
	uint64_t now = fake_tsc;

	idle_count++;
	idle_until = deadline;
	clocks[self] = now;
	sleeps[self] = true;
	kicks_seen[self] = fake_kicks(self);
	while (!somebody_was_kicked() && (next = next_cpu()) != CPUS && clocks[next] < deadline &&
	       clocks[next] < until) {
		turn(next);
		now = MAX(now, clocks[next]);
	}
	fake_set_cpu(self);
	fake_tsc = somebody_was_kicked() ? MIN(now, deadline) : deadline;
	sleeps[self] = false;
}

/* Runs all CPUs until each clock has passed so many ticks. */
static inline void go_on(uint64_t ticks)
{
	uint32_t next;

	until += ticks;
	while ((next = next_cpu()) != CPUS && clocks[next] < until) {
		turn(next);
	}
}

/* Uses so many CPUs, which have been idle for some time. */
static inline void use_cpus(uint32_t count)
{
	fake_set_cpu_count(count);
	go_on(MS);
	memset(clocks, 0, sizeof(clocks));
	until = 0;
}

static int setup(void **state)
{
	int err = fake_setup(state);

	memset(clocks, 0, sizeof(clocks));
	memset(models, 0, sizeof(models));
	memset(sleeps, 0, sizeof(sleeps));
	late_kick = until = poll_ticks = 0;
	turn_count = 0;
	kicked_by_poll = NULL;
	changes_meanwhile = NULL;
	return err;
}

/* Ends all VMs, so that the next test finds empty queues; each vCPU has left its CPU once. */
static int teardown(void **state)
{
	for (unsigned i = 0; i < MODELS; i++) {
		models[i].vm.state.only = VM_ENDING;
	}
	for (uint32_t i = 0; i < percpu_count(); i++) {
		fake_set_cpu(i);
		sched_turn(NULL);
	}
	for (unsigned i = 0; i < MODELS; i++) {
		if (models[i].vm.hooks != NULL &&
		    (models[i].unloaded != 1 || models[i].vm.running.only != 0)) {
			return -1;
		}
	}
	return fake_teardown(state);
}

static uint64_t run_ticks(const struct model *model)
{
	struct sched_times times;

	sched_times(&model->vm, &times);
	return times.run;
}

static inline void assert_share(const struct model *model, uint64_t of, unsigned percent)
{
	uint64_t share = run_ticks(model) * 1000 / of;

	if (share < percent * 10 * 95 / 100 || share > percent * 10 * 105 / 100) {
		fail_msg("model %d: %d.%d %% instead of %u %%", (int)(model - models),
			 (int)share / 10, (int)share % 10, percent);
	}
}

#endif
