/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A known sequence of accesses to PAGES pages, far more than the window has frames. So the counters
 * that the hypervisor logs at the end are known, except for this program's own few pages. In each
 * step every page is touched once, in order; what is read is checked.
 *
 *   step                           faults            the victim
 *   untouched pages are read       first touch       absent, clean: dropped as zero
 *   each is written                first touch       clean, then dirty: sealed
 *   each is read, four times       opened            clean: dropped, except the first full window
 *   each is read, then written     opened            dirty: sealed. Without dirty bits the write is
 *                                                    one more fault ("open already")
 *   each is zeroed                 opened            dirty, all zero: dropped as zero
 *   each is read                   first touch       absent, clean: dropped as zero
 *
 * Of eight pages that are opened in order, one faults and seven are opened ahead.
 */
#include "tests/guests/common/guest.h"

#define PAGES 512
#define READS 4

static volatile uint64_t *word_of(uint64_t page)
{
	return (uint64_t *)(uintptr_t)(FRESH_BASE + page * PAGE_SIZE + page % 512 * 8);
}

static uint64_t value(uint64_t page, uint64_t step)
{
	return (page << 8 | step) * 0x9e3779b97f4a7c15;
}

static void read_all(uint64_t step)
{
	for (uint64_t i = 0; i < PAGES; i++) {
		check_equal(*word_of(i), step == 0 ? 0 : value(i, step));
	}
}

void guest_main(void)
{
	read_all(0);
	for (uint64_t i = 0; i < PAGES; i++) {
		*word_of(i) = value(i, 1);
	}
	for (unsigned n = 0; n < READS; n++) {
		read_all(1);
	}
	for (uint64_t i = 0; i < PAGES; i++) {
		check_equal(*word_of(i), value(i, 1));
		*word_of(i) = value(i, 2);
	}
	for (uint64_t i = 0; i < PAGES; i++) {
		void *page = (void *)(uintptr_t)(FRESH_BASE + i * PAGE_SIZE);
		uint64_t words = PAGE_SIZE / 8;

		__asm__ volatile("rep stosq" : "+D"(page), "+c"(words) : "a"(0) : "memory");
	}
	read_all(0);
	print("%u pages\n", PAGES);
}
