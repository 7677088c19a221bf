/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ept/ept_tlb.c: which CPUs flush, are kicked, and are waited for, and the order in which the two
 * sides read each other's state. The test observes the order through a page fault: the first read
 * of a root's generation traps, and the trap handler plays the other CPU at that moment. The mask
 * of CPUs lies in the next page, where accesses do not trap.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/unit/test.h"
#include "ept/ept.h"
#include "ept/ept_tlb.h"
#include "ept/invept_priv.h"

static const struct ept_caps caps_single = { .invept_single = true, .phys_bits = 46 };
static const struct ept_caps caps_all = { .invept_single = false, .phys_bits = 46 };

static struct {
	uint64_t count, type, eptp;
	bool refuse;
	struct ept_root *published; /* what this CPU had published at that time */
	void (*hook)(void);
} flushes;

/* Threads model a TLB of one entry each. */
static _Thread_local bool is_cpu_thread, thread_flushed;

bool fake_invept(uint64_t type, uint64_t eptp)
{
	if (is_cpu_thread) {
		thread_flushed = true;
		return true;
	}
	flushes.count++;
	flushes.type = type;
	flushes.eptp = eptp;
	flushes.published = percpu_self()->guest_root.only;
	if (flushes.hook != NULL) {
		flushes.hook();
	}
	return !flushes.refuse;
}

static uint8_t *pages; /* hold only the root; its mask is in the second page */
static struct ept_root *root;
#define MASK_OFFSET offsetof(struct ept_root, cpus)
_Static_assert(offsetof(struct ept_root, generation) < MASK_OFFSET && MASK_OFFSET <= PAGE_SIZE,
	       "the mask can lie in another page");

static int setup(void **state)
{
	fake_setup(state);
	memset(&flushes, 0, sizeof(flushes));
	pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	assert_true(pages != MAP_FAILED);
	root = (void *)(pages + PAGE_SIZE - MASK_OFFSET);
	*root = (struct ept_root){ .eptp = 0x1234501e, .generation = { 1 } };
	ept_configure(&caps_single);
	fake_set_cpu_count(4);
	return 0;
}

static int teardown(void **state)
{
	munmap(pages, 2 * PAGE_SIZE);
	return fake_teardown(state);
}

static void enter_on(uint32_t cpu)
{
	fake_set_cpu(cpu);
	ept_tlb_enter(root);
	fake_set_cpu(0);
}

static void leave_on(uint32_t cpu)
{
	fake_set_cpu(cpu);
	ept_tlb_leave();
	fake_set_cpu(0);
}

static void part_on(uint32_t cpu)
{
	fake_set_cpu(cpu);
	ept_tlb_part(root);
	fake_set_cpu(0);
}

/* A CPU is in the mask of the last root that it entered with, until it parts. */
TEST(test_cpus_in_the_mask, setup, teardown)
{
	struct ept_root other = { .eptp = 0x9901e, .generation = { 1 } };

	fake_set_cpu_count(CPU_MAX);
	enter_on(1);
	leave_on(1);
	enter_on(CPU_MAX - 1);
	leave_on(CPU_MAX - 1);
	enter_on(1); /* is in the mask already */
	leave_on(1);
	assert_int_equal(root->cpus[0].only, BIT(1));
	assert_int_equal(root->cpus[CPU_MAX / 64 - 1].only, BIT(63));
	fake_set_cpu(1);
	ept_tlb_enter(&other);
	ept_tlb_leave();
	assert_int_equal(root->cpus[0].only, 0);
	assert_int_equal(other.cpus[0].only, BIT(1));
	ept_tlb_part(root); /* is not in that mask */
	assert_int_equal(other.cpus[0].only, BIT(1));
	ept_tlb_part(&other);
	assert_int_equal(other.cpus[0].only, 0);
	assert_int_equal(root->cpus[CPU_MAX / 64 - 1].only, BIT(63));
	fake_kick_hook = leave_on;
	enter_on(CPU_MAX - 1);
	ept_tlb_shootdown(root);
	assert_int_equal(fake_kicks(CPU_MAX - 1), 1);
	/* A CPU outside of the mask is not even looked at, whatever it has published. */
	percpu_get(2)->guest_root.only = root;
	ept_tlb_shootdown(root);
	assert_int_equal(fake_kicks(2), 0);
	percpu_get(2)->guest_root.only = NULL;
	enter_on(1);
	FAKE_EXPECT_PANIC(part_on(1), "guest_root");
	fake_set_cpu(0);
	leave_on(1);
}

TEST(test_flush_when_behind, setup, teardown)
{
	enter_on(1); /* the first entry flushes what an earlier root may have left */
	assert_int_equal(flushes.count, 1);
	assert_int_equal(flushes.type, INVEPT_SINGLE);
	assert_int_equal(flushes.eptp, 0x1234501e);
	assert_ptr_equal(flushes.published, root);
	assert_ptr_equal(percpu_get(1)->guest_root.only, root);
	leave_on(1);
	assert_null(percpu_get(1)->guest_root.only);
	enter_on(1); /* up to date */
	leave_on(1);
	assert_int_equal(flushes.count, 1);
	enter_on(2); /* each CPU flushes for itself */
	leave_on(2);
	assert_int_equal(flushes.count, 2);
	ept_tlb_shootdown(root);
	assert_int_equal(flushes.count, 2); /* no CPU is inside: none flushes before it enters */
	enter_on(1);
	assert_int_equal(flushes.count, 3);
	leave_on(1);
}

TEST(test_all_context_fallback, setup, teardown)
{
	ept_configure(&caps_all);
	enter_on(1);
	assert_int_equal(flushes.count, 1);
	assert_int_equal(flushes.type, INVEPT_ALL);
	leave_on(1);
	flushes.refuse = true;
	ept_tlb_shootdown(root);
	FAKE_EXPECT_PANIC(enter_on(1), "ok");
}

/* Only CPUs that are in the guest with this root are kicked. */
TEST(test_cpus_that_are_kicked, setup, teardown)
{
	struct ept_root other = { .eptp = 0x9901e, .generation = { 1 } };

	enter_on(1);
	fake_set_cpu(2);
	ept_tlb_enter(&other);
	enter_on(3);
	leave_on(3);
	fake_kick_hook = leave_on;
	ept_tlb_shootdown(root);
	assert_int_equal(fake_kicks(0), 0);
	assert_int_equal(fake_kicks(1), 1);
	assert_int_equal(fake_kicks(2), 0);
	assert_int_equal(fake_kicks(3), 0);
	/* CPU 1 left at once. */
	assert_int_equal(percpu_get(0)->wait_ticks[WAIT_SHOOTDOWN].only, 0);
	leave_on(2);
}

/* Between two looks the CPU leaves, flushes, and enters again: it need not be waited for. */
static void kick_leaves_and_returns(uint32_t cpu)
{
	leave_on(cpu);
	enter_on(cpu);
}

TEST(test_returned_cpu_is_not_waited_for, setup, teardown)
{
	enter_on(1);
	fake_kick_hook = kick_leaves_and_returns;
	ept_tlb_shootdown(root); /* must return */
	assert_int_equal(flushes.count, 2);
	assert_ptr_equal(percpu_get(1)->guest_root.only, root);
	leave_on(1);
}

/* If a shoot-down comes while the CPU flushes for an older one, it must find the CPU behind. */
static void shoot_during_flush(void)
{
	flushes.hook = NULL;
	fake_set_cpu(0);
	fake_kick_hook = leave_on;
	ept_tlb_shootdown(root);
	fake_set_cpu(1);
}

TEST(test_advance_during_flush, setup, teardown)
{
	flushes.hook = shoot_during_flush;
	enter_on(1);
	assert_int_equal(fake_kicks(1), 1);
	assert_true(root->seen[1].only < root->generation.only);
	leave_on(1);
	enter_on(1);
	assert_int_equal(flushes.count, 2);
	assert_int_equal(root->seen[1].only, root->generation.only);
	leave_on(1);
}

/* --- Order --- */

static void (*at_first_look)(void);

static void on_fault(int signal, siginfo_t *info, void *context)
{
	uint64_t at = (uintptr_t)info->si_addr - (uintptr_t)pages;

	if (at >= PAGE_SIZE || at_first_look == NULL) {
		abort();
	}
	mprotect(pages, PAGE_SIZE, PROT_READ | PROT_WRITE);
	at_first_look();
	at_first_look = NULL;
}

/* Runs fn, and calls play at fn's first access to the root's generation. */
static void with_trap(void (*fn)(void), void (*play)(void))
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, old;

	sigaction(SIGSEGV, &action, &old);
	at_first_look = play;
	mprotect(pages, PAGE_SIZE, PROT_NONE);
	fn();
	sigaction(SIGSEGV, &old, NULL);
	assert_null(at_first_look);
}

static bool was_published, had_joined;

static void look_at_cpu1(void)
{
	was_published = percpu_get(1)->guest_root.only == root;
	had_joined = root->cpus[0].only == BIT(1);
}

static void enter_cpu1(void)
{
	enter_on(1);
}

/*
 * Join, publish, then compare: else a shoot-down in between would see no CPU, and no CPU would
 * flush.
 */
TEST(test_enter_publishes_before_it_compares, setup, teardown)
{
	with_trap(enter_cpu1, look_at_cpu1);
	assert_true(was_published);
	assert_true(had_joined);
	leave_on(1);
}

static void shoot(void)
{
	ept_tlb_shootdown(root);
}

/*
 * Advance, then read the mask and who has published: a CPU that joins and enters just before the
 * advance must be found inside.
 */
TEST(test_shootdown_advances_before_it_looks, setup, teardown)
{
	enter_on(1);
	leave_on(1); /* up to date: entering again does not flush */
	part_on(1);
	fake_kick_hook = leave_on;
	with_trap(shoot, enter_cpu1);
	assert_int_equal(flushes.count, 1);
	assert_int_equal(fake_kicks(1), 1);
	assert_null(percpu_get(1)->guest_root.only);
	assert_int_equal(root->generation.only, 2);
}

static bool waited;
static uint32_t clock_reads;

uint64_t fake_rdtsc(void)
{
	return 100 * __atomic_add_fetch(&clock_reads, 1, __ATOMIC_SEQ_CST);
}

static void *leave_later(void *arg)
{
	fake_set_cpu(1);
	/* On a busy host the other side may start late; without a kick it would wait for ever. */
	for (int i = 0; i < 10000000 && fake_kicks(1) == 0; i++) {
		sched_yield();
	}
	/* CPU 0 begins to wait. */
	for (int i = 0; i < 10000000 && __atomic_load_n(&clock_reads, __ATOMIC_SEQ_CST) == 0; i++) {
		sched_yield();
	}
	for (int i = 0; i < 1000; i++) {
		sched_yield();
	}
	__atomic_store_n(&waited, true, __ATOMIC_SEQ_CST);
	ept_tlb_leave();
	return arg;
}

TEST(test_waits_for_a_cpu_in_the_guest, setup, teardown)
{
	pthread_t thread;

	enter_on(1);
	waited = false;
	clock_reads = 0;
	pthread_create(&thread, NULL, leave_later, NULL);
	ept_tlb_shootdown(root);
	assert_true(__atomic_load_n(&waited, __ATOMIC_SEQ_CST));
	pthread_join(thread, NULL);
	assert_int_equal(fake_kicks(1), 1);
	assert_int_equal(percpu_get(0)->wait_ticks[WAIT_SHOOTDOWN].only, 100); /* waits.h */
}

/*
 * Both sides on two real threads. CPU 1 enters, caches the page when the entry is present, and uses
 * the cached translation. CPU 0 maps the page, unmaps it, shoots down, and then owns the page.
 */
#define ROUNDS 1000000

static uint32_t entry_present, page_is_ours, stop, violations, uses;

/* Stores that miss the caches delay later stores, so that loads pass these for a long time. */
static void fill_store_buffer(uint32_t round)
{
	static uint8_t spill[64][1u << 20];

	for (uint32_t i = 0; i < 8; i++) {
		spill[(round + 7 * i) % 64][(round * 4160 + i * 64) % sizeof(spill[0])] = 1;
	}
}

static void *guest_thread(void *arg)
{
	bool cached = false;
	uint32_t round = 0;

	is_cpu_thread = true;
	fake_set_cpu(1);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		fill_store_buffer(round++);
		ept_tlb_enter(root);
		cached = cached && !thread_flushed;
		thread_flushed = false;
		cached = cached || __atomic_load_n(&entry_present, __ATOMIC_RELAXED);
		for (int i = 0; cached && i < 4; i++) {
			uses++;
			if (__atomic_load_n(&page_is_ours, __ATOMIC_RELAXED)) {
				violations++;
			}
		}
		ept_tlb_leave();
		if (round % 3 == 0) {
			ept_tlb_part(root); /* and joins again */
		}
	}
	return arg;
}

TEST(test_threads, setup, teardown)
{
	pthread_t thread;

	entry_present = page_is_ours = stop = violations = uses = 0;
	pthread_create(&thread, NULL, guest_thread, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		__atomic_store_n(&page_is_ours, false, __ATOMIC_SEQ_CST);
		__atomic_store_n(&entry_present, true, __ATOMIC_SEQ_CST);
		for (int spin = i % 32; spin > 0; spin--) {
			__builtin_ia32_pause();
		}
		__atomic_store_n(&entry_present, false, __ATOMIC_RELAXED);
		ept_tlb_shootdown(root);
		__atomic_store_n(&page_is_ours, true, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	assert_int_equal(violations, 0);
	assert_true(uses > 0);
}
