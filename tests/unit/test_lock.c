/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/base/lock.h, lock.c and waits.c: a CPU that waits counts it. lock_check.c: the order of locks
 * is checked separately for each CPU.
 */
#include <pthread.h>
#include <sched.h>

#include "tests/unit/test.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"
#include "vmm/base/waits.h"

/* Each CPU, which is a thread here, has its own clock: a read is TICK behind the one before. */
#define TICK 1000
static ATOMIC(uint32_t) clock_reads[2];

uint64_t fake_rdtsc(void)
{
	return TICK * (1 + (uint64_t)atomic_add(&clock_reads[fake_cpu()], 1));
}

static int setup(void **state)
{
	fake_setup(state);
	fake_set_cpu_count(2);
	percpu_get(0)->locks_held = percpu_get(1)->locks_held = 0;
	clock_reads[0].only = clock_reads[1].only = 0;
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

/* Last: from then on nothing is checked. */
TEST(cpus_are_apart_and_the_end_is_free, setup, fake_teardown)
{
	struct lock gmem = { 0 }, window = { 0 };

	lock_take(&window, LOCK_WINDOW);
	fake_set_cpu(1);
	lock_take(&gmem, LOCK_GMEM);
	lock_drop(&gmem);
	fake_set_cpu(0);
	lock_check_stop();
	lock_take(&gmem, LOCK_GMEM);
	lock_drop(&gmem);
	lock_drop(&window);
}

static struct lock contended;

static void *take_as_cpu_1(void *arg)
{
	fake_set_cpu(1);
	lock_take(&contended, LOCK_WINDOW);
	lock_drop(&contended);
	return arg;
}

/* CPU 1 waits for a lock that CPU 0 has: from its first look at the clock to its second. */
TEST(a_cpu_that_waits_counts_it, setup, fake_teardown)
{
	char text[WAITS_WORDS_MAX];
	pthread_t thread;

	lock_take(&contended, LOCK_WINDOW);
	pthread_create(&thread, NULL, take_as_cpu_1, NULL);
	for (int i = 0; i < 10000000 && atomic_load(&clock_reads[1]) == 0; i++) {
		sched_yield();
	}
	lock_drop(&contended);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&percpu_get(1)->wait_ticks[WAIT_WINDOW]), TICK);
	/* The lock was free for CPU 0, which did not even look at the clock. */
	assert_int_equal(atomic_load(&percpu_get(0)->wait_ticks[WAIT_WINDOW]), 0);
	assert_int_equal(clock_reads[0].only, 0);

	for (unsigned kind = WAIT_MEMORY; kind < WAIT_KINDS; kind++) {
		atomic_add(&percpu_get(0)->wait_ticks[kind], kind * 500);
	}
	fake_tsc_hz = 500000000;
	waits_words(text, sizeof(text));
	assert_string_equal(text, "CPUs have waited 23 us for each other (the window's lock 2, "
				  "locks of VMs' memory 1, other locks 2, pages 3, frames 4, "
				  "shoot-downs 5, other 6), CPU 0 21 us of it");
	/* The longest text fits, too. */
	for (unsigned i = 0; i < 2 * WAIT_KINDS; i++) {
		atomic_store(&percpu_get(i % 2)->wait_ticks[i / 2], UINT64_MAX / 32);
	}
	fake_tsc_hz = 1000000;
	waits_words(text, sizeof(text));
	assert_non_null(strstr(text, " us of it"));
}
