/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that never exits by itself: it spins with interrupts off for ms= milliseconds of its TSC,
 * or with idle=1 halts for ever.
 * Whatever else is to run on this CPU has to get its turns by the time slices. With gap= no two
 * readings of the TSC are further apart than so many milliseconds: a person who pauses the VM for
 * longer does not make its clock jump (what KVM and QEMU do on "stop" and "cont").
 */
#include "tests/guests/common/guest.h"

void guest_main(void)
{
	uint64_t ms = arg_number("ms", 1000), end = rdtsc() + ms * (tsc_hz() / 1000), turns = 0;
	uint64_t gap = arg_number("gap", 0) * (tsc_hz() / 1000), now = rdtsc(), before;

	if (arg_number("idle", 0) != 0) {
		print("idle\n");
		for (;;) {
			__asm__ volatile("sti\n\thlt");
		}
	}
	interrupts_off();
	print("spinning for %lu ms\n", ms);
	for (before = now; now < end; before = now, now = rdtsc()) {
		if (gap != 0 && now - before > gap) {
			fail("the TSC jumped by %lu", now - before);
		}
		turns++;
	}
	check(turns > 0);
}
