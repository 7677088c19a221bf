/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/sched_place.c on a machine of 128 CPUs: how many other CPUs' queues a CPU reads in a turn.
 * Each read is a miss on a cache line that another CPU writes. The test counts the atomic reads in
 * the source; it has no other reads of another CPU's data.
 */
#include "tests/unit/test.h"
#include "vmm/base/lock.h" /* its own reads are not counted */
#include "vmm/base/types.h"

static void count_look(const void *at);

#define __atomic_load_n(at, order) (count_look((const void *)(at)), __atomic_load_n(at, order))
#include "vmm/sched_place.c"
#undef __atomic_load_n

#define CPUS 128
#include "tests/unit/sched_models.h"

#define MANY 128u

static unsigned looks;

static void count_look(const void *at)
{
	const uintptr_t from = (uintptr_t)queues, byte = (uintptr_t)at;

	if (byte >= from && byte < from + sizeof(queues) &&
	    (byte - from) / sizeof(queues[0]) != percpu_self()->index) {
		looks++;
	}
}

/* One of 128 busy CPUs has one vCPU too many. */
TEST(a_crowded_cpu_looks_at_few_others, setup, teardown)
{
	struct vcpu *spare;

	fake_set_cpu_count(MANY);
	for (unsigned i = 0; i < 2; i++) {
		begin(i, 100, BIT(0));
		models[i].vm.affinity[0].only = 0; /* from now on it may run on every CPU */
	}
	looks = 0;
	turn(0);
	assert_in_range(looks, 1, 3);
	/* After enough turns it has read the queues of all CPUs. */
	for (unsigned i = 0; i < MANY / 4; i++) {
		turn(0);
	}
	assert_in_range(looks, MANY - 1, MANY + 3);
	assert_int_equal(models[0].vcpu.cpu.only, 0);
	assert_int_equal(models[1].vcpu.cpu.only, 0);
	/* A queue that is far ahead is found, wherever it is. */
	queues[MANY - 1].virtual_now.only = 1000 * MS;
	models[0].priv.sched.moved_at = models[1].priv.sched.moved_at = 0;
	for (unsigned i = 0; i < MANY / 4 + 1; i++) {
		turn(0);
	}
	spare = models[0].vcpu.cpu.only == 0 ? &models[1].vcpu : &models[0].vcpu;
	assert_int_equal(spare->cpu.only, MANY - 1);
}

/* An idle CPU is found in a mask, and then its virtual time is read. */
TEST(an_idle_cpu_is_found_by_a_mask, setup, teardown)
{
	fake_set_cpu_count(MANY);
	begin(0, 100, BIT(0));
	begin(1, 100, BIT(0));
	models[0].vm.affinity[0].only = models[1].vm.affinity[0].only = 0;
	sched_idle_begins(100);
	sched_idle_begins(101);
	looks = 0;
	turn(0);
	assert_in_range(looks, 1, 4); /* its clock; under its lock its head, count and weight */
	assert_int_equal(models[0].vcpu.cpu.only + models[1].vcpu.cpu.only, 100);
	begin(2, 100, BIT(0));
	/* Only on CPUs other than the next idle one. */
	models[2].vm.affinity[1].only = BIT(100 - 64) | BIT(102 - 64);
	models[2].vm.affinity[0].only = BIT(0);
	begin(3, 100, BIT(0));
	turn(0);
	turn(0);
	assert_int_equal(models[2].vcpu.cpu.only, 0);
	sched_idle_over(&queues[101], 101);
	models[3].vm.affinity[0].only = 0;
	turn(0);
	assert_int_not_equal(models[3].vcpu.cpu.only, 101); /* that CPU is not idle any more */
}

/* A CPU that was idle continues at the virtual time of the others, without reading any queue. */
TEST(idling_reads_no_queue, setup, teardown)
{
	fake_set_cpu_count(MANY);
	begin(0, 100, BIT(0));
	begin(1, 100, BIT(1));
	clocks[0] = clocks[1] = 0;
	for (unsigned i = 0; i < 100; i++) {
		turn(0);
	}
	looks = 0;
	models[1].vcpu.state.only = VCPU_HALTED;
	models[1].wakes_at = UINT64_MAX;
	until = 0; /* no other CPU runs meanwhile */
	turn(1);
	assert_int_equal(looks, 0);
	assert_true(queues[0].virtual_now.only > 300 * MS);
	assert_in_range(queues[1].virtual_now.only, queues[0].virtual_now.only - 2 * MS,
			queues[0].virtual_now.only);
}
