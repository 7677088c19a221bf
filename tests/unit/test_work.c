/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/host/work.c: the order of steps, works that are taken back, and the kick at an end. */
#include "tests/unit/test.h"
#include "vmm/host/work.h"

static struct job {
	struct work work;
	unsigned left, done;
} jobs[3];

static struct job *taken_back; /* by another CPU, during a step of the job */

static bool step(void *context)
{
	struct job *job = context;

	if (taken_back != NULL) {
		assert_int_equal(work_take_back(&taken_back->work), taken_back != job);
	}
	job->done++;
	return --job->left != 0;
}

static void give(struct job *job, unsigned steps)
{
	*job = (struct job){ .work = { .step = step, .context = job }, .left = steps };
	work_add(&job->work);
}

TEST(works_take_turns, fake_setup, fake_teardown)
{
	assert_false(work_waits());
	assert_false(work_some());
	for (unsigned i = 0; i < 3; i++) {
		give(&jobs[i], 2 + i);
	}
	for (unsigned i = 0; i < 9; i++) {
		const unsigned turn[] = { 0, 1, 2, 0, 1, 2, 1, 2, 2 };
		const unsigned before = jobs[turn[i]].done;

		assert_true(work_waits());
		assert_true(work_some());
		assert_int_equal(jobs[turn[i]].done, before + 1);
	}
	assert_false(work_waits());
	assert_false(work_some());
}

TEST(a_waiting_work_is_taken_back, fake_setup, fake_teardown)
{
	for (unsigned i = 0; i < 3; i++) {
		give(&jobs[i], 1);
	}
	assert_true(work_take_back(&jobs[2].work));
	assert_false(work_take_back(&jobs[2].work));
	work_add(&jobs[2].work); /* behind the others again */
	assert_true(work_take_back(&jobs[0].work));
	assert_true(work_some());
	assert_int_equal(jobs[1].done, 1);
	assert_true(work_some());
	assert_int_equal(jobs[2].done, 1);
	assert_false(work_some());
	assert_false(work_take_back(&jobs[1].work)); /* it is done */
}

/* A work whose step is running is not taken back; its owner must wait. */
TEST(a_running_work_is_not_taken_back, fake_setup, fake_teardown)
{
	give(&jobs[0], 2);
	give(&jobs[1], 1);
	taken_back = &jobs[0];
	assert_true(work_some());
	taken_back = &jobs[0]; /* it is queued behind the other, whose step takes it back */
	assert_true(work_some());
	taken_back = NULL;
	assert_int_equal(jobs[1].done, 1);
	assert_false(work_some());
	assert_int_equal(jobs[0].done, 1);
}

/* A CPU other than the first kicks the first when a work is done, and not before. */
TEST(the_boot_processor_is_kicked_at_an_end, fake_setup, fake_teardown)
{
	fake_set_cpu_count(2);
	give(&jobs[0], 2);
	fake_set_cpu(1);
	assert_true(work_some());
	assert_int_equal(fake_kicks(0), 0);
	assert_true(work_some());
	assert_int_equal(fake_kicks(0), 1);
	give(&jobs[0], 1);
	fake_set_cpu(0);
	assert_true(work_some());
	assert_int_equal(fake_kicks(0), 1);
}
