/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/sched_place.c on a machine of 128 CPUs: at how many others' queues a CPU looks in a turn.
 * Each look is a cache line that another CPU writes. The atomic reads of the source are counted;
 * it has no others of what is another CPU's.
 */
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

/* A CPU of 128, none of which idles, with one vCPU too many. */
static void a_crowded_cpu_looks_at_few_others(void **state)
{
	struct vcpu *spare;

	fake_set_cpu_count(MANY);
	for (unsigned i = 0; i < 2; i++) {
		begin(i, 100, BIT(0));
		models[i].vm.affinity[0] = 0; /* from now on it may run everywhere */
	}
	looks = 0;
	turn(0);
	assert_in_range(looks, 1, 4);
	/* It gets round: after as many turns as it takes it has looked at all of them. */
	for (unsigned i = 0; i < MANY / 4; i++) {
		turn(0);
	}
	assert_in_range(looks, MANY - 1, MANY + 4);
	assert_int_equal(models[0].vcpu.cpu.only, 0);
	assert_int_equal(models[1].vcpu.cpu.only, 0);
	/* One that is far ahead is found, wherever it is. */
	queues[MANY - 1].virtual_now.only = 1000 * MS;
	models[0].priv.sched.moved_at = models[1].priv.sched.moved_at = 0;
	for (unsigned i = 0; i < MANY / 4 + 1; i++) {
		turn(0);
	}
	spare = models[0].vcpu.cpu.only == 0 ? &models[1].vcpu : &models[0].vcpu;
	assert_int_equal(spare->cpu.only, MANY - 1);
}

/* One that idles is found in a mask, and asked where it has got to. */
static void an_idle_cpu_is_found_by_a_mask(void **state)
{
	fake_set_cpu_count(MANY);
	begin(0, 100, BIT(0));
	begin(1, 100, BIT(0));
	models[0].vm.affinity[0] = models[1].vm.affinity[0] = 0;
	sched_idle_begins(100);
	sched_idle_begins(101);
	looks = 0;
	turn(0);
	assert_in_range(looks, 1, 5); /* its clock; with its lock its head, count and weight */
	assert_int_equal(models[0].vcpu.cpu.only + models[1].vcpu.cpu.only, 100);
	begin(2, 100, BIT(0));
	models[2].vm.affinity[1] = BIT(100 - 64) | BIT(102 - 64); /* not where the next one idles */
	models[2].vm.affinity[0] = BIT(0);
	begin(3, 100, BIT(0));
	turn(0);
	turn(0);
	assert_int_equal(models[2].vcpu.cpu.only, 0);
	sched_idle_over(&queues[101], 101);
	models[3].vm.affinity[0] = 0;
	turn(0);
	assert_int_not_equal(models[3].vcpu.cpu.only, 101); /* it idles no more */
}

/* Who has idled goes on where the others are, without a look at any of them. */
static void idling_looks_at_nobody(void **state)
{
	fake_set_cpu_count(MANY);
	begin(0, 100, BIT(0));
	begin(1, 100, BIT(1));
	clocks[0] = clocks[1] = 0;
	for (unsigned i = 0; i < 100; i++) {
		turn(0);
	}
	looks = 0;
	models[1].vcpu.state = VCPU_HALTED;
	models[1].wakes_at = UINT64_MAX;
	until = 0; /* nobody else goes on meanwhile */
	turn(1);
	assert_int_equal(looks, 0);
	assert_true(queues[0].virtual_now.only > 300 * MS);
	assert_in_range(queues[1].virtual_now.only, queues[0].virtual_now.only - 2 * MS,
			queues[0].virtual_now.only);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_crowded_cpu_looks_at_few_others, setup, teardown),
		cmocka_unit_test_setup_teardown(an_idle_cpu_is_found_by_a_mask, setup, teardown),
		cmocka_unit_test_setup_teardown(idling_looks_at_nobody, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
