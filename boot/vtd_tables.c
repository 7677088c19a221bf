/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a remapping unit (VT-d specification, "Translation Structure Formats"): the root
 * table has an entry for each bus, a context table one for each function of the bus, and each
 * function that may reach memory has page tables of its own.
 */
#include "boot/vtd_regs.h"

#define ENTRY_PRESENT 1ul
#define LEAF_READ     BIT(0)
#define LEAF_WRITE    BIT(1)
#define LEAF_LARGE    BIT(7)
#define ENTRY_ADDRESS MASK(51, 12)
#define WIDTH_39      1u /* the number of this width in CAP and in a context entry */
#define WIDTH_57      3u
#define TABLE_BITS    9u

/* The smallest address width that the unit supports, as WIDTH_39 to WIDTH_57; 0: none of these. */
static unsigned width_of(const struct vtd_unit *unit)
{
	for (unsigned width = WIDTH_39; width <= WIDTH_57; width++) {
		if ((CAP_WIDTHS(unit->cap) & BIT(width)) != 0) {
			return width;
		}
	}
	return 0;
}

static uint64_t *take_page(struct vtd_memory *memory)
{
	uint64_t *page = (uint64_t *)(void *)memory->next;

	if (memory->left == 0) {
		return NULL;
	}
	memory->next += PAGE_SIZE;
	memory->left--;
	return page;
}

bool vtd_prepare(struct vtd_unit *unit, struct vtd_memory *memory, void *done)
{
	unit->root = take_page(memory);
	unit->queue = take_page(memory);
	unit->done = done;
	unit->tail = 0;
	unit->waits = 0;
	unit->domains = 0;
	return unit->queue != NULL;
}

/* The table that an entry leads to; makes it if there is none. NULL: no page is left. */
static uint64_t *follow(uint64_t *entry, struct vtd_memory *memory, uint64_t bits)
{
	if (*entry == 0) {
		*entry = (uintptr_t)take_page(memory);
		if (*entry != 0) {
			*entry |= bits;
		}
	}
	return (uint64_t *)(*entry & ENTRY_ADDRESS);
}

/*
 * Returns the top page table of a function. Makes it, with a domain of its own, if there is none.
 */
static uint64_t *open_function(struct vtd_unit *unit, struct vtd_memory *memory, uint16_t source,
			       unsigned width)
{
	uint64_t *contexts = follow(&unit->root[source >> 8 << 1], memory, ENTRY_PRESENT);
	uint64_t *context;

	if (contexts == NULL) {
		return NULL;
	}
	context = &contexts[(source & 0xff) << 1];
	if (context[0] == 0) {
		/*
		 * Number 0 is reserved: the unit may cache entries that are not present under it.
		 */
		if (unit->domains + 1ul >= BIT(CAP_DOMAINS(unit->cap))) {
			return NULL;
		}
		unit->domains++;
		context[1] = (uint64_t)unit->domains << 8 | width;
	}
	return follow(context, memory, ENTRY_PRESENT);
}

/* Maps one leaf at its own address. Returns false if no page is left. */
static bool map_leaf(uint64_t *table, struct vtd_memory *memory, unsigned levels, uint64_t at,
		     bool large)
{
	const unsigned last = large ? 2 : 1;

	for (unsigned level = levels; level > last; level--) {
		const unsigned shift = PAGE_SHIFT + TABLE_BITS * (level - 1);
		uint64_t *entry = &table[at >> shift & 0x1ff];

		if ((*entry & LEAF_LARGE) != 0) {
			return true; /* another range of the function maps this page already */
		}
		table = follow(entry, memory, LEAF_READ | LEAF_WRITE);
		if (table == NULL) {
			return false;
		}
	}
	table[at >> (PAGE_SHIFT + TABLE_BITS * (last - 1)) & 0x1ff] = at | LEAF_READ | LEAF_WRITE |
								      (large ? LEAF_LARGE : 0);
	return true;
}

const char *vtd_map(struct vtd_unit *unit, struct vtd_memory *memory, uint16_t source,
		    uint64_t base, uint64_t end)
{
	const unsigned width = width_of(unit);
	const unsigned levels = width + 2;
	const unsigned bits = MIN(PAGE_SHIFT + TABLE_BITS * levels, CAP_GUEST_BITS(unit->cap));
	uint64_t *top;

	if (width == 0 || end > BIT(bits)) {
		return "the unit cannot address it";
	}
	top = open_function(unit, memory, source, width);
	if (top == NULL) {
		return "there is no page or domain left for it";
	}
	while (base < end) {
		const bool large = (unit->cap & CAP_LEAF_2M) != 0 && IS_ALIGNED(base, SIZE_2M) &&
				   end - base >= SIZE_2M;

		if (!map_leaf(top, memory, levels, base, large)) {
			return "there is no page left for it";
		}
		base += large ? SIZE_2M : PAGE_SIZE;
	}
	return NULL;
}

size_t vtd_map_pages(const struct vtd_unit *unit, uint64_t base, uint64_t end)
{
	const uint64_t bytes = end - base;
	size_t pages = 2; /* the context table and the top */

	/*
	 * Tables of 4 KiB leaves: at both ends, or everywhere if the unit has no leaves of 2 MiB.
	 */
	pages += (unit->cap & CAP_LEAF_2M) != 0 ? 2 : bytes / SIZE_2M + 2;
	pages += bytes / SIZE_1G + 2;
	return pages + 2 * 2; /* at most two levels above these, with two tables each */
}
