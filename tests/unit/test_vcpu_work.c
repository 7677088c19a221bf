/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/vcpu_run.c: when it asks for turns of device work, also when a vCPU leaves its CPU. */
#include "tests/unit/vcpu_cpu.h"

static unsigned works_left;
static unsigned last; /* so many of these may be done when the vCPU leaves */
static void (*meanwhile)(void);

/* A turn takes 60 us if the vCPU leaves, else no time. */
static uint64_t work(struct vcpu *vcpu, bool leaves)
{
	step(leaves ? "last" : "work");
	fake_tsc += leaves ? tsc_from_us(60) : 0;
	last -= leaves;
	if (meanwhile != NULL) {
		meanwhile();
	}
	return --works_left == 0 ? 0 : leaves && last != 0 ? fake_tsc : fake_tsc + 500;
}

static const struct vm_hooks work_hooks = { .irq_pending = irq_pending, .work = work };

static struct vcpu *create_with_work(unsigned turns, unsigned before_it_leaves)
{
	struct vcpu *vcpu;

	use_cpu(false);
	vcpu = create(&vms[0], 0);
	vms[0].hooks = &work_hooks;
	meanwhile = NULL;
	works_left = turns;
	last = before_it_leaves;
	vcpu_add_work(vcpu);
	return vcpu;
}

static void destroy(struct vcpu *vcpu)
{
	vcpu_unload(vcpu);
	vcpu_destroy(vcpu);
}

/* A turn before each entry; the vCPU runs until the next one; a halted vCPU does only that. */
TEST(device_work_makes_runnable, fake_setup, fake_teardown)
{
	struct vcpu *vcpu = create_with_work(9, 9);

	fake_tsc = 1000;
	exits_left = 3;
	vcpu_run(vcpu, 5000000);
	assert_int_equal(armed, 1000 + 500);
	/* At the end of the slice turns begin for 100 us. */
	assert_string_equal(steps, "load work launch work enter last last ");
	assert_true(attention_has(vcpu, ATTENTION_WORK));
	vcpu->state.only = VCPU_HALTED;
	works_left = 3;
	assert_true(vcpu_wake(vcpu));
	exits_left = 9;
	steps[0] = '\0';
	vcpu_run(vcpu, 5000000);
	assert_string_equal(steps, "work work work ");
	assert_false(vcpu_wake(vcpu));
	destroy(vcpu);
}

/* What has time until the vCPU's next slice is not done at the end of this one. */
TEST(what_can_wait_is_left, fake_setup, fake_teardown)
{
	struct vcpu *vcpu = create_with_work(9, 1);

	vcpu_run(vcpu, UINT64_MAX);
	assert_string_equal(steps, "load last ");
	assert_true(attention_has(vcpu, ATTENTION_WORK));
	destroy(vcpu);
}

/* A VM that ends through its guest may finish device work, for 1 ms. One that is paused may not. */
TEST(device_work_of_a_vm_that_ends, fake_setup, fake_teardown)
{
	static const struct {
		enum vm_end_reason why;
		bool paused;
		unsigned works, left;
	} rows[] = {
		{ VM_END_POWER_OFF, false, 3, 0 }, { VM_END_HALTED, false, 100, 100 - 17 },
		{ VM_END_TAMPERED, false, 3, 3 },  { VM_END_DESTROYED, false, 3, 3 },
		{ VM_END_NONE, true, 3, 3 },	   { VM_END_RESET, true, 3, 3 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct vcpu *vcpu = create_with_work(rows[i].works, 100);

		vms[0].state.only = rows[i].why == VM_END_NONE ? VM_RUNNING : VM_ENDING;
		vms[0].end_reason.only = rows[i].why;
		vms[0].paused.only = rows[i].paused;
		exits_left = 9;
		vcpu_run(vcpu, UINT64_MAX);
		assert_int_equal(works_left, rows[i].left);
		assert_int_equal(attention_has(vcpu, ATTENTION_WORK) != 0, rows[i].left != 0);
		assert_null(strstr(steps, "work"));
		destroy(vcpu);
	}
}

static void pause_it(void)
{
	vms[0].paused.only = true;
}

static void tamper_with_it(void)
{
	vms[0].end_reason.only = VM_END_TAMPERED;
	vms[0].state.only = VM_ENDING;
}

static void destroy_it(void)
{
	vms[0].end_reason.only = VM_END_DESTROYED;
	vms[0].state.only = VM_ENDING;
}

static void power_it_off(void)
{
	vms[0].end_reason.only = VM_END_POWER_OFF;
	vms[0].state.only = VM_ENDING;
}

/* Each turn begins only if the VM may work then. */
TEST(what_happens_between_two_turns, fake_setup, fake_teardown)
{
	static const struct {
		void (*what)(void);
		unsigned turns;
	} rows[] = {
		{ NULL, 2 },	   { pause_it, 1 },	 { tamper_with_it, 1 },
		{ destroy_it, 1 }, { power_it_off, 17 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct vcpu *vcpu = create_with_work(100, 100);

		meanwhile = rows[i].what;
		vcpu_run(vcpu, UINT64_MAX);
		assert_int_equal(works_left, 100 - rows[i].turns);
		destroy(vcpu);
	}
}
