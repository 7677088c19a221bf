/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills memory, 64 MiB or "pages" of it, with numbered markers from "first" on, waits until the
 * machine's DRAM was dumped, then checks that each marker is still there: RAM keeps what was
 * written to it (SDM volume 3, "Memory Cache Control"). The last "shared" pages lie in the memory
 * that it shares with other VMs.
 */
#include "tests/bus/marker.h"
#include "tests/guests/common/guest.h"

#define FIRST_PAGE     0x1000000ull
#define UART_LSR       5
#define UART_LSR_READY BIT(0)

static unsigned long first, pages, shared;

static struct marker *block_of(uint64_t page, uint64_t block)
{
	const uint64_t own = pages - shared;
	const uint64_t address = page < own ? FIRST_PAGE + page * PAGE_SIZE
					    : MEMMAP_HIGH_RAM + (page - own) * PAGE_SIZE;

	return (struct marker *)address + block;
}

static void fill(uint64_t page)
{
	for (uint64_t block = 0; block < MARKER_PAGE_BLOCKS; block++) {
		*block_of(page, block) = marker_make(first + page, block);
	}
}

static void look(uint64_t page)
{
	for (uint64_t block = 0; block < MARKER_PAGE_BLOCKS; block++) {
		struct marker want = marker_make(first + page, block);

		if (block_of(page, block)->first != want.first ||
		    block_of(page, block)->second != want.second) {
			fail("page %lu, block %lu: %lx %lx", page, block,
			     block_of(page, block)->first, block_of(page, block)->second);
		}
	}
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

void guest_main(void)
{
	first = arg_number("first", 0);
	pages = arg_number("pages", 16384);
	shared = arg_number("shared", 0);
	if (shared != 0) {
		map_high();
	}
	for (uint64_t page = 0; page < pages; page++) {
		fill(page);
	}
	print("markers: %lu pages hold their numbers\n", pages);
	stand_still();
	for (uint64_t page = 0; page < pages; page++) {
		look(page);
	}
}
