/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/dmar.h"

#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

/* VT-d specification, "DMA Remapping Reporting Structure": offsets, lengths and flags. */
#define TABLE_FLAGS	 37u
#define TABLE_STRUCTURES 48u
#define FLAG_INTERRUPTS	 BIT(0)
#define FLAG_OPT_IN	 BIT(2)

#define STRUCTURE_UNIT	   0u /* DRHD */
#define STRUCTURE_RESERVED 1u /* RMRR */
#define STRUCTURE_HEADER   4u

#define UNIT_BYTES     16u
#define UNIT_ALL       BIT(0) /* INCLUDE_PCI_ALL */
#define UNIT_SIZE      0xfu   /* the registers take 4 KiB << n */
#define RESERVED_BYTES 24u
#define SCOPE_BYTES    6u
#define PATH_HOP_BYTES 2u
#define ADDRESS_BITS   52u

static uint64_t read_le(const uint8_t *p, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0) {
		value = value << 8 | p[bytes];
	}
	return value;
}

/* Copies one scope. Returns false if its path is not valid. */
static bool copy_scope(const uint8_t *from, uint32_t hops, struct dmar_scope *to)
{
	*to = (struct dmar_scope){ .kind = from[0], .bus = from[5], .hops = (uint8_t)hops };
	if (to->kind < DMAR_SCOPE_ENDPOINT || to->kind > DMAR_SCOPE_NAMED || hops == 0 ||
	    hops > DMAR_HOPS_MAX) {
		return false;
	}
	for (uint32_t i = 0; i < hops; i++) {
		const uint8_t device = from[SCOPE_BYTES + i * PATH_HOP_BYTES];
		const uint8_t function = from[SCOPE_BYTES + i * PATH_HOP_BYTES + 1];

		if (device > 31 || function > 7) {
			return false;
		}
		to->path[i] = (uint8_t)(device << 3 | function);
	}
	return true;
}

/* Copies the scopes that fill the rest of a structure. Leaves out invalid ones, and logs each. */
static struct dmar_scopes copy_scopes(const uint8_t *from, uint32_t bytes, struct dmar *out)
{
	struct dmar_scopes scopes = { (uint16_t)out->scope_count, 0 };
	uint32_t at = 0;

	while (at < bytes) {
		const uint32_t left = bytes - at;
		const uint32_t length = left >= SCOPE_BYTES ? from[at + 1] : 0;

		if (length < SCOPE_BYTES || length > left) {
			log_warn("DMAR: a device's entry has the length %u, with %u bytes left; "
				 "the rest of its structure is ignored",
				 length, left);
			break;
		}
		if (out->scope_count == DMAR_SCOPES_MAX) {
			log_warn("DMAR: more than %u devices are named; the rest is ignored, so "
				 "devices may be shut out from memory that firmware gave them",
				 DMAR_SCOPES_MAX);
			break;
		}
		if (copy_scope(from + at, (length - SCOPE_BYTES) / PATH_HOP_BYTES,
			       &out->scopes[out->scope_count])) {
			out->scope_count++;
			scopes.count++;
		} else {
			log_warn("DMAR: a device's entry of type %u has no valid PCI address; it "
				 "is ignored",
				 from[at]);
		}
		at += length;
	}
	return scopes;
}

static bool unit_is_there(const struct dmar *dmar, uint64_t base, uint64_t bytes)
{
	for (uint32_t i = 0; i < dmar->unit_count; i++) {
		const struct dmar_unit *unit = &dmar->units[i];

		if (base < unit->base + unit->bytes && unit->base < base + bytes) {
			return true;
		}
	}
	return false;
}

/* Why Umbra cannot use the unit, or NULL. */
static const char *reject_unit(const struct dmar_unit *unit, const struct dmar *out)
{
	if (unit->base == 0 || !IS_ALIGNED(unit->base, PAGE_SIZE) ||
	    unit->base >= BIT(ADDRESS_BITS)) {
		return "this address is not valid";
	}
	if (unit_is_there(out, unit->base, unit->bytes)) {
		return "another unit has this address";
	}
	_Static_assert(DMAR_UNITS_MAX == 64, "the number in the message");
	return out->unit_count == DMAR_UNITS_MAX ? "Umbra knows 64 units at most" : NULL;
}

static void read_unit(const uint8_t *from, uint32_t length, struct dmar *out)
{
	struct dmar_unit unit = { .base = 0 };
	const char *error;

	if (length >= UNIT_BYTES) {
		unit.all = (from[4] & UNIT_ALL) != 0;
		unit.bytes = PAGE_SIZE << (from[5] & UNIT_SIZE);
		unit.segment = (uint16_t)read_le(from + 6, 2);
		unit.base = read_le(from + 8, 8);
	}
	error = reject_unit(&unit, out);
	if (error != NULL) {
		log_error("DMAR: the IOMMU unit with registers at 0x%lx is left out: %s", unit.base,
			  error);
		out->units_left_out = true;
		return;
	}
	unit.scopes = copy_scopes(from + UNIT_BYTES, length - UNIT_BYTES, out);
	out->units[out->unit_count++] = unit;
}

static void read_reserved(const uint8_t *from, uint32_t length, struct dmar *out)
{
	struct dmar_reserved range = { .base = 0 };
	uint64_t last = 0;

	if (length >= RESERVED_BYTES) {
		range.segment = (uint16_t)read_le(from + 6, 2);
		range.base = read_le(from + 8, 8);
		last = read_le(from + 16, 8);
	}
	if (range.base == 0 || last <= range.base || last >= BIT(ADDRESS_BITS) ||
	    !IS_ALIGNED(range.base, PAGE_SIZE) || !IS_ALIGNED(last + 1, PAGE_SIZE) ||
	    out->reserved_count == DMAR_RESERVED_MAX) {
		log_warn("DMAR: the memory from 0x%lx to 0x%lx, in which a device works for "
			 "firmware, is left out: these addresses are not valid, or there are more "
			 "than %u such ranges",
			 range.base, last, DMAR_RESERVED_MAX);
		return;
	}
	range.end = last + 1;
	range.scopes = copy_scopes(from + RESERVED_BYTES, length - RESERVED_BYTES, out);
	out->reserved[out->reserved_count++] = range;
}

/* After a structure with a broken length nothing can be read, so a unit may be missing. */
static void read_structures(const uint8_t *table, uint32_t bytes, struct dmar *out)
{
	uint32_t at = TABLE_STRUCTURES;

	while (at < bytes) {
		const uint32_t left = bytes - at;
		const uint8_t *from = table + at;
		const uint32_t type = left >= STRUCTURE_HEADER ? (uint32_t)read_le(from, 2) : 0;
		const uint32_t length = left >= STRUCTURE_HEADER ? (uint32_t)read_le(from + 2, 2)
								 : 0;

		if (length < STRUCTURE_HEADER || length > left) {
			log_error("DMAR: the structure at offset %u has the length %u; the rest of "
				  "the table is ignored",
				  at, length);
			out->units_left_out = true;
			return;
		}
		if (type == STRUCTURE_UNIT) {
			read_unit(from, length, out);
		} else if (type == STRUCTURE_RESERVED) {
			read_reserved(from, length, out);
		}
		at += length;
	}
}

int dmar_parse(const uint8_t *table, uint32_t bytes, struct dmar *out)
{
	uint8_t flags;

	memset(out, 0, sizeof(*out));
	if (bytes < TABLE_STRUCTURES) {
		log_error("DMAR: a table of %u bytes is too short", bytes);
		out->units_left_out = true;
		return ERR_FORMAT;
	}
	flags = table[TABLE_FLAGS];
	out->remaps_interrupts = (flags & FLAG_INTERRUPTS) != 0;
	out->protected_early = (flags & FLAG_OPT_IN) != 0;
	read_structures(table, bytes, out);
	if (out->unit_count == 0) {
		log_error("DMAR: the table describes no unit that can be used");
		memset(out, 0, sizeof(*out));
		out->units_left_out = true;
		return ERR_FORMAT;
	}
	return 0;
}
