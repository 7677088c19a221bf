/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and reads its pages as lines on the serial line order, for a script on the memory bus:
 *
 * 	w PAGE NUMBER   fills a page with the markers of a number
 * 	r PAGE NUMBER   prints how many of the page's blocks are those of a number
 * 	q               ends
 *
 * At first "pages" pages hold the numbers from "first" on. The answer to each order is one line,
 * which ends in a semicolon. Memory holds what was written to it, unless a script changed it on the
 * bus. So this guest reports no failure: the script judges the answers.
 */
#include "tests/bus/marker.h"
#include "tests/guests/common/guest.h"

#define FIRST_PAGE     0x800000ull
#define UART_LSR       5
#define UART_LSR_READY BIT(0)
#define LINE_MAX       32
#define VECTOR	       0x40
#define DEADLINE       BIT(18) /* mode of the timer's LVT entry */

static uint64_t pages, pause_ticks;

static struct marker *block_of(uint64_t page, uint64_t block)
{
	return (struct marker *)(FIRST_PAGE + page * PAGE_SIZE) + block;
}

static void fill(uint64_t page, uint64_t number)
{
	for (uint64_t block = 0; block < MARKER_PAGE_BLOCKS; block++) {
		*block_of(page, block) = marker_make(number, block);
	}
}

static void compare(uint64_t page, uint64_t number)
{
	uint64_t equal = 0, other = 0;

	for (uint64_t block = 0; block < MARKER_PAGE_BLOCKS; block++) {
		const struct marker want = marker_make(number, block);
		const volatile struct marker *got = block_of(page, block);

		if (got->first == want.first && got->second == want.second) {
			equal++;
		} else {
			other = block;
		}
	}
	print("scribe: page %lu has %lu blocks of number %lu, last other %lu;\n", page, equal,
	      number, other);
}

static void on_timer(struct trap_frame *frame)
{
	apic_write(APIC_EOI, 0);
}

/* Halts between two polls, because waiting then takes no instructions. */
static char read_byte(void)
{
	while (!(in8(PORT_COM1 + UART_LSR) & UART_LSR_READY)) {
		wrmsr(MSR_IA32_TSC_DEADLINE, rdtsc() + pause_ticks);
		__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
	}
	return (char)in8(PORT_COM1);
}

static void read_line(char *line)
{
	size_t used = 0;

	for (;;) {
		char c = read_byte();

		if (c == '\r' || c == '\n') {
			line[used] = 0;
			return;
		}
		if (used < LINE_MAX - 1) {
			line[used++] = c;
		}
	}
}

/* Reads the number at *at, and moves *at behind it and a blank. */
static uint64_t take_number(const char **at)
{
	uint64_t value = 0;

	while (**at >= '0' && **at <= '9') {
		value = value * 10 + (uint64_t)(*(*at)++ - '0');
	}
	*at += **at == ' ';
	return value;
}

void guest_main(void)
{
	const uint64_t first = arg_number("first", 0);
	char line[LINE_MAX];

	pages = arg_number("pages", 16);
	pause_ticks = tsc_hz() / 500;
	apic_start(false);
	trap_handlers[VECTOR] = on_timer;
	apic_write(APIC_LVT_TIMER, DEADLINE | VECTOR);
	for (uint64_t page = 0; page < pages; page++) {
		fill(page, first + page);
	}
	print("scribe: %lu pages are filled;\n", pages);
	for (;;) {
		const char *at = line + 2;
		uint64_t page, number;

		read_line(line);
		if (line[0] == 'q') {
			return;
		}
		if (line[0] == 0 || line[1] != ' ') {
			continue;
		}
		page = take_number(&at);
		number = take_number(&at);
		if (page >= pages) {
			error("there is no page %lu", page);
		}
		if (line[0] == 'w') {
			fill(page, number);
			print("scribe: page %lu has number %lu;\n", page, number);
		} else {
			compare(page, number);
		}
	}
}
