/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of functions that symbols.py makes from the linked image; a second link puts it behind
 * the constants. It lies after the code, so its presence moves no function. The table is read when
 * something is broken, so no read goes outside of it, whatever it holds.
 */
#include "vmm/host/symbols.h"

#include "vmm/host/image.h"

/* Offsets from the start of the image; the name's is from the start of the table. */
struct entry {
	uint32_t start;
	uint32_t name; /* a terminated string; the table's last byte is zero */
};
_Static_assert(sizeof(struct entry) == 8, "symbols.py writes it so");

struct table {
	uint32_t count;
	struct entry entries[]; /* sorted by start */
};

bool symbol_find(uint64_t offset, struct symbol *found)
{
	const struct table *table = (const void *)image_symbols;
	const uint64_t bytes = (uint64_t)(image_symbols_end - image_symbols);
	uint32_t low = 0, high; /* entries below `low` start at or before offset */

	if (bytes < sizeof(*table) || image_symbols[bytes - 1] != '\0' ||
	    table->count > (bytes - sizeof(*table)) / sizeof(struct entry)) {
		return false;
	}
	high = table->count;
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (table->entries[middle].start <= offset) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low == 0 || table->entries[low - 1].name >= bytes) {
		return false;
	}
	found->start = table->entries[low - 1].start;
	found->name = image_symbols + table->entries[low - 1].name;
	return true;
}
