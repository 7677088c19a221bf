/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory whose ciphertext is changed by an attacker while it is sealed. The guest marks 4 MiB, then
 * changes one block of one page at a time, and reads all other pages until the changed page is
 * sealed again. An attacker who compares memory dumps finds its ciphertext, and flips one bit of
 * it. At the end the guest reports which 16-byte blocks are not as it wrote them.
 *
 * Without tags (integrity = off) changed ciphertext is decrypted, and only the content of the block
 * shows the change.
 */
#include "tests/bus/marker.h"
#include "tests/guests/common/guest.h"

#define FIRST_PAGE     0x1000000ull
#define PAGES	       1024ul
#define UART_LSR       5
#define UART_LSR_READY BIT(0)

/* Adjacent pages, so that all other pages that are sealed in a round are the same ones. */
static const uint64_t changed_page[] = { 901, 900, 899, 900, 901, 899, 900 };
static uint64_t writes[PAGES]; /* how often a page's first block was changed */

static struct marker *block_of(uint64_t page, uint64_t block)
{
	return (struct marker *)(FIRST_PAGE + page * PAGE_SIZE) + block;
}

static struct marker wanted(uint64_t page, uint64_t block)
{
	return marker_make(page + (block == 0 ? writes[page] * PAGES : 0), block);
}

static void write(uint64_t page, uint64_t block)
{
	*block_of(page, block) = wanted(page, block);
}

/* Reads all pages but one, twice: more than the window holds, so that the one is sealed. */
static uint64_t read_others(uint64_t page)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < 2 * PAGES; i++) {
		if (i % PAGES != page) {
			sum += ((volatile struct marker *)block_of(i % PAGES, 1))->first;
		}
	}
	return sum;
}

/* Waits until the reader of the output types a byte. */
static void stand_still(void)
{
	while (!(in8(PORT_COM1 + UART_LSR) & UART_LSR_READY)) {
		uint64_t until = rdtsc() + tsc_hz() / 1000;

		while (rdtsc() < until) {
		}
	}
	(void)in8(PORT_COM1);
}

static uint64_t look(void)
{
	uint64_t different = 0;

	for (uint64_t page = 0; page < PAGES; page++) {
		for (uint64_t block = 0; block < MARKER_PAGE_BLOCKS; block++) {
			struct marker want = wanted(page, block), got = *block_of(page, block);

			if (got.first != want.first || got.second != want.second) {
				print("flip: page %lu block %lu differs\n", page, block);
				different++;
			}
		}
	}
	return different;
}

void guest_main(void)
{
	for (uint64_t page = 0; page < PAGES; page++) {
		for (uint64_t block = 0; block < MARKER_PAGE_BLOCKS; block++) {
			write(page, block);
		}
	}
	for (unsigned round = 0; round < ARRAY_COUNT(changed_page); round++) {
		uint64_t page = changed_page[round];

		writes[page]++;
		write(page, 0);
		(void)read_others(page);
		print("flip: page %lu was changed and sealed\n", page);
		stand_still();
	}
	print("flip: %lu blocks differ\n", look());
}
