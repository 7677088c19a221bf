/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TSC's frequency, and waiting. The frequency comes from CPUID if possible (SDM vol. 3,
 * "Determining the Processor Base Frequency"). Else it is measured three times against a clock that
 * every chipset has, and the middle value counts, because an SMI may disturb one measurement.
 */
#include "vmm/base/tsc.h"

#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"

#define PM_TIMER_HZ   3579545ul /* ACPI, "Power Management Timer"; every such timer has 24 bits */
#define PM_TIMER_MASK 0xffffffu
#define PIT_HZ	      1193182ul
#define PIT_CHANNEL2  0x42
#define PIT_COMMAND   0x43
#define PIT_GATE      0x61 /* bit 0: channel 2 counts, bit 1: speaker, bit 5: its output */

#define MEASURE_HZ 50	     /* each measurement takes 1/50 s */
#define POLL_MAX   10000000u /* a clock that shows no change for so many reads is dead */
#define HZ_MIN	   1000000ul /* a smaller or larger value is wrong */
#define HZ_MAX	   100000000000ul
#define ASSUMED_HZ 1000000000ul

static uint64_t frequency;
static const char *source = "nothing";

static uint64_t from_cpuid_15(void)
{
	struct cpuid_regs r;

	if (cpu_cpuid(0, 0).eax < 0x15) {
		return 0;
	}
	r = cpu_cpuid(0x15, 0);
	if (r.eax == 0 || r.ebx == 0 || r.ecx == 0) {
		return 0;
	}
	return cpu_mul_div(r.ecx, r.ebx, r.eax);
}

/* The base frequency in MHz. On CPUs with this leaf the TSC runs at it. */
static uint64_t from_cpuid_16(void)
{
	if (cpu_cpuid(0, 0).eax < 0x16) {
		return 0;
	}
	return (cpu_cpuid(0x16, 0).eax & 0xffff) * 1000000ul;
}

static uint64_t measure_pm_timer(uint16_t port)
{
	uint32_t want = PM_TIMER_HZ / MEASURE_HZ;
	uint32_t first, elapsed = 0;
	uint64_t begin;
	unsigned polls;

	first = cpu_in32(port);
	for (polls = 0; polls < POLL_MAX && cpu_in32(port) == first; polls++) {
	}
	first = cpu_in32(port);
	begin = cpu_rdtsc();
	for (polls = 0; polls < POLL_MAX && elapsed < want; polls++) {
		elapsed = (cpu_in32(port) - first) & PM_TIMER_MASK;
	}
	return elapsed < want ? 0 : (cpu_rdtsc() - begin) * PM_TIMER_HZ / elapsed;
}

static uint64_t measure_pit(uint16_t unused)
{
	uint16_t count = PIT_HZ / MEASURE_HZ;
	uint8_t gate = cpu_in8(PIT_GATE) & 0x0c;
	uint64_t begin, end;
	unsigned polls;

	/* Mode 0: the output goes high when the count has run down. */
	cpu_out8(PIT_GATE, gate);
	cpu_out8(PIT_COMMAND, 0xb0);
	cpu_out8(PIT_CHANNEL2, (uint8_t)count);
	cpu_out8(PIT_CHANNEL2, (uint8_t)(count >> 8));
	cpu_out8(PIT_GATE, gate | 1);
	begin = cpu_rdtsc();
	for (polls = 0; polls < POLL_MAX && (cpu_in8(PIT_GATE) & 0x20) == 0; polls++) {
	}
	end = cpu_rdtsc();
	cpu_out8(PIT_GATE, gate);
	/*
	 * A missing PIT reads as all ones, so the loop ends at once with an impossible frequency.
	 */
	return polls == POLL_MAX ? 0 : (end - begin) * PIT_HZ / count;
}

static bool is_plausible(uint64_t hz)
{
	return hz >= HZ_MIN && hz <= HZ_MAX;
}

/* The middle one of three measurements, or 0 if one of them is impossible. */
static uint64_t median(uint64_t (*measure)(uint16_t port), uint16_t port)
{
	uint64_t a = measure(port);
	uint64_t b = measure(port);
	uint64_t c = measure(port);

	if (!is_plausible(a) || !is_plausible(b) || !is_plausible(c)) {
		return 0;
	}
	return MAX(MIN(a, b), MIN(MAX(a, b), c));
}

static bool take(uint64_t hz, const char *from)
{
	if (!is_plausible(hz)) {
		return false;
	}
	frequency = hz;
	source = from;
	return true;
}

int tsc_init(uint16_t pm_timer_port)
{
	if (take(from_cpuid_15(), "CPUID.15H") || take(from_cpuid_16(), "CPUID.16H")) {
		return 0;
	}
	if (pm_timer_port != 0 && take(median(measure_pm_timer, pm_timer_port), "ACPI PM timer")) {
		return 0;
	}
	if (take(median(measure_pit, 0), "PIT")) {
		return 0;
	}
	(void)take(ASSUMED_HZ, "assumption");
	return ERR_NOTFOUND;
}

uint64_t tsc_hz(void)
{
	return frequency;
}

const char *tsc_source(void)
{
	return source;
}

uint64_t tsc_from_us(uint64_t us)
{
	return cpu_mul_div(us, frequency, 1000000);
}

void tsc_wait_us(uint64_t us)
{
	uint64_t begin = cpu_rdtsc();
	uint64_t ticks = tsc_from_us(us);

	while (cpu_rdtsc() - begin < ticks) {
		cpu_pause();
	}
}
