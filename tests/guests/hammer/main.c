/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All CPUs of a guest count in the same pages, more than there are frames, and no addition is lost:
 * a locked addition is atomic for all of them (SDM, "Locked Atomic Operations"), and a CPU's own
 * counter in a page always has the value that this CPU wrote. With one CPU and a VM beside it that
 * does the same, each takes pages that the other has in its TLB; twenty times a CPU adds to one
 * page without an exit for so long that the page is taken meanwhile. Command line: cpus=N pages=N
 * count=N spins=N seed=N.
 */
#include "tests/guests/common/guest.h"

#define CPUS_MAX  8
#define PAGES_MAX 512

/* A page that all CPUs write to; the rest of its words do not change. */
struct hammered {
	uint64_t shared;
	uint64_t own[CPUS_MAX];
	uint64_t fixed[PAGE_SIZE / 8 - CPUS_MAX - 1];
};
#define FIXED (PAGE_SIZE / 8 - CPUS_MAX - 1)

#define SPINS_EACH 20

static uint64_t seed, cpus, pages, count, spins;
/* What each CPU added to each page, and how many CPUs have finished. */
static uint32_t added[CPUS_MAX][PAGES_MAX];
static uint64_t through;

static volatile struct hammered *at(uint64_t page)
{
	return (void *)(uintptr_t)(FRESH_BASE + page * PAGE_SIZE);
}

static uint64_t fixed_word(uint64_t page, uint64_t i)
{
	return (seed << 48 | page << 16 | i) * 0x9e3779b97f4a7c15;
}

static void check_fixed(uint64_t page, uint64_t i)
{
	if (at(page)->fixed[i] != fixed_word(page, i)) {
		fail("page %lu word %lu is %lx, not %lx", page, i, at(page)->fixed[i],
		     fixed_word(page, i));
	}
}

static void check_own(uint64_t page, unsigned cpu)
{
	if (at(page)->own[cpu] != added[cpu][page]) {
		fail("CPU %u added %u to page %lu, which has %lu", cpu, added[cpu][page], page,
		     at(page)->own[cpu]);
	}
}

/* Uses the translation in the TLB: only a shoot-down shows that the page is gone. */
static void spin(uint64_t page, unsigned cpu)
{
	for (uint64_t n = 0; n < spins; n++) {
		at(page)->own[cpu]++;
	}
	added[cpu][page] += (uint32_t)spins;
	__atomic_fetch_add(&at(page)->shared, spins, __ATOMIC_SEQ_CST);
}

/* A quarter of the accesses only read: their pages are clean. */
static void hammer(unsigned cpu)
{
	uint64_t number = (seed + 1) * 0x2545f4914f6cdd1d + cpu;
	uint64_t period = count / SPINS_EACH + 1, phase = period * cpu / cpus;

	for (uint64_t n = 0; n < count; n++) {
		uint64_t page;

		number ^= number << 13;
		number ^= number >> 7;
		number ^= number << 17;
		page = (number >> 20) % pages;
		check_own(page, cpu);
		check_fixed(page, n % FIXED);
		if ((number >> 50) % 4 != 0) {
			at(page)->own[cpu]++;
			added[cpu][page]++;
			__atomic_fetch_add(&at(page)->shared, 1, __ATOMIC_SEQ_CST);
		}
		if (n % period == phase) {
			spin(page, cpu);
		}
	}
	__atomic_fetch_add(&through, 1, __ATOMIC_SEQ_CST);
}

static void verify(uint64_t page)
{
	uint64_t sum = 0;

	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		check_own(page, cpu);
		sum += added[cpu][page];
	}
	if (at(page)->shared != sum) {
		fail("page %lu was added to %lu times and has %lu", page, sum, at(page)->shared);
	}
	for (uint64_t i = 0; i < FIXED; i++) {
		check_fixed(page, i);
	}
}

void guest_main(void)
{
	seed = arg_number("seed", 1);
	cpus = arg_number("cpus", 1);
	pages = arg_number("pages", 300);
	count = arg_number("count", 1000);
	spins = arg_number("spins", 0);
	if (cpus == 0 || cpus > CPUS_MAX || pages == 0 || pages > PAGES_MAX) {
		error("1 to %u CPUs, 1 to %u pages", CPUS_MAX, PAGES_MAX);
	}
	for (uint64_t page = 0; page < pages; page++) {
		for (uint64_t i = 0; i < FIXED; i++) {
			at(page)->fixed[i] = fixed_word(page, i);
		}
	}
	apic_start(false);
	for (unsigned cpu = 1; cpu < cpus; cpu++) {
		cpu_start(cpu, hammer);
	}
	hammer(0);
	while (__atomic_load_n(&through, __ATOMIC_SEQ_CST) != cpus) {
		__asm__ volatile("pause");
	}
	for (uint64_t page = 0; page < pages; page++) {
		verify(page);
	}
	print("%lu accesses by each of %lu CPUs to %lu pages\n", count, cpus, pages);
}
