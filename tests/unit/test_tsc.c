/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/base/tsc.c: which source gives the frequency; with clocks that are missing, dead, or wrap. */
#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"

#define PM_PORT 0x608
#define PM_HZ	3579545ul
#define PIT_HZ	1193182ul

/* A machine whose TSC runs at real_hz; each instruction that reads a clock takes `step` ticks. */
static uint64_t now, real_hz, step;
static uint64_t pm_offset;
static bool pm_dead, pit_missing, pit_dead;
static uint64_t pit_end;
static uint16_t pit_count;
static unsigned pit_bytes, smi_after;

uint64_t fake_rdtsc(void)
{
	now += step;
	if (smi_after != 0 && --smi_after == 0) {
		now += real_hz / 4; /* firmware takes the CPU for some time */
	}
	return now;
}

static uint32_t in(uint16_t port, unsigned size)
{
	(void)fake_rdtsc();
	if (port == PM_PORT) {
		assert_int_equal(size, 4);
		return pm_dead ? 0x123456
			       : (uint32_t)(pm_offset + cpu_mul_div(now, PM_HZ, real_hz)) &
					 0xffffff;
	}
	assert_int_equal(port, 0x61);
	if (pit_missing) {
		return 0xff;
	}
	return !pit_dead && pit_end != 0 && now >= pit_end ? 0x20 : 0;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
	assert_int_equal(size, 1);
	if (port == 0x43) {
		assert_int_equal(value, 0xb0);
		pit_bytes = 0;
		pit_count = 0;
	} else if (port == 0x42) {
		pit_count = (uint16_t)(pit_count | value << (8 * pit_bytes++));
	} else if (port == 0x61) {
		assert_int_equal(value & 2, 0); /* the speaker stays silent */
		pit_end = (value & 1) != 0 ? now + cpu_mul_div(pit_count, real_hz, PIT_HZ) : 0;
	}
}

static int setup(void **state)
{
	fake_x86_reset();
	fake_in_hook = in;
	fake_out_hook = out;
	real_hz = 2400000000;
	step = 3000; /* a port read takes about a microsecond */
	now = 12345;
	pm_offset = 0;
	pm_dead = pit_missing = pit_dead = false;
	pit_end = 0;
	smi_after = 0;
	return 0;
}

static void expect(uint64_t hz, const char *source)
{
	assert_string_equal(tsc_source(), source);
	assert_in_range(tsc_hz(), hz - hz / 1000, hz + hz / 1000);
}

struct cpuid_case {
	const char *name;
	uint32_t max, eax15, ebx15, ecx15, eax16;
	uint64_t hz; /* 0: not from CPUID */
	const char *source;
};

static const struct cpuid_case cpuid_cases[] = {
	{ "crystal known", 0x16, 2, 78, 38400000, 0, 1497600000, "CPUID.15H" },
	{ "15H is the last", 0x15, 1, 100, 24000000, 3000, 2400000000, "CPUID.15H" },
	{ "no crystal", 0x16, 2, 200, 0, 2400, 2400000000, "CPUID.16H" },
	{ "no ratio", 0x16, 0, 0, 24000000, 2600, 2600000000, "CPUID.16H" },
	{ "reserved bits", 0x16, 0, 0, 0, 0xffff0960, 2400000000, "CPUID.16H" },
	{ "neither", 0x16, 0, 0, 0, 0, 0, "ACPI PM timer" },
	{ "leaves beyond the last", 0x14, 1, 1, 1000000000, 1000, 0, "ACPI PM timer" },
	{ "nonsense", 0x16, 1, 0xffffffff, 0xffffffff, 0, 0, "ACPI PM timer" },
	{ "much too slow", 0x15, 1000, 1, 24000000, 0, 0, "ACPI PM timer" },
};

TEST(test_cpuid, setup)
{
	size_t i;

	for (i = 0; i < ARRAY_COUNT(cpuid_cases); i++) {
		const struct cpuid_case *c = &cpuid_cases[i];

		(void)setup(state);
		fake_cpuid_set(0, 0, c->max, 0, 0, 0);
		fake_cpuid_set(0x15, 0, c->eax15, c->ebx15, c->ecx15, 0);
		fake_cpuid_set(0x16, 0, c->eax16, 0, 0, 0);
		assert_int_equal(tsc_init(PM_PORT), 0);
		expect(c->hz != 0 ? c->hz : real_hz, c->source);
	}
}

TEST(test_pm_timer, setup)
{
	static const uint64_t frequencies[] = { 50000000, 1497600000, 2400000000, 5700000000 };
	uint64_t offset;
	size_t i;

	for (i = 0; i < ARRAY_COUNT(frequencies); i++) {
		(void)setup(state);
		real_hz = frequencies[i];
		step = real_hz / 1000000;
		assert_int_equal(tsc_init(PM_PORT), 0);
		expect(real_hz, "ACPI PM timer");
	}
	/* The timer has 24 bits: the count wraps during the measurement. */
	for (offset = 0xffffff - 200000; offset < 0x1000000; offset += 10007) {
		(void)setup(state);
		pm_offset = offset;
		assert_int_equal(tsc_init(PM_PORT), 0);
		expect(real_hz, "ACPI PM timer");
	}
}

/* One long interruption spoils one measurement of three. */
TEST(test_smi, setup)
{
	smi_after = 10000;
	assert_int_equal(tsc_init(PM_PORT), 0);
	expect(real_hz, "ACPI PM timer");
	smi_after = 30000;
	assert_int_equal(tsc_init(0), 0);
	expect(real_hz, "PIT");
}

TEST(test_pit, setup)
{
	assert_int_equal(tsc_init(0), 0);
	expect(real_hz, "PIT");
	pm_dead = true;
	assert_int_equal(tsc_init(PM_PORT), 0);
	expect(real_hz, "PIT");
}

TEST(test_no_clock, setup)
{
	pm_dead = pit_missing = true;
	step = 1;
	assert_int_equal(tsc_init(PM_PORT), ERR_NOTFOUND);
	expect(1000000000, "assumption");
	pit_missing = false;
	pit_dead = true;
	assert_int_equal(tsc_init(0), ERR_NOTFOUND);
	expect(1000000000, "assumption");
}

TEST(test_times, setup)
{
	uint64_t begin;

	fake_cpuid_set(0, 0, 0x15, 0, 0, 0);
	fake_cpuid_set(0x15, 0, 2, 78, 38400000, 0);
	assert_int_equal(tsc_init(0), 0);
	assert_int_equal(tsc_from_us(0), 0);
	assert_int_equal(tsc_from_us(1), 1497);
	assert_int_equal(tsc_from_us(1000000), 1497600000);
	/* Years do not overflow. */
	assert_int_equal(tsc_from_us(100000000000000ul), 149760000000000000ul);
	begin = now;
	tsc_wait_us(100);
	assert_in_range(now - begin, 149760, 149760 + 4 * step);
}
