/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/sched.c: shares by weight on one CPU and on several, sleeping vCPUs, pauses, yields, moves,
 * ends.
 */
#include "tests/unit/test.h"
#include "tests/unit/sched_models.h"
#include "vmm/console/console.h"
#include "vmm/sched_priv.h"

TEST(shares_follow_weights, setup, teardown)
{
	begin(0, 100, 0);
	begin(1, 200, 0);
	begin(2, 500, 0);
	go_on(4000 * MS);
	assert_share(&models[0], 4000 * MS, 12);
	assert_share(&models[1], 4000 * MS, 25);
	assert_share(&models[2], 4000 * MS, 63);
}

TEST(commands_are_followed, setup, teardown)
{
	const uint64_t second[CPU_MAX / 64] = { BIT(1) };

	use_cpus(2);
	begin(0, 100, BIT(0));
	begin(1, 100, BIT(0));
	go_on(100 * MS);
	assert_share(&models[0], 100 * MS, 50);
	sched_set_weight(&models[0].vm, 300);
	go_on(4000 * MS);
	assert_in_range(run_ticks(&models[0]), 2950 * MS, 3150 * MS);
	sched_set_affinity(&models[1].vm, second);
	go_on(1000 * MS);
	assert_int_equal(models[1].vcpu.cpu.only, 1);
	assert_in_range(run_ticks(&models[0]), 3930 * MS, 4150 * MS);
	assert_int_equal(models[1].parked, 1);
}

static bool wants_more;

static bool nobody(void)
{
	return wants_more;
}

/* The first CPU polls for typed text often, busy or idle, if the line could lose some. */
TEST(a_serial_line_is_polled, setup, teardown)
{
	const unsigned idled = idle_count;

	begin(0, 100, 0);
	sched_turn(nobody);
	assert_int_equal(fake_console_listened, 0); /* there is no such line */
	fake_console_is_line = true;
	sched_turn(nobody);
	assert_int_equal(models[0].turns, 2);
	assert_int_equal(run_ticks(&models[0]), 8 * MS);
	assert_int_equal(fake_console_listened, 5); /* also between the slices */
	sched_turn(NULL);			    /* a CPU that cannot use the console */
	assert_int_equal(fake_console_listened, 5);
	models[0].vcpu.state.only = VCPU_HALTED;
	models[0].wakes_at = fake_tsc + 1000 * MS;
	models[0].priv.halted_if.only = true;
	wants_more = true; /* so it does not wait */
	sched_turn(nobody);
	assert_int_equal(idle_count, idled);
	wants_more = false;
	sched_turn(nobody);
	assert_int_equal(idle_count, idled + 1);
	assert_in_range(idle_until, fake_tsc, fake_tsc + MS);
}

static uint64_t served_at, longest;

static void note_service(void)
{
	longest = MAX(longest, fake_tsc - served_at);
	served_at = fake_tsc;
}

static bool serves(void)
{
	note_service();
	return false;
}

/* Slices of all lengths follow each other, but the line does not wait longer for that. */
TEST(a_serial_line_is_polled_in_time, setup, teardown)
{
	begin(0, 100, 0);
	for (unsigned i = 1; i < 3; i++) {
		begin(i, 100, 0);
		models[i].work = i * MS / 4;
		models[i].sleep = MS / 3;
	}
	fake_console_is_line = true;
	fake_console_hook = note_service;
	served_at = fake_tsc;
	longest = 0;
	for (unsigned i = 0; i < 400; i++) {
		sched_turn(serves);
	}
	assert_true(models[0].turns > 50 && models[1].turns > 50 && models[2].turns > 50);
	assert_in_range(longest, CONSOLE_LISTEN_US * 1000, (CONSOLE_LISTEN_US + 50) * 1000);
}

/* The end of a slice is a look, too: a vCPU does not leave the guest twice for it. */
TEST(no_look_right_before_the_end_of_a_slice, setup, teardown)
{
	struct run_queue queue = { .slice_end = 4 * MS + MS / 50,
				   .clock = { UINT64_MAX },
				   .listen_ticks = MS };

	assert_int_equal(sched_next_look(&queue, 2 * MS), 3 * MS);
	assert_int_equal(sched_next_look(&queue, 3 * MS), queue.slice_end);
	queue.slice_end = 4 * MS + MS / 10;
	assert_int_equal(sched_next_look(&queue, 3 * MS), 4 * MS);
	queue.slice_end = 4 * MS - 1;
	assert_int_equal(sched_next_look(&queue, 3 * MS), queue.slice_end);
	queue.listen_ticks = 0;
	assert_int_equal(sched_next_look(&queue, 0), queue.slice_end);
}

TEST(three_equals_share_two_cpus, setup, teardown)
{
	use_cpus(2);
	for (unsigned i = 0; i < 3; i++) {
		begin(i, 100, 0);
	}
	go_on(4000 * MS);
	for (unsigned i = 0; i < 3; i++) {
		assert_share(&models[i], 4000 * MS, 67);
		/* It did not move back and forth at every slice. */
		assert_true(models[i].parked < 4000 / 10);
	}
}

TEST(a_heavy_vcpu_gets_a_cpu_and_the_light_ones_the_other, setup, teardown)
{
	use_cpus(2);
	begin(0, 100, 0);
	begin(1, 100, 0);
	begin(2, 1000, 0);
	go_on(4000 * MS);
	assert_share(&models[0], 4000 * MS, 50);
	assert_share(&models[1], 4000 * MS, 50);
	assert_share(&models[2], 4000 * MS, 100);
}

TEST(idle_cpus_are_given_work, setup, teardown)
{
	unsigned parked = 0;

	use_cpus(4);
	for (unsigned i = 0; i < 4; i++) {
		begin(i, 100, BIT(0));
		models[i].vm.affinity[0].only = 0; /* placed on one CPU, free to move from now on */
	}
	go_on(400 * MS);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(run_ticks(&models[i]) > 360 * MS);
		parked += models[i].parked;
	}
	assert_true(parked >= 3); /* else their registers would have stayed behind */
}

TEST(affinity_is_kept, setup, teardown)
{
	use_cpus(4);
	begin(0, 100, BIT(2));
	begin(1, 100, BIT(2));
	begin(2, 100, BIT(40)); /* a CPU that does not exist: as without affinity */
	go_on(400 * MS);
	assert_int_equal(models[0].vcpu.cpu.only, 2);
	assert_int_equal(models[1].vcpu.cpu.only, 2);
	assert_share(&models[0], 400 * MS, 50);
	assert_share(&models[2], 400 * MS, 100);
}

TEST(a_sleeper_is_served_soon_and_saves_up_nothing, setup, teardown)
{
	struct model *sleeper;

	begin(0, 100, 0);
	sleeper = begin(1, 100, 0);
	sleeper->sleep = 30 * MS;
	sleeper->work = MS;
	sleeper->wakes_at = clocks[0];
	go_on(2000 * MS);
	assert_true(sleeper->turns > 2000 / 33);
	assert_true(sleeper->latest <= MS / 4);
	/* From now on it spins: its earlier sleep gains it at most a slice. */
	sleeper->sleep = 0;
	models[0].priv.sched.run_ticks.only = sleeper->priv.sched.run_ticks.only = 0;
	go_on(200 * MS);
	assert_true(run_ticks(sleeper) < 106 * MS);
}

/* A slice ahead of what the others have had by then: it need not wait for their slices. */
TEST(a_vcpu_that_wakes_is_a_slice_ahead, setup, teardown)
{
	const struct model *spins = begin(0, 100, 0);
	struct model *sleeper = begin(1, 100, 0);

	sleeper->vcpu.state.only = VCPU_HALTED;
	sleeper->wakes_at = clocks[0] + 100 * MS;
	sleeper->sleep = sleeper->work = MS / 10;
	while (sleeper->turns == 0) {
		turn(0);
	}
	assert_in_range(spins->priv.sched.virtual_time - sleeper->priv.sched.virtual_time, 7 * MS,
			9 * MS);
}

/* With equal virtual time: behind the vCPU that ran last. */
TEST(equals_take_turns, setup, teardown)
{
	uint64_t base;

	for (unsigned i = 0; i < 3; i++) {
		begin(i, 100, 0);
	}
	turn(0); /* all are runnable now */
	base = turns_of[0]->priv.sched.virtual_time;
	for (unsigned n = 0; n < 5; n++) {
		for (unsigned i = 0; i < 3; i++) {
			models[i].priv.sched.virtual_time = base;
		}
		turn(0);
	}
	for (unsigned n = 0; n < 3; n++) {
		assert_ptr_equal(turns_of[n], turns_of[n + 3]);
		assert_ptr_not_equal(turns_of[n], turns_of[n + 1]);
	}
}

/* A timer that is due soon, of a vCPU that sleeps with interrupts off. */
TEST(a_vcpu_that_cannot_wake_ends_no_slice, setup, teardown)
{
	begin(0, 100, 0);
	begin(1, 100, 0);
	models[1].vcpu.state.only = VCPU_HALTED;
	models[1].priv.halted_if.only = false;
	models[1].wakes_at = clocks[0] + MS;
	turn(0);
	assert_true(run_ticks(&models[0]) >= 39 * MS / 10);
}

/* Idling uses the timer for its own deadline. */
TEST(the_timer_is_armed_again_after_idling, setup, teardown)
{
	sched_arm_timer(77 * MS);
	assert_int_equal(fake_timer_deadline, 77 * MS);
	turn(0);
	fake_timer_deadline = 0;
	sched_arm_timer(77 * MS);
	assert_int_equal(fake_timer_deadline, 77 * MS);
}

/*
 * Two vCPUs that sleep and wake every few us cause many changes of vCPU, and they alone pay for
 * that.
 */
TEST(vcpus_that_nap_pay_for_the_changes, setup, teardown)
{
	for (unsigned i = 0; i < 3; i++) {
		begin(i, 100, 0);
	}
	models[0].sleep = models[1].sleep = MS / 50;
	models[0].work = models[1].work = MS / 100;
	poll_ticks = MS / 20;
	go_on(4000 * MS);
	assert_true(models[0].turns > 1000 && models[1].turns > 1000);
	assert_true(run_ticks(&models[2]) > 4000 * MS / 3 * 98 / 100);
}

/* A heavy sleeper that wakes does not end another's slice before that has run for a while. */
TEST(slices_are_not_cut_to_nothing, setup, teardown)
{
	begin(0, 100, 0);
	begin(1, 10000, 0);
	models[1].sleep = MS / 50;
	models[1].work = MS / 100;
	go_on(400 * MS);
	assert_true(models[0].turns > 1000);
	assert_true(run_ticks(&models[0]) / models[0].turns >= MS / 10);
}

/*
 * Virtual time goes ten times as fast on the other CPU: that gives a vCPU that moves there no
 * credit.
 */
TEST(a_vcpu_that_moves_brings_no_credit, setup, teardown)
{
	use_cpus(2);
	begin(0, 100, BIT(0));
	begin(1, 10, BIT(1));
	go_on(400 * MS);
	begin(2, 100, BIT(0));
	models[2].vm.affinity[0].only = 0;
	models[1].priv.sched.run_ticks.only = 0;
	go_on(400 * MS);
	assert_int_equal(models[2].vcpu.cpu.only, 1);
	assert_true(run_ticks(&models[1]) > 15 * MS);
}

TEST(a_kick_ends_the_slice_of_another, setup, teardown)
{
	uint64_t kicked_at;

	begin(0, 100, 0);
	begin(1, 100, 0);
	models[1].sleep = models[1].work = 1000 * MS;
	models[1].vcpu.state.only = VCPU_HALTED;
	models[1].wakes_at = UINT64_MAX;
	go_on(40 * MS);
	assert_int_equal(models[1].turns, 0);
	kicked_at = late_kick = clocks[0] + MS;
	go_on(8 * MS);
	assert_true(models[1].turns > 0);
	assert_true(models[1].latest <= MS / 4);
	assert_true(kicked_at < clocks[0]);
}

TEST(siblings_that_yield_starve_no_other, setup, teardown)
{
	begin(0, 100, 0)->yields = true;
	begin(1, 100, 0)->yields = true;
	models[1].vcpu.vm = &models[0].vm; /* a sibling of the first */
	models[0].vm.running.only = 2;
	models[1].vm.running.only = 0;
	begin(2, 100, 0);
	go_on(3000 * MS);
	assert_true(models[2].priv.sched.run_ticks.only > 900 * MS);
	/* And a yield lets the other of the two run: they proceed in step. */
	assert_true(models[0].turns <= models[1].turns + 1 &&
		    models[1].turns <= models[0].turns + 1);
}

TEST(a_paused_vm_is_left_alone, setup, teardown)
{
	uint64_t ran;
	unsigned polls;

	begin(0, 100, 0);
	begin(1, 100, 0);
	go_on(40 * MS);
	models[0].vm.paused.only = true;
	ran = run_ticks(&models[0]);
	polls = models[0].polls;
	go_on(40 * MS);
	assert_int_equal(run_ticks(&models[0]), ran);
	assert_int_equal(models[0].polls, polls);
	assert_true(run_ticks(&models[1]) >= 56 * MS);
	models[0].vm.paused.only = false;
	go_on(40 * MS);
	assert_true(run_ticks(&models[0]) > ran + 16 * MS);
	assert_true(models[0].polls > polls);
}

/*
 * The vCPU that runs after one that yielded, when its sibling has had so much more than another
 * VM's. The queue has the sibling before that one or behind it.
 */
static struct model *comes_after_a_yield(uint64_t lead, unsigned sibling)
{
	const unsigned other = 3 - sibling;
	uint64_t base;

	begin(0, 100, 0)->yields = true;
	begin(1, 100, 0);
	begin(2, 100, 0);
	models[sibling].vcpu.vm = &models[0].vm;
	models[0].vm.running.only = 2;
	models[sibling].vm.running.only = 0;
	turn(0); /* all are runnable now */
	base = turns_of[0]->priv.sched.virtual_time + 100 * MS;
	for (unsigned i = 0; i < 3; i++) {
		models[i].priv.sched.virtual_time = base;
	}
	models[sibling].priv.sched.virtual_time += MS + lead;
	models[other].priv.sched.virtual_time += MS;
	models[0].priv.sched.run_ticks.only = 0;
	turn_count = 0;
	turn(0);
	assert_ptr_equal(turns_of[0], &models[0]);
	assert_true(models[0].priv.sched.run_ticks.only < MS / 10);
	turn(0);
	return turns_of[1];
}

TEST(a_yield_helps_siblings_by_a_slice, setup, teardown)
{
	assert_ptr_equal(comes_after_a_yield(3 * MS, 1), &models[1]);
}

TEST(a_yield_helps_siblings_in_any_order, setup, teardown)
{
	assert_ptr_equal(comes_after_a_yield(3 * MS, 2), &models[2]);
}

TEST(a_yield_helps_siblings_by_no_more, setup, teardown)
{
	assert_ptr_equal(comes_after_a_yield(5 * MS, 1), &models[2]);
}

/* The vCPU that runs after one that yielded: a sibling, or another that has waited longer. */
static struct model *of_two_siblings(uint64_t lead_of_the_longest)
{
	uint64_t base;

	for (unsigned i = 0; i < 4; i++) {
		begin(i, 100, 0);
		models[i].vcpu.vm = &models[i < 3 ? 0 : 3].vm; /* three siblings and another VM */
		models[i].vm.running.only = i == 0 ? 3 : i == 3;
	}
	models[0].yields = true;
	turn(0);
	base = models[0].priv.sched.virtual_time + 100 * MS;
	for (unsigned i = 0; i < 4; i++) {
		models[i].priv.sched.virtual_time = base + 10 * MS;
		models[i].priv.sched.ready_since = clocks[0];
	}
	models[0].priv.sched.virtual_time = base;
	models[1].priv.sched.virtual_time = base + 9 * MS;
	models[2].priv.sched.virtual_time = base + 10 * MS + lead_of_the_longest;
	models[2].priv.sched.ready_since = 1;
	turn_count = 0;
	turn(0);
	assert_ptr_equal(turns_of[0], &models[0]);
	turn(0);
	return turns_of[1];
}

TEST(a_yield_lets_the_longest_waiting_sibling_run, setup, teardown)
{
	assert_ptr_equal(of_two_siblings(3 * MS), &models[2]);
}

TEST(a_yield_to_siblings_costs_others_little, setup, teardown)
{
	assert_ptr_equal(of_two_siblings(5 * MS), &models[1]);
}

/* As for a sleeper, time that it gave up gains it at most a slice later. */
TEST(a_vcpu_that_yields_saves_nothing, setup, teardown)
{
	begin(0, 100, 0)->yields = true;
	begin(1, 100, 0);
	go_on(1000 * MS);
	assert_true(run_ticks(&models[0]) < 100 * MS);
	models[0].yields = false;
	models[0].priv.sched.run_ticks.only = models[1].priv.sched.run_ticks.only = 0;
	go_on(200 * MS);
	assert_true(run_ticks(&models[0]) < 110 * MS);
}

/* The scheduler keeps no pointer to a vCPU that has left: it may be freed. */
TEST(a_vcpu_that_has_ended_is_forgotten, setup, teardown)
{
	uint64_t time;

	for (unsigned i = 0; i < 3; i++) {
		begin(i, 100, 0);
	}
	models[1].ends = true;
	poll_ticks = MS / 10;
	while (models[1].unloaded == 0) {
		turn(0);
	}
	time = models[1].priv.sched.virtual_time;
	models[1].priv.sched.next = &models[1].vcpu;
	models[0].turns = models[2].turns = 0;
	turn(0);
	assert_int_equal(models[0].turns + models[2].turns, 1);
	go_on(clocks[0] + 40 * MS);
	assert_int_equal(models[1].priv.sched.virtual_time, time);
	assert_int_equal(models[1].turns, 1);
	assert_true(run_ticks(&models[0]) > 10 * MS && run_ticks(&models[2]) > 10 * MS);
}

TEST(a_kick_reaches_the_cpu_of_its_vcpu, setup, teardown)
{
	uint64_t before;

	use_cpus(2);
	fake_set_cpu(0);
	before = fake_kicks(1);
	begin(0, 100, BIT(1));
	assert_int_equal(fake_kicks(1), before + 1); /* it may be asleep */
	before = fake_kicks(1);
	sched_kick(&models[0].vcpu);
	assert_int_equal(fake_kicks(1), before + 1);
}

TEST(idling_ends_for_kicks_and_deadlines, setup, teardown)
{
	unsigned idles;

	begin(0, 100, 0);
	models[0].vcpu.state.only = VCPU_HALTED;
	models[0].wakes_at = clocks[0] + 3 * MS;
	models[0].sleep = models[0].work = MS;
	turn(0);
	assert_int_equal(idle_until, 3 * MS);
	models[0].vcpu.state.only = VCPU_HALTED;
	models[0].wakes_at = UINT64_MAX;
	kicked_by_poll = &models[0]; /* between the check of the queue and the wait */
	idles = idle_count;
	turn(0);
	assert_int_equal(idle_count, idles);
	turn(0);
	assert_int_equal(models[0].turns, 1);
}

TEST(the_timer_is_armed_when_it_has_to_be, setup, teardown)
{
	sched_arm_timer(1000);
	assert_int_equal(fake_timer_deadline, 1000);
	fake_timer_deadline = 0;
	sched_arm_timer(1000);
	assert_int_equal(fake_timer_deadline, 0); /* the timer is set to that already */
	percpu_self()->timer_count++; /* it has fired early, for a deadline beyond its range */
	sched_arm_timer(1000);
	assert_int_equal(fake_timer_deadline, 1000);
	sched_arm_timer(2000);
	assert_int_equal(fake_timer_deadline, 2000);
}

/* A new weight counts from the next time the vCPU is queued; the sums of the queue stay right. */
TEST(a_weight_may_change_while_queued, setup, teardown)
{
	use_cpus(2);
	begin(0, 100, BIT(0));
	begin(1, 300, BIT(1));
	models[1].vm.weight.only = 1;
	models[0].vm.weight.only = 10000;
	go_on(40 * MS);
	models[1].vm.state.only = VM_ENDING;
	go_on(40 * MS);
	models[0].vm.state.only = VM_ENDING;
	go_on(40 * MS);
	/* Both CPUs are empty: each gets one of the two vCPUs. */
	begin(2, 100, 0);
	begin(3, 100, 0);
	assert_int_not_equal(models[2].vcpu.cpu.only, models[3].vcpu.cpu.only);
	/* Weight 0 (a caller's mistake) counts as the smallest weight. */
	begin(4, 0, 0);
	go_on(40 * MS);
	assert_true(models[4].turns > 0);
}

TEST(waiting_is_counted, setup, teardown)
{
	struct sched_times times;

	begin(0, 100, 0);
	begin(1, 300, 0);
	go_on(400 * MS);
	sched_times(&models[0].vm, &times);
	assert_in_range(times.steal, 280 * MS, 320 * MS);
	sched_times(&models[1].vm, &times);
	assert_in_range(times.steal, 80 * MS, 120 * MS);
}
