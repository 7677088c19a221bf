/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PIT and the CMOS clock interrupt the CPU that the I/O APIC names (82093AA datasheet, "I/O
 * Redirection Table Registers"), whatever the other CPUs do. Here that is CPU 1, while the boot CPU
 * waits for a SIPI after an INIT (SDM vol. 3, "Wait-For-SIPI State"), or halts with interrupts off.
 * A crash kernel that runs on another CPU needs that, and so does CPU hotplug. Command line: init,
 * else it halts; spins: CPU 1 spins while it waits, else it halts.
 */
#include "tests/guests/common/guest.h"

#define VECTOR_PIT   0x50
#define VECTOR_RTC   0x58
#define VECTOR_GUARD 0x60
#define PIT_HZ	     1193182u
#define PIT_RATE     1000u
#define PIT_ROUNDS   100
#define RTC_ROUNDS   2
#define DIVIDE_BY_1  0xb
#define ICR_INIT     0x4500
#define RTC_REG_B    0x0b
#define RTC_REG_C    0x0c
#define RTC_UPDATES  0x12 /* update-ended interrupts, 24-hour mode */
#define RTC_QUIET    0x02

static volatile bool first_is_away;

static uint8_t cmos_read(uint8_t index)
{
	out8(PORT_RTC, index);
	return in8(PORT_RTC + 1);
}

static void cmos_write(uint8_t index, uint8_t value)
{
	out8(PORT_RTC, index);
	out8(PORT_RTC + 1, value);
}

static void on_interrupt(struct trap_frame *frame)
{
	if (frame->vector == VECTOR_RTC) {
		(void)cmos_read(RTC_REG_C);
	}
	apic_write(APIC_EOI, 0);
}

static void route(uint32_t pin, uint8_t vector)
{
	*(volatile uint32_t *)MEMMAP_IOAPIC = 0x10 + 2 * pin + 1;
	*(volatile uint32_t *)(MEMMAP_IOAPIC + 0x10) = 1u << 24; /* APIC ID 1 */
	*(volatile uint32_t *)MEMMAP_IOAPIC = 0x10 + 2 * pin;
	*(volatile uint32_t *)(MEMMAP_IOAPIC + 0x10) = vector; /* edge, fixed */
}

/* This timer ends the wait of a CPU that halts if the expected interrupts do not come. */
static void set_guard(uint64_t ticks)
{
	apic_write(APIC_LVT_TIMER, VECTOR_GUARD);
	apic_write(APIC_TIMER_DIV, DIVIDE_BY_1);
	apic_write(APIC_TIMER_START, (uint32_t)(ticks / MAX(cpuid(0x15, 0).ebx, 1u)));
}

static void wait_for(uint8_t vector, uint64_t rounds, uint64_t limit, const char *what)
{
	uint64_t begin = rdtsc();
	bool spins = arg("spins");

	set_guard(limit);
	while (trap_count[vector] < rounds) {
		if (rdtsc() - begin >= limit) {
			fail("%s: %lu of %lu interrupts", what, trap_count[vector], rounds);
		}
		if (spins) {
			interrupts_on();
			__asm__ volatile("pause");
			interrupts_off();
		} else {
			__asm__ volatile("sti; hlt; cli" : : : "memory");
		}
	}
	print("%s: %lu interrupts\n", what, rounds);
}

static void second(unsigned cpu)
{
	apic_start(false);
	while (!first_is_away) {
		__asm__ volatile("pause");
	}
	if (arg("init")) {
		apic_write(APIC_ICR_HIGH, 0);
		apic_write(APIC_ICR, ICR_INIT);
	}
	route(IRQ_PIT, VECTOR_PIT);
	out8(PORT_PIT + 3, 0x34); /* counter 0, both bytes, mode 2 */
	out8(PORT_PIT, (uint8_t)(PIT_HZ / PIT_RATE));
	out8(PORT_PIT, (uint8_t)(PIT_HZ / PIT_RATE >> 8));
	wait_for(VECTOR_PIT, PIT_ROUNDS, tsc_hz() / 2, "PIT");
	out8(PORT_PIT + 3, 0x30); /* mode 0, without a count: it stops */
	if (arg("spins")) {
		pass(); /* more seconds would take long on an emulated machine */
	}
	route(IRQ_RTC, VECTOR_RTC);
	cmos_write(RTC_REG_B, RTC_UPDATES);
	(void)cmos_read(RTC_REG_C);
	wait_for(VECTOR_RTC, RTC_ROUNDS, 2 * RTC_ROUNDS * tsc_hz(), "CMOS clock");
	cmos_write(RTC_REG_B, RTC_QUIET);
	pass();
}

void guest_main(void)
{
	apic_start(false);
	trap_handlers[VECTOR_PIT] = on_interrupt;
	trap_handlers[VECTOR_RTC] = on_interrupt;
	trap_handlers[VECTOR_GUARD] = on_interrupt;
	cpu_start(1, second);
	first_is_away = true;
	if (arg("init")) {
		for (;;) {
			__asm__ volatile("pause");
		}
	}
	__asm__ volatile("cli; hlt");
	fail("the first CPU woke up");
}
