/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that never exits by itself: it spins with interrupts off for ms= milliseconds of its TSC,
 * or with idle=1 halts for ever.
 * Whatever else is to run on this CPU has to get its turns by the time slices.
 */
#include "tests/guests/common/guest.h"

void guest_main(void)
{
	uint64_t ms = arg_number("ms", 1000), end = rdtsc() + ms * (tsc_hz() / 1000), turns = 0;

	if (arg_number("idle", 0) != 0) {
		print("idle\n");
		for (;;) {
			__asm__ volatile("sti\n\thlt");
		}
	}
	interrupts_off();
	print("spinning for %lu ms\n", ms);
	while (rdtsc() < end) {
		turns++;
	}
	check(turns > 0);
}
