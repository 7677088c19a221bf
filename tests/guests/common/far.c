/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for guests that run sealed: pages that share no page table, and pages that push others out
 * of the window.
 */
#include "tests/guests/common/guest.h"

static uint64_t *zeroed_page(void)
{
	uint64_t *page = fresh_page();

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++) {
		page[i] = 0;
	}
	return page;
}

void map_fresh(uint64_t address)
{
	uint64_t *table, *entry;

	__asm__ volatile("movq %%cr3, %0" : "=r"(table));
	for (unsigned shift = 39; shift >= PAGE_SHIFT; shift -= 9) {
		entry = &table[address >> shift & 511];
		if ((*entry & PTE_PRESENT) == 0) {
			*entry = (uintptr_t)zeroed_page() | PTE_PRESENT | PTE_WRITE;
		} else if (shift == PAGE_SHIFT || (*entry & PTE_LARGE) != 0) {
			error("%lx is mapped already", address);
		}
		table = (uint64_t *)(*entry & PTE_ADDRESS);
	}
}

uint8_t *far_pair(void)
{
	static uint64_t boundary;

	boundary += FAR_DISTANCE;
	if (boundary > FAR_LAST) {
		error("no far pages left");
	}
	map_fresh(boundary - PAGE_SIZE);
	map_fresh(boundary);
	return (uint8_t *)boundary;
}

void *far_code(const void *code, const void *end, size_t before)
{
	uint8_t *to = far_pair() - before;

	memcpy(to, code, (size_t)((const uint8_t *)end - (const uint8_t *)code));
	return to;
}

void sweep(uint64_t pages)
{
	static uint64_t at = SWEEP_BASE;

	for (; pages > 0; pages--) {
		(void)*(volatile uint8_t *)at;
		at = at + PAGE_SIZE == SWEEP_END ? SWEEP_BASE : at + PAGE_SIZE;
	}
}
