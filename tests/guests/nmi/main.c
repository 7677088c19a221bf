/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NMIs: each one that is sent arrives once. While one is handled, one more is kept and comes right
 * after the IRET; further ones merge into it. Any IRET ends the blocking, also that of a nested
 * handler (SDM vol. 3, "Handling Multiple NMIs"). CLI does not block NMIs.
 */
#include "tests/guests/common/guest.h"

#define ROUNDS	    10000
#define COLD_ROUNDS 1000

static volatile uint64_t nmis;
static volatile unsigned nested_sends; /* how many NMIs the handler still sends */
static volatile unsigned depth, depth_max;
static void (*in_handler)(void);

static void on_nmi(struct trap_frame *frame)
{
	nmis++;
	depth++;
	depth_max = MAX(depth_max, depth);
	while (nested_sends > 0) {
		nested_sends--;
		apic_self_nmi();
		__asm__ volatile("cpuid" : : "a"(0) : "ebx", "ecx", "edx"); /* causes an exit */
	}
	if (in_handler != NULL) {
		in_handler();
	}
	depth--;
}

static void settle(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		__asm__ volatile("pause");
	}
}

static void expect(uint64_t count, const char *what)
{
	if (nmis != count || depth_max > 1) {
		fail("%s: %lu NMIs, not %lu; depth %u", what, nmis, count, depth_max);
	}
}

/* One NMI at a time, with interrupts off and on in turn. */
static void one_by_one(void)
{
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		if (i % 2 == 0) {
			interrupts_on();
		}
		apic_self_nmi();
		for (unsigned wait = 0; nmis < i && wait < 1000; wait++) {
			__asm__ volatile("pause");
		}
		interrupts_off();
		expect(i, "one by one");
	}
}

static void while_handling(void)
{
	for (unsigned sends = 1; sends <= 3; sends++) {
		uint64_t before = nmis;

		nested_sends = sends;
		apic_self_nmi();
		settle();
		expect(before + 2, "sent while one is handled");
	}
}

/* A breakpoint's IRET inside of the handler ends the blocking too, as the SDM says. */
static volatile uint64_t before_breakpoint;

static void on_breakpoint(struct trap_frame *frame)
{
}

static void breakpoint_in_handler(void)
{
	in_handler = NULL;
	apic_self_nmi();
	settle();
	before_breakpoint = nmis;
	__asm__ volatile("int3");
	settle();
	check_equal(nmis, before_breakpoint + 1);
}

static void unblocked_by_iret(void)
{
	uint64_t before = nmis;

	trap_handlers[VECTOR_BP] = on_breakpoint;
	in_handler = breakpoint_in_handler;
	apic_self_nmi();
	settle();
	check_equal(before_breakpoint, before + 1);
	check_equal(nmis, before + 2);
	check_equal(depth_max, 2); /* the second NMI nested in the first, correctly */
}

/* As for interrupts: the delivery is interrupted after the hypervisor has injected the NMI. */
static void onto_cold_stacks(void)
{
	uint64_t before = nmis;

	trap_use_ist(VECTOR_NMI, 3);
	for (uint64_t i = 1; i <= COLD_ROUNDS; i++) {
		make_ist_cold(3);
		apic_self_nmi();
		settle();
		expect(before + i, "onto a cold stack");
	}
	trap_use_ist(VECTOR_NMI, 0);
}

void guest_main(void)
{
	apic_start(arg("x2apic"));
	trap_handlers[VECTOR_NMI] = on_nmi;
	one_by_one();
	while_handling();
	onto_cold_stacks();
	unblocked_by_iret();
	print("%lu NMIs\n", nmis);
}
