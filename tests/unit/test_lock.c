/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/base/lock.h and lock_check.c: the order of locks is checked separately for each CPU. */
#include "tests/unit/test.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"

static bool ends;

bool panic_has_begun(void)
{
	return ends;
}

static int setup(void **state)
{
	ends = false;
	fake_setup(state);
	fake_set_cpu_count(2);
	percpu_get(0)->locks_held = percpu_get(1)->locks_held = 0;
	return 0;
}

TEST(later_ranks_are_taken_inside, setup, fake_teardown)
{
	struct lock gmem = { 0 }, window = { 0 }, console = { 0 };

	for (int round = 0; round < 2; round++) {
		lock_take(&gmem, LOCK_GMEM);
		lock_take(&window, LOCK_WINDOW);
		lock_take(&console, LOCK_CONSOLE);
		lock_drop(&window); /* locks may be released in any order */
		lock_drop(&gmem);
		lock_drop(&console);
		assert_int_equal(percpu_self()->locks_held, 0);
	}
}

TEST(an_earlier_or_equal_rank_panics, setup, fake_teardown)
{
	struct lock gmem = { 0 }, other = { 0 }, window = { 0 };

	lock_take(&window, LOCK_WINDOW);
	FAKE_EXPECT_PANIC(lock_take(&gmem, LOCK_GMEM), "a lock of rank");
	FAKE_EXPECT_PANIC(lock_take(&other, LOCK_WINDOW), "a lock of rank");
	lock_drop(&window);
	lock_take(&gmem, LOCK_GMEM);
	lock_drop(&gmem);
}

/* A CPU that does not wait cannot be part of a circle, but the lock that it gets counts. */
TEST(a_try_is_free, setup, fake_teardown)
{
	struct lock device = { 0 }, console = { 0 }, pool = { 0 };

	lock_take(&console, LOCK_CONSOLE);
	assert_true(lock_try(&device, LOCK_CONSOLE_DEVICE));
	assert_false(lock_try(&device, LOCK_CONSOLE_DEVICE));
	lock_drop(&console);
	FAKE_EXPECT_PANIC(lock_take(&pool, LOCK_POOL), "a lock of rank");
	lock_drop(&device);
	assert_int_equal(percpu_self()->locks_held, 0);
}

TEST(cpus_are_apart_and_the_end_is_free, setup, fake_teardown)
{
	struct lock gmem = { 0 }, window = { 0 };

	lock_take(&window, LOCK_WINDOW);
	fake_set_cpu(1);
	lock_take(&gmem, LOCK_GMEM);
	lock_drop(&gmem);
	fake_set_cpu(0);
	ends = true;
	lock_take(&gmem, LOCK_GMEM);
	lock_drop(&gmem);
	lock_drop(&window);
}
