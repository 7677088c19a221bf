/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TSC that is read later shows no smaller value, whichever CPU reads it (SDM, "Invariant TSC";
 * operating systems rely on it). The CPUs take turns, and each reads its TSC when its turn has
 * come. Command line: cpus=N rounds=N.
 */
#include "tests/guests/common/guest.h"

#define CPUS_MAX 8

static uint64_t cpus, rounds;
static uint64_t turn, last, back_by, backs; /* changed by the CPU that has the turn */

static void play(unsigned cpu)
{
	for (;;) {
		uint64_t now, mine = __atomic_load_n(&turn, __ATOMIC_ACQUIRE);

		if (mine >= rounds * cpus) {
			return;
		}
		if (mine % cpus != cpu) {
			__asm__ volatile("pause");
			continue;
		}
		__asm__ volatile("lfence");
		now = rdtsc();
		if (now < last) {
			backs++;
			back_by = last - now > back_by ? last - now : back_by;
		}
		last = now;
		__atomic_store_n(&turn, mine + 1, __ATOMIC_RELEASE);
	}
}

void guest_main(void)
{
	cpus = arg_number("cpus", 2);
	rounds = arg_number("rounds", 1000);
	if (cpus < 2 || cpus > CPUS_MAX) {
		error("2 to %u CPUs", CPUS_MAX);
	}
	apic_start(false);
	for (unsigned cpu = 1; cpu < cpus; cpu++) {
		cpu_start(cpu, play);
	}
	play(0);
	if (backs != 0) {
		fail("time went back %lu times, by %lu ticks at most", backs, back_by);
	}
	print("%lu readings by %lu CPUs, each later than the one before\n", turn, cpus);
}
