/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/tsc_sync.c: two threads are CPUs. Time is a count of all reads by any CPU, so that a
 * later read has a larger value; each CPU adds the error of its TSC.
 */
#include <pthread.h>

#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/host/tsc_sync.h"

#define BSP_ADJUST 7000

static uint64_t looks;
static struct {
	uint64_t skew;	 /* an offset that no register shows */
	uint64_t adjust; /* IA32_TSC_ADJUST */
	bool has_adjust;
	bool drifts;   /* written values do not last */
	bool stubborn; /* writes have no effect */
} cpus[2];
static _Thread_local unsigned self;
static _Thread_local uint64_t last_look;
static unsigned stayed;
static uint64_t first_written; /* to the AP's IA32_TSC_ADJUST; 0: nothing */

uint64_t fake_rdtsc(void)
{
	uint64_t now = __atomic_add_fetch(&looks, 10, __ATOMIC_SEQ_CST);

	last_look = now + cpus[self].skew + cpus[self].adjust + (cpus[self].drifts ? now : 0);
	return last_look;
}

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	return (struct cpuid_regs){ .eax = leaf == 0 ? 7 : 0,
				    .ebx = leaf == 7 && cpus[self].has_adjust
						   ? CPUID_7_EBX_TSC_ADJUST
						   : 0 };
}

uint64_t fake_rdmsr(uint32_t msr)
{
	assert_int_equal(msr, MSR_IA32_TSC_ADJUST);
	assert_true(cpus[self].has_adjust);
	return cpus[self].adjust;
}

void fake_wrmsr(uint32_t msr, uint64_t value)
{
	assert_int_equal(self, 1); /* the boot processor's TSC is never written */
	if (cpus[1].stubborn) {
		return;
	}
	if (msr == MSR_IA32_TSC_ADJUST) {
		assert_true(cpus[1].has_adjust);
		cpus[1].adjust = value;
		first_written = first_written != 0 ? first_written : value;
	} else {
		/* At once after the CPU has read it, however long the thread waited in between. */
		assert_int_equal(msr, MSR_IA32_TSC);
		cpus[1].adjust += value - last_look;
	}
}

static void *ap(void *arg)
{
	self = 1;
	stayed += tsc_sync_answer();
	return arg;
}

/*
 * Starts an AP and runs tsc_sync_ask. The AP's TSC differs by "skew + adjust" from the boot
 * processor's.
 */
static enum tsc_sync start_ap(uint64_t skew, uint64_t adjust, int64_t *ahead)
{
	pthread_t thread;
	enum tsc_sync found;

	fake_tsc_hz = 1000000000000ul; /* a thread may wait long for its turn */
	cpus[1].skew = skew;
	cpus[1].adjust = adjust;
	stayed = 0;
	assert_int_equal(pthread_create(&thread, NULL, ap, NULL), 0);
	found = tsc_sync_ask(ahead);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return found;
}

static int start(void **state)
{
	fake_setup(state);
	cpus[0].adjust = BSP_ADJUST;
	cpus[0].has_adjust = cpus[1].has_adjust = true;
	cpus[1].drifts = cpus[1].stubborn = false;
	return 0;
}

TEST(test_same, start, fake_teardown)
{
	int64_t ahead = 1;

	assert_int_equal(start_ap(0, BSP_ADJUST, &ahead), TSC_SYNC_GOOD);
	assert_int_equal(ahead, 0);
	assert_int_equal(stayed, 1);
	assert_int_equal(cpus[1].adjust, BSP_ADJUST);
	/* A package that left reset later, where firmware has corrected that. */
	assert_int_equal(start_ap((uint64_t)-500, BSP_ADJUST + 500, &ahead), TSC_SYNC_GOOD);
	assert_int_equal(cpus[1].adjust, BSP_ADJUST + 500);
}

/* Firmware wrote the TSC: the register shows by how much, to the tick. */
TEST(test_adjusted, start, fake_teardown)
{
	static const int64_t by[] = { 100000, -6999, 123456789 };
	int64_t ahead;

	for (size_t i = 0; i < ARRAY_COUNT(by); i++) {
		assert_int_equal(start_ap(0, (uint64_t)(BSP_ADJUST + by[i]), &ahead),
				 TSC_SYNC_CORRECTED);
		assert_in_range(ahead - by[i] + 5000, 0, 10000);
		assert_int_equal(cpus[1].adjust, BSP_ADJUST);
		assert_int_equal(stayed, 1);
	}
}

/* The register does not show it. The second CPU of the same package gets the first CPU's value. */
TEST(test_skewed, start, fake_teardown)
{
	int64_t ahead;
	uint64_t value;

	assert_int_equal(start_ap(50000, BSP_ADJUST, &ahead), TSC_SYNC_CORRECTED);
	assert_in_range(ahead, 45000, 55000);
	value = cpus[1].adjust;
	assert_in_range(value + 50000, BSP_ADJUST - 5000 + 0ul, BSP_ADJUST + 5000);
	for (unsigned i = 0; i < 8; i++) { /* what is measured may be the same by chance */
		first_written = 0;
		assert_int_equal(start_ap(50000, BSP_ADJUST, &ahead), TSC_SYNC_CORRECTED);
		assert_int_equal(first_written, value);
		value = cpus[1].adjust;
	}
	/* A TSC that is behind; and another package. */
	assert_int_equal(start_ap((uint64_t)-3000000, BSP_ADJUST, &ahead), TSC_SYNC_CORRECTED);
	assert_in_range(-ahead, 2995000, 3005000);
	assert_in_range(cpus[1].adjust, 3000000 + BSP_ADJUST - 5000, 3000000 + BSP_ADJUST + 5000);
}

TEST(test_no_register, start, fake_teardown)
{
	int64_t ahead;

	cpus[1].has_adjust = false;
	assert_int_equal(start_ap(80000, BSP_ADJUST, &ahead), TSC_SYNC_CORRECTED);
	assert_in_range(cpus[1].adjust + 80000 + 5000, BSP_ADJUST, BSP_ADJUST + 10000);
}

TEST(test_apart, start, fake_teardown)
{
	int64_t ahead;

	cpus[1].stubborn = true;
	assert_int_equal(start_ap(80000, BSP_ADJUST, &ahead), TSC_SYNC_APART);
	assert_int_equal(stayed, 0);
	cpus[1].stubborn = false;
	cpus[1].drifts = true; /* it runs at twice the speed */
	assert_int_equal(start_ap(80000, BSP_ADJUST, &ahead), TSC_SYNC_APART);
	assert_int_equal(stayed, 0);
}

/* The AP does not answer: given up in time, and the next AP is not confused by the old order. */
TEST(test_no_answer, start, fake_teardown)
{
	int64_t ahead;

	fake_tsc_hz = 1000000;
	assert_int_equal(tsc_sync_ask(&ahead), TSC_SYNC_APART);
	assert_int_equal(start_ap(0, BSP_ADJUST, &ahead), TSC_SYNC_GOOD);
}
