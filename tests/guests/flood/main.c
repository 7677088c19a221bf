/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console that is flooded costs only its own VM. Times are milliseconds since the guest's start;
 * the guests of one machine start within a few of them.
 *
 *   flood quiet=N ms=N  makes exits until quiet, through a port without a device. From then until
 *                       ms it writes lines to its UART as fast as that takes them. With "blind" it
 *                       does not wait until the transmitter is empty (PC16550D data sheet, "Line
 *                       Status Register"), so bytes get lost, but only its own.
 *   count a=N b=N ms=N  counts the instructions of a loop for ms from a on, and for ms from b on:
 *                       FAIL when the second number is less than nine tenths of the first.
 */
#include "tests/guests/common/guest.h"

#define LSR	 5
#define LSR_THRE BIT(5)
#define ROUNDS	 1000
#define INSNS	 (2 * ROUNDS + 8) /* instructions of one iteration of count() */
#define COLUMNS	 64

static uint64_t start;

static uint64_t at(uint64_t ms)
{
	return start + ms * (tsc_hz() / 1000);
}

static void flood(bool blind)
{
	const uint64_t quiet = at(arg_number("quiet", 0)), end = at(arg_number("ms", 0));
	uint64_t bytes = 0;

	while (rdtsc() < quiet) {
		(void)in8(0x80);
		out8(0x80, 0);
	}
	for (; rdtsc() < end; bytes++) {
		const uint64_t column = bytes % COLUMNS;

		while (!blind && !(in8(PORT_COM1 + LSR) & LSR_THRE) && rdtsc() < end) {
		}
		out8(PORT_COM1, column < COLUMNS - 2	? (uint8_t)('!' + column)
				: column == COLUMNS - 2 ? '\r'
							: '\n');
	}
	print("\nflood: %lu bytes were written\n", bytes);
}

/* All instructions of an iteration are here. It never yields, so that it always uses its share. */
static uint64_t count(uint64_t until)
{
	uint64_t turns = 0;

	__asm__ volatile("1:\tmovl %[rounds], %%ecx\n"
			 "2:\tdecl %%ecx\n\tjnz 2b\n\t"
			 "incq %[turns]\n\t"
			 "rdtsc\n\tshlq $32, %%rdx\n\torq %%rdx, %%rax\n\t"
			 "cmpq %[until], %%rax\n\tjb 1b"
			 : [turns] "+&r"(turns)
			 : [rounds] "i"(ROUNDS), [until] "r"(until)
			 : "rax", "rcx", "rdx", "cc");
	return turns * INSNS;
}

void guest_main(void)
{
	const uint64_t ms = arg_number("ms", 0), a = arg_number("a", 0), b = arg_number("b", 0);
	uint64_t before, beside;

	start = rdtsc();
	if (arg("flood")) {
		flood(arg("blind"));
		return;
	}
	if (ms == 0) {
		error("count for how long?");
	}
	(void)count(at(a));
	before = count(at(a + ms));
	(void)count(at(b));
	beside = count(at(b + ms));
	print("count: %lu instructions beside a quiet console, %lu beside a flood: %lu of 1000\n",
	      before, beside, beside * 1000 / before);
	if (beside * 10 < before * 9) {
		fail("a flood of another VM's console cost more than a tenth");
	}
}
