/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fixed interrupt that the local APIC accepted is delivered exactly once, at the latest when
 * RFLAGS.IF and the priority allow it: none is lost and none comes twice, whether it was raised
 * with interrupts on or off, whether the CPU was running or halted, and even if faults interrupt
 * the delivery. Command line: x2apic.
 */
#include "tests/guests/common/guest.h"

#define ROUNDS	    10000
#define COLD_ROUNDS 2000
#define LOW	    0x41
#define HIGH	    0x91

static volatile uint64_t order[4];
static volatile unsigned order_count;

static void on_ipi(struct trap_frame *frame)
{
	if (order_count < ARRAY_COUNT(order)) {
		order[order_count++] = frame->vector;
	}
	apic_write(APIC_EOI, 0);
}

static void expect_counts(uint64_t low, uint64_t high, const char *when)
{
	if (trap_count[LOW] != low || trap_count[HIGH] != high) {
		fail("%s: %lu and %lu interrupts, not %lu and %lu", when, trap_count[LOW],
		     trap_count[HIGH], low, high);
	}
}

/* With interrupts on it comes at once, within the next few instructions. */
static void with_interrupts_on(void)
{
	interrupts_on();
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		apic_self_ipi(LOW);
		for (unsigned wait = 0; trap_count[LOW] < i && wait < 1000; wait++) {
			__asm__ volatile("pause");
		}
		expect_counts(i, 0, "interrupts on");
	}
	interrupts_off();
}

/*
 * Two while interrupts are off: both wait, and the higher vector comes first. The same vector twice
 * is one interrupt.
 */
static void with_interrupts_off(void)
{
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		apic_self_ipi(LOW);
		apic_self_ipi(HIGH);
		apic_self_ipi(LOW);
		expect_counts(ROUNDS + i - 1, i - 1, "interrupts off");
		order_count = 0;
		interrupts_on();
		__asm__ volatile("nop");
		interrupts_off();
		expect_counts(ROUNDS + i, i, "after STI");
		check_equal(order[0], HIGH);
		check_equal(order[1], LOW);
	}
}

/* Only vectors above the task priority are delivered. */
static void with_priority(void)
{
	for (uint64_t i = 1; i <= 1000; i++) {
		apic_write(APIC_TPR, 0x50);
		apic_self_ipi(LOW);
		interrupts_on();
		__asm__ volatile("nop; nop");
		expect_counts(2 * ROUNDS + i - 1, ROUNDS, "TPR 50");
		apic_write(APIC_TPR, 0);
		__asm__ volatile("nop; nop");
		expect_counts(2 * ROUNDS + i, ROUNDS, "TPR 0");
		interrupts_off();
	}
}

/* STI; HLT: an interrupt that is pending must end the HLT. */
static void with_halt(void)
{
	for (uint64_t i = 1; i <= 1000; i++) {
		apic_self_ipi(HIGH);
		__asm__ volatile("sti; hlt; cli" : : : "memory");
		expect_counts(2 * ROUNDS + 1000, ROUNDS + i, "STI; HLT");
	}
}

/*
 * The handler's stack is a page that is not in the EPT yet. The EPT violation interrupts the
 * delivery after the interrupt has left IRR, so only the IDT-vectoring information shows it (SDM
 * vol. 3, "Information for VM Exits That Occur During Event Delivery").
 */
static void onto_cold_stacks(void)
{
	uint64_t low = trap_count[LOW], high = trap_count[HIGH];

	trap_use_ist(LOW, 3);
	trap_use_ist(HIGH, 3);
	for (uint64_t i = 1; i <= COLD_ROUNDS; i++) {
		make_ist_cold(3);
		apic_self_ipi(LOW);
		apic_self_ipi(HIGH);
		__asm__ volatile("sti; nop; nop; nop; nop; cli" : : : "memory");
		expect_counts(low + i, high + i, "onto a cold stack");
	}
}

void guest_main(void)
{
	apic_start(arg("x2apic"));
	trap_handlers[LOW] = on_ipi;
	trap_handlers[HIGH] = on_ipi;
	with_interrupts_on();
	with_interrupts_off();
	with_priority();
	with_halt();
	onto_cold_stacks();
	for (unsigned i = 0; i < 8; i++) {
		check_equal(apic_read(APIC_ISR + 0x10 * i), 0);
		check_equal(apic_read(APIC_IRR + 0x10 * i), 0);
	}
	print("%lu interrupts\n", trap_count[LOW] + trap_count[HIGH]);
}
