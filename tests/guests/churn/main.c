/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short lives of a VM, and a neighbour. In each life the guest checks that all of its memory is
 * zero, as after power-on, and marks every page: if the machine does not wipe memory, the next life
 * finds the mark. Then it resets. stay=1: it halts for ever instead. neighbour=1: fills pages=N and
 * hashes them again and again, until a key is pressed or rounds=N times; no hash may ever differ. A
 * test that runs two of them distinguishes them by the word "clear" or "keyed", which each repeats.
 * rests=N: the life ends in power-off, after N fiftieths of a second. most=N: a life may take at
 * most N instructions. A tick of the TSC is the average of two emulated CPUs, so at most two
 * instructions. What the hypervisor does for the guest counts as the guest's own, except in gaps of
 * more than GAP_US, in which others ran.
 */
#include "tests/guests/common/guest.h"

#define FIRST	    0x200000ull /* first address behind this program */
#define LINE_STATUS (PORT_COM1 + 5)
#define DATA_READY  BIT(0)
#define WORDS	    (PAGE_SIZE / 8)
#define VECTOR	    0x40
#define DEADLINE    BIT(18) /* mode of the timer's LVT entry */
#define GAP_US	    200

static volatile uint64_t *at(uint64_t page)
{
	return (uint64_t *)(uintptr_t)(FIRST + page * PAGE_SIZE);
}

static uint64_t hash(uint64_t pages)
{
	uint64_t sum = 0;

	for (uint64_t page = 0; page < pages; page++) {
		for (unsigned i = 0; i < WORDS; i++) {
			sum = (sum ^ at(page)[i]) * 0x9e3779b97f4a7c15;
			sum ^= sum >> 29;
		}
	}
	return sum;
}

static void on_timer(struct trap_frame *frame)
{
	apic_write(APIC_EOI, 0);
}

static void start_timer(void)
{
	apic_start(false);
	trap_handlers[VECTOR] = on_timer;
	apic_write(APIC_LVT_TIMER, DEADLINE | VECTOR);
}

/* A fiftieth of a second in which the machine has nothing to emulate. */
static void rest(void)
{
	const uint64_t before = trap_count[VECTOR];

	wrmsr(MSR_IA32_TSC_DEADLINE, rdtsc() + tsc_hz() / 50);
	while (trap_count[VECTOR] == before) {
		__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
	}
}

static void be_neighbour(uint64_t pages)
{
	const uint64_t rounds = arg_number("rounds", UINT64_MAX);
	const char *name = arg("clear") ? "clear " : arg("keyed") ? "keyed " : "";
	uint64_t want, times = 0;

	for (uint64_t page = 0; page < pages; page++) {
		for (unsigned i = 0; i < WORDS; i++) {
			at(page)[i] = random64();
		}
	}
	want = hash(pages);
	start_timer();
	print("%sready\n", name);
	while (times < rounds && (in8(LINE_STATUS) & DATA_READY) == 0) {
		check_equal(hash(pages), want);
		times++;
		rest();
	}
	print("%sdone: %lu pages, hashed %lu times\n", name, pages, times);
}

static void live(uint64_t pages)
{
	uint64_t gap = tsc_hz() / 1000000 * GAP_US, most = arg_number("most", UINT64_MAX);
	uint64_t last = rdtsc(), now, own = 0;

	for (uint64_t page = 0; page < pages; page++) {
		for (unsigned i = 0; i < WORDS; i += WORDS / 8) {
			check_equal(at(page)[i], 0);
			at(page)[i] = 0x5ec2e7 + page;
		}
		now = rdtsc();
		own += now - last < gap ? now - last : 0;
		last = now;
	}
	if (own > most / 2) {
		fail("a life took %lu ticks", own);
	}
}

void guest_main(void)
{
	uint64_t pages = arg_number("pages", 500), rests = arg_number("rests", 0);

	if (arg_number("neighbour", 0) != 0) {
		be_neighbour(pages);
		return;
	}
	live(pages);
	if (rests != 0) {
		start_timer();
		while (rests-- != 0) {
			rest();
		}
		return;
	}
	if (arg_number("stay", 0) != 0) {
		print("staying\n");
		for (;;) {
			__asm__ volatile("sti\n\thlt");
		}
	}
	out8(PORT_RESET, RESET_VALUE);
	for (;;) {
		__asm__ volatile("pause");
	}
}
