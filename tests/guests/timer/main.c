/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's timer. One-shot raises one interrupt and its count then stays 0; periodic raises
 * an interrupt each period; TSC-deadline raises one when the TSC has passed the deadline, and the
 * MSR then reads 0; masked raises none. No interrupt is early, lost, or doubled. Command line:
 * x2apic.
 */
#include "tests/guests/common/guest.h"

#define VECTOR		0x50
#define MODE_ONE_SHOT	0x00000
#define MODE_PERIODIC	0x20000
#define MODE_DEADLINE	0x40000
#define MASKED		0x10000
#define DIVIDE_BY_1	0xb
#define ROUNDS		300
#define PERIODIC_ROUNDS 200
#define DEADLINE_ROUNDS 1000

static volatile uint64_t tsc_at_interrupt;

static void on_timer(struct trap_frame *frame)
{
	tsc_at_interrupt = rdtsc();
	apic_write(APIC_EOI, 0);
}

static uint64_t count(void)
{
	return trap_count[VECTOR];
}

/*
 * Halts until an interrupt came. There is a limit, so that a lost interrupt is reported and does
 * not hang the guest.
 */
static void halt_until(uint64_t wanted, const char *what)
{
	uint64_t limit = rdtsc() + tsc_hz();

	while (count() < wanted) {
		__asm__ volatile("sti; hlt; cli" : : : "memory");
		if (rdtsc() > limit) {
			fail("%s: %lu of %lu interrupts after a second", what, count(), wanted);
		}
	}
}

static void spin(uint64_t ticks)
{
	uint64_t start = rdtsc();

	interrupts_on();
	while (rdtsc() - start < ticks) {
		__asm__ volatile("pause");
	}
	interrupts_off();
}

static void one_shot(void)
{
	uint64_t before = count();

	apic_write(APIC_LVT_TIMER, MODE_ONE_SHOT | VECTOR);
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		apic_write(APIC_TIMER_START, 20000 + (uint32_t)(i * 97 % 20000));
		if (i % 2 != 0) {
			halt_until(before + i, "one-shot, halted");
		} else {
			interrupts_on();
			for (uint64_t t = rdtsc(); count() < before + i;) {
				if (rdtsc() - t > tsc_hz()) {
					fail("one-shot: no interrupt after a second");
				}
			}
			interrupts_off();
		}
		check_equal(apic_read(APIC_TIMER_NOW), 0);
	}
	spin(200000);
	check_equal(count(), before + ROUNDS);
	apic_write(APIC_LVT_TIMER, MASKED | VECTOR);
	apic_write(APIC_TIMER_START, 1000);
	spin(200000);
	check_equal(count(), before + ROUNDS);
}

static void periodic(void)
{
	uint64_t before = count();
	uint32_t now;

	apic_write(APIC_LVT_TIMER, MODE_PERIODIC | VECTOR);
	apic_write(APIC_TIMER_START, 50000);
	now = apic_read(APIC_TIMER_NOW);
	check(now <= 50000);
	halt_until(before + PERIODIC_ROUNDS, "periodic");
	apic_write(APIC_TIMER_START, 0);
	spin(1000);
	before = count();
	spin(500000);
	check_equal(count(), before);
}

static void deadline(void)
{
	uint64_t before = count(), at;

	if ((cpuid(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE) == 0) {
		print("no TSC-deadline mode\n");
		return;
	}
	apic_write(APIC_LVT_TIMER, MODE_DEADLINE | VECTOR);
	for (uint64_t i = 1; i <= DEADLINE_ROUNDS; i++) {
		at = rdtsc() +
		     (i % 4 == 0 ? 0 : 10000 + i * 31 % 30000); /* some are past already */
		wrmsr(MSR_IA32_TSC_DEADLINE, at);
		halt_until(before + i, "deadline");
		check(tsc_at_interrupt >= at);
		if (!arg("bare")) { /* the emulator itself keeps the deadline in the MSR */
			check_equal(rdmsr(MSR_IA32_TSC_DEADLINE), 0);
		}
	}
	wrmsr(MSR_IA32_TSC_DEADLINE, rdtsc() + 50000);
	wrmsr(MSR_IA32_TSC_DEADLINE, 0); /* disarms */
	spin(200000);
	check_equal(count(), before + DEADLINE_ROUNDS);
}

void guest_main(void)
{
	apic_start(arg("x2apic"));
	trap_handlers[VECTOR] = on_timer;
	apic_write(APIC_TIMER_DIV, DIVIDE_BY_1);
	one_shot();
	periodic();
	deadline();
	print("%lu timer interrupts\n", count());
}
