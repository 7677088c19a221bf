/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/sched.c: what wakes an idle CPU, and the clocks of VMs. */
#include "tests/unit/test.h"
#include "tests/unit/sched_models.h"

/* A vCPU that sleeps with interrupts off cannot use its timers: no CPU may wake for them. */
TEST(a_vcpu_that_cannot_wake_keeps_no_cpu_awake, setup, teardown)
{
	const unsigned idles = idle_count;

	begin(0, 100, 0);
	models[0].vcpu.state.only = VCPU_HALTED;
	models[0].priv.halted_if.only = false;
	models[0].wakes_at = 1;
	clocks[0] = MS;
	turn(0);
	assert_int_equal(idle_count, idles + 1);
	assert_true(idle_until > 5 * MS);
}

/* Devices go on whatever the first vCPU does or waits for. */
TEST(a_clock_goes_on_without_its_vcpus, setup, teardown)
{
	static const enum vcpu_run_state states[] = { VCPU_WAIT_SIPI, VCPU_HALTED };

	for (unsigned i = 0; i < ARRAY_COUNT(states); i++) {
		begin(i, 100, 0);
		models[i].vcpu.state.only = states[i];
		models[i].priv.halted_if.only = false;
		models[i].wakes_at = UINT64_MAX;
		models[i].period = MS;
		set_clock(&models[i], clocks[0] + MS);
	}
	go_on(100 * MS);
	for (unsigned i = 0; i < ARRAY_COUNT(states); i++) {
		assert_in_range(models[i].ticks, 98, 100);
		assert_int_equal(models[i].turns, 0);
		assert_int_equal(models[i].ticked_late, 0);
	}
}

/* It runs in the middle of another vCPU's slice, and the VM that has the clock pays for it. */
TEST(a_clock_ends_no_slice_and_is_charged, setup, teardown)
{
	begin(0, 100, 0);
	begin(1, 100, 0);
	models[1].period = MS;
	models[1].tick_cost = MS / 5;
	set_clock(&models[1], clocks[0] + MS);
	go_on(4000 * MS);
	assert_in_range(models[1].ticks, 4000 * 4 / 5, 4000);
	assert_true(models[1].ticked_late <= MS / 10);
	assert_true(models[0].turns <= 2000 / 3); /* each has four fifths of its 4 ms */
	assert_in_range(run_ticks(&models[0]), 1960 * MS, 2040 * MS);
}

/* The VM whose clock it is can be paused in the middle of another VM's slice. */
TEST(a_served_vm_is_released, setup, teardown)
{
	uint64_t slice_end = UINT64_MAX;

	fake_set_cpu(0);
	begin(0, 100, 0);
	models[0].vcpu.state.only = VCPU_HALTED;
	set_clock(&models[0], fake_tsc);
	(void)sched_slice_over(&slice_end);
	assert_int_equal(models[0].ticks, 1);
	assert_int_equal(models[0].priv.sched.on_cpu.only, 0);
}

TEST(a_clock_is_found_wherever_it_is, setup, teardown)
{
	uint64_t before;

	use_cpus(2);
	begin(0, 100, BIT(0));
	begin(1, 100, BIT(1));
	models[1].vcpu.state.only = VCPU_WAIT_SIPI;
	fake_set_cpu(0);
	before = fake_kicks(1);
	set_clock(&models[1], clocks[1] + 2 * MS);
	assert_int_equal(fake_kicks(1), before + 1);
	go_on(10 * MS);
	assert_int_equal(models[1].ticks, 1);
	/* A VM that moves takes its clock along. */
	models[0].vm.affinity[0].only = BIT(1);
	models[0].vm.wishes.only++;
	models[0].vm.clock_deadline.only = until + 2 * MS;
	go_on(20 * MS);
	assert_int_equal(models[0].vcpu.cpu.only, 1);
	assert_int_equal(models[0].ticks, 1);
}

/* As another CPU may do it, between this CPU's check of the VM and the end of the round. */
TEST(a_change_during_the_round_is_not_lost, setup, teardown)
{
	begin(0, 100, 0);
	begin(1, 100, 0);
	changes_meanwhile = &models[1]; /* comes first in the list */
	set_clock(&models[0], clocks[0] + MS);
	go_on(4 * MS);
	assert_int_equal(models[0].ticks, 1);
	assert_int_equal(models[1].ticks, 1);
	assert_true(models[1].ticked_late <= MS / 10);
}

TEST(a_paused_clock_stands_still, setup, teardown)
{
	unsigned ticks;
	const unsigned idles = idle_count;

	begin(0, 100, 0);
	models[0].vcpu.state.only = VCPU_WAIT_SIPI;
	models[0].period = MS;
	set_clock(&models[0], clocks[0] + MS);
	go_on(10 * MS);
	ticks = models[0].ticks;
	assert_true(ticks >= 8);
	models[0].vm.paused.only = true;
	go_on(100 * MS);
	assert_int_equal(models[0].ticks, ticks);
	assert_true(idle_count - idles < 40); /* its CPU sleeps in between */
	models[0].vm.paused.only = false;
	fake_set_cpu(0);
	sched_clock_changed(&models[0].vm);
	go_on(10 * MS);
	assert_true(models[0].ticks > ticks);
}
