/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/sched.c: which CPU does work that is not urgent, and who is charged for it. */
#include "tests/unit/test.h"
#include "tests/unit/sched_models.h"
#include "vmm/host/work.h"
#include "vmm/sched_priv.h"

#define STEP (MS / 2)

static unsigned left, done[CPUS], windows;

void fake_interrupt_window(void)
{
	windows++;
}

static bool step(void *context)
{
	done[percpu_self()->index]++;
	fake_tsc += STEP;
	return --left != 0;
}

static struct work work = { .step = step };

static void give_work(unsigned steps)
{
	memset(done, 0, sizeof(done));
	left = steps;
	work_add(&work);
}

TEST(idle_cpus_do_the_work, setup, teardown)
{
	use_cpus(2);
	begin(0, 100, BIT(0));
	go_on(8 * MS);
	windows = 0;
	give_work(100);
	go_on(100 * MS);
	assert_int_equal(left, 0);
	assert_int_equal(done[1], 100);
	assert_true(windows >= 100); /* the CPU answers interrupts between the steps */
	assert_share(&models[0], 108 * MS, 100);
}

/* A CPU that sleeps is kicked to do the work. */
TEST(a_sleeping_cpu_is_kicked, setup, teardown)
{
	uint64_t kicks;

	use_cpus(3);
	fake_set_cpu(0);
	fake_tsc += 1000 * MS; /* no CPU has worked lately */
	assert_false(sched_rouse_idle());
	sched_idle_begins(2);
	kicks = fake_kicks(2);
	assert_true(sched_rouse_idle());
	assert_int_equal(fake_kicks(2), kicks + 1);
	sched_idle_over(&queues[2], 2);
	assert_false(sched_rouse_idle());
}

/* While work waits for its next step, the CPU that did the last one is not idle for a moment. */
TEST(a_cpu_that_worked_lately_goes_on, setup, teardown)
{
	use_cpus(2);
	fake_set_cpu(1);
	give_work(2);
	sched_turn(NULL);
	assert_int_equal(left, 1);
	fake_set_cpu(0);
	assert_true(sched_rouse_idle());
	fake_tsc += 5 * MS;
	assert_false(sched_rouse_idle());
	assert_true(work_take_back(&work));
}

/* Then the work waits for the boot processor. */
TEST(busy_cpus_do_no_work, setup, teardown)
{
	use_cpus(2);
	begin(0, 100, BIT(0));
	begin(1, 100, BIT(1));
	go_on(20 * MS);
	give_work(3);
	go_on(20 * MS);
	assert_int_equal(left, 3);
	assert_true(work_take_back(&work));
}

/* A guest that wakes on a CPU that works waits for the end of a step, then has the CPU. */
TEST(a_guest_that_wakes_waits_for_a_step, setup, teardown)
{
	begin(0, 100, 0);
	models[0].sleep = 3 * MS;
	models[0].work = MS;
	models[0].vcpu.state.only = VCPU_HALTED;
	models[0].wakes_at = clocks[0];
	give_work(200);
	go_on(100 * MS);
	assert_true(models[0].turns > 20);
	assert_in_range(models[0].latest, 0, STEP + MS / 10);
	assert_true(done[0] > 100);
	go_on(200 * MS);
	assert_int_equal(left, 0);
}

static bool spend(void)
{
	fake_tsc += 5 * MS;
	sched_exempt(5 * MS);
	return false;
}

/* What the boot processor does for others between two slices is not charged to its own vCPUs. */
TEST(neighbours_are_not_charged, setup, teardown)
{
	const uint64_t *had = &models[0].priv.sched.virtual_time;
	uint64_t before;

	begin(0, 100, 0);
	sched_turn(spend);
	before = *had;
	for (unsigned i = 0; i < 10; i++) {
		sched_turn(spend);
	}
	assert_int_equal(*had - before, 40 * MS); /* its slices */
}

/* Time that was spent for a VM before its start is charged to it, by its weight, up to a limit. */
TEST(time_before_a_start_is_charged, setup, teardown)
{
	static const struct {
		uint32_t weight;
		uint64_t billed, waits;
	} rows[] = { { 100, 20 * MS, 20 }, { 200, 20 * MS, 10 }, { 100, 5000 * MS, 40 } };

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct model *old = begin(0, 100, 0), *late;
		uint64_t before;

		go_on(400 * MS);
		late = begin(1, rows[i].weight, 0);
		late->vm.state.only = VM_BUILDING; /* not started yet */
		sched_bill(&late->vcpu, rows[i].billed);
		late->vm.state.only = VM_RUNNING;
		assert_int_equal(run_ticks(late), rows[i].billed);
		before = run_ticks(old);
		while (late->turns == 0) {
			go_on(MS);
		}
		assert_in_range(run_ticks(old) - before, (rows[i].waits - 4) * MS,
				(rows[i].waits + 8) * MS);
		old->vm.state.only = late->vm.state.only = VM_ENDING;
		go_on(10 * MS);
	}
}
