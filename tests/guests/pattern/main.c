/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory keeps what was written, while another VM on another CPU takes the frames that it lies in.
 * Every page's content follows from its number, this VM's seed and the round that wrote it last, so
 * that a lost, stale or foreign page is detected. In between the guest counts up in some hot pages
 * without any exit, for so long that others take those pages if there are more than the floor
 * protects: then it must not write any more through an old translation in the TLB. Command line:
 * seed=N pages=N rounds=N hot=N spins=N, and sweeps=N: untouched pages read in each round, which
 * push out many others.
 */
#include "tests/guests/common/guest.h"

#define WORDS (PAGE_SIZE / 8)

static uint64_t seed, pages, hot;

/* The last round up to this one that wrote the page: each round leaves out a third of them. */
static uint64_t last_write(uint64_t page, uint64_t round)
{
	while (round > 0 && (round + page) % 3 == 0) {
		round--;
	}
	return round;
}

/* Zero before the first round, and for pages that a round clears. */
static uint64_t base_of(uint64_t page, uint64_t round)
{
	return round == 0 || (round + page) % 7 == 0 ? 0 : (seed << 48 | round << 24 | page) << 9;
}

static uint64_t word_of(uint64_t base, uint64_t i)
{
	return base == 0 ? 0 : (base | i) * 0x9e3779b97f4a7c15;
}

static volatile uint64_t *at(uint64_t page)
{
	return (uint64_t *)(uintptr_t)(FRESH_BASE + page * PAGE_SIZE);
}

static void verify(uint64_t page, uint64_t round)
{
	uint64_t base = base_of(page, last_write(page, round));

	for (uint64_t i = 0; i < WORDS; i++) {
		if (at(page)[i] != word_of(base, i)) {
			fail("page %lu word %lu after round %lu is %lx, not %lx", page, i, round,
			     at(page)[i], word_of(base, i));
		}
	}
}

static void write(uint64_t page, uint64_t round)
{
	uint64_t base = base_of(page, round);

	for (uint64_t i = 0; i < WORDS; i++) {
		at(page)[i] = word_of(base, i);
	}
}

static void spin(uint64_t round, uint64_t spins)
{
	for (uint64_t n = 0; n < spins; n++) {
		for (uint64_t i = 0; i < hot; i++) {
			at(pages + i)[n % WORDS]++;
		}
	}
	for (uint64_t i = 0; i < hot; i++) {
		uint64_t sum = 0;

		for (uint64_t n = 0; n < WORDS; n++) {
			sum += at(pages + i)[n];
		}
		check_equal(sum, round * spins);
	}
}

void guest_main(void)
{
	uint64_t rounds = arg_number("rounds", 10), spins = arg_number("spins", 2000);

	seed = arg_number("seed", 1);
	pages = arg_number("pages", 300);
	hot = arg_number("hot", 8);
	check(seed < 128 && pages < 1 << 15 && rounds < 1 << 24);
	for (uint64_t round = 1; round <= rounds; round++) {
		for (uint64_t page = 0; page < pages; page++) {
			verify(page, round - 1);
			if (last_write(page, round) == round) {
				write(page, round);
			}
		}
		spin(round, spins);
		sweep(arg_number("sweeps", 0));
	}
	for (uint64_t page = 0; page < pages; page++) {
		verify(page, rounds);
	}
	print("%lu pages, %lu rounds\n", pages, rounds);
}
