/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A timer that is set for t does not fire before t, and not much later, also while other vCPUs use
 * its vCPU's CPU: the TSC-deadline timer, the local APIC's one-shot timer, and the PIT through the
 * I/O APIC. Once halted, so that the timer wakes the vCPU, and once spinning, so that the vCPU
 * waits for its next slice like any other. Command line: halted=N, spinning=N: the greatest delay,
 * in microseconds; rounds=N.
 */
#include "tests/guests/common/guest.h"

#define VECTOR	       0x50
#define MODE_ONE_SHOT  0x00000
#define MODE_DEADLINE  0x40000
#define MASKED	       0x10000
#define DIVIDE_BY_1    0xb
#define PIT_HZ	       1193182ull
#define IOAPIC_PIN_PIT 0x10
#define SLICE_GAP_US   50
#define WARM_UP_US     30000

static volatile uint64_t fired_at;

static void on_timer(struct trap_frame *frame)
{
	fired_at = rdtsc();
	apic_write(APIC_EOI, 0);
}

/*
 * --- Timers: each is set for so many microseconds from now; returns the TSC at which it is due ---
 */

static uint64_t us(uint64_t n)
{
	return n * tsc_hz() / 1000000;
}

static void ioapic_write(uint32_t index, uint32_t value)
{
	*(volatile uint32_t *)MEMMAP_IOAPIC = index;
	*(volatile uint32_t *)(MEMMAP_IOAPIC + 0x10) = value;
}

static uint64_t arm_deadline(uint64_t microseconds)
{
	uint64_t at = rdtsc() + us(microseconds);

	apic_write(APIC_LVT_TIMER, MODE_DEADLINE | VECTOR);
	wrmsr(MSR_IA32_TSC_DEADLINE, at);
	return at;
}

static uint64_t arm_one_shot(uint64_t microseconds)
{
	uint64_t ratio = cpuid(0x15, 0).ebx; /* TSC ticks for one tick of the APIC timer */
	uint64_t count = us(microseconds) / ratio, now;

	apic_write(APIC_LVT_TIMER, MODE_ONE_SHOT | VECTOR);
	apic_write(APIC_TIMER_DIV, DIVIDE_BY_1);
	now = rdtsc();
	apic_write(APIC_TIMER_START, (uint32_t)count);
	return now + count * ratio;
}

/* Counter 0, mode 0: its output rises at the end of the count. */
static uint64_t arm_pit(uint64_t microseconds)
{
	uint64_t count = microseconds * PIT_HZ / 1000000, now;

	apic_write(APIC_LVT_TIMER, MASKED | VECTOR);
	out8(PORT_PIT + 3, 0x30);
	out8(PORT_PIT, (uint8_t)count);
	now = rdtsc();
	out8(PORT_PIT, (uint8_t)(count >> 8));
	return now + count * tsc_hz() / PIT_HZ;
}

static const struct source {
	const char *name;
	uint64_t (*arm)(uint64_t microseconds);
} sources[] = {
	{ "TSC deadline", arm_deadline },
	{ "APIC one-shot", arm_one_shot },
	{ "PIT", arm_pit },
};

/* --- Waiting --- */

static void wait_halted(void)
{
	while (fired_at == 0) {
		__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
	}
}

/* A vCPU that wakes starts a slice, which is much longer than a round takes until HLT. */
static void nap(void)
{
	fired_at = 0;
	(void)arm_deadline(WARM_UP_US);
	wait_halted();
}

/* Counts how often another vCPU had the CPU meanwhile. */
static uint64_t wait_spinning(uint64_t limit)
{
	uint64_t gap = us(SLICE_GAP_US), last = rdtsc(), now, gaps = 0;
	bool fired;

	interrupts_on();
	do {
		fired = fired_at != 0;
		now = rdtsc();
		gaps += now - last > gap;
		last = now;
	} while (!fired && now < limit);
	interrupts_off();
	return gaps;
}

static void measure(const struct source *source, bool halted, uint64_t bound_us)
{
	uint64_t rounds = arg_number("rounds", 20), worst = 0, gaps = 0;

	if (halted) {
		nap(); /* else its slice may end between setting the timer and HLT */
	}
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t at, late;

		fired_at = 0;
		at = source->arm(300 + i * 7919 % 9000);
		if (halted) {
			wait_halted();
		} else {
			gaps += wait_spinning(at + tsc_hz());
		}
		if (fired_at == 0) {
			fail("%s: no interrupt after a second", source->name);
		}
		if (fired_at < at) {
			fail("%s: %lu ticks early", source->name, at - fired_at);
		}
		late = fired_at - at;
		worst = MAX(worst, late);
	}
	print("%s, %s: %lu us late at worst, %lu changes of vCPU\n", source->name,
	      halted ? "halted" : "spinning", worst / us(1), gaps);
	if (!halted && gaps == 0) {
		error("no other vCPU used the CPU");
	}
	if (worst > us(bound_us)) {
		fail("%s: %lu us late", source->name, worst / us(1));
	}
}

void guest_main(void)
{
	apic_start(false);
	trap_handlers[VECTOR] = on_timer;
	ioapic_write(IOAPIC_PIN_PIT + 2 * IRQ_PIT + 1, 0);
	ioapic_write(IOAPIC_PIN_PIT + 2 * IRQ_PIT, VECTOR); /* edge, fixed, to APIC ID 0 */
	/*
	 * The nap of the first measurement also lets the other vCPUs have the slices that are due
	 * to them, because no vCPU has run yet.
	 */
	for (unsigned i = 0; i < ARRAY_COUNT(sources); i++) {
		measure(&sources[i], true, arg_number("halted", 1000));
		measure(&sources[i], false, arg_number("spinning", 1000));
	}
}
