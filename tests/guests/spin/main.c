/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that never exits by itself: it spins with interrupts off for ms= milliseconds of its TSC,
 * or with idle=1 halts for ever. Other vCPUs on this CPU must get their turns by time slices. With
 * gap= no two readings of the TSC may differ by more than so many milliseconds: if a user pauses
 * the VM for longer, its clock must not jump (KVM and QEMU do the same on "stop" and "cont").
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
