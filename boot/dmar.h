/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI's table DMAR: the units that remap DMA and interrupts, and the memory that firmware's own
 * devices have to reach (Intel VT-d specification, chapter "BIOS Considerations"). Pure C. The
 * table is hostile: each field is read once, checked, and copied.
 */
#ifndef UMBRA_BOOT_DMAR_H
#define UMBRA_BOOT_DMAR_H

#include "vmm/base/types.h"

#define DMAR_UNITS_MAX	  64u
#define DMAR_RESERVED_MAX 32u
#define DMAR_SCOPES_MAX	  1024u /* of all units and ranges */
#define DMAR_HOPS_MAX	  8u	/* bridges on the way to a device, and the device */

enum dmar_scope_kind {
	DMAR_SCOPE_ENDPOINT = 1,
	DMAR_SCOPE_BRIDGE = 2, /* and all that is behind it */
	DMAR_SCOPE_IOAPIC = 3,
	DMAR_SCOPE_HPET = 4,
	DMAR_SCOPE_NAMED = 5, /* a device of ACPI's namespace */
};

/* One device, as the way to it from a bus that is known. */
struct dmar_scope {
	uint8_t kind;		     /* enum dmar_scope_kind; no other number is taken */
	uint8_t bus;		     /* where the way begins */
	uint8_t hops;		     /* 1 to DMAR_HOPS_MAX */
	uint8_t path[DMAR_HOPS_MAX]; /* device << 3 | function on each bus of the way */
};

/* A part of the list of scopes. */
struct dmar_scopes {
	uint16_t first, count;
};

struct dmar_unit {
	uint64_t base;	/* of its registers: page-aligned, not 0, different for each unit */
	uint64_t bytes; /* of its registers: at least one page */
	uint16_t segment;
	bool all; /* it also serves all devices of the segment that no other unit names */
	struct dmar_scopes scopes;
};

/* A range that the devices of its scopes have to reach (RMRR), in whole pages; base < end. */
struct dmar_reserved {
	uint64_t base, end;
	uint16_t segment;
	struct dmar_scopes scopes;
};

struct dmar {
	bool remaps_interrupts; /* the platform says that its units can remap interrupts */
	bool protected_early;	/* DMA_CTRL_PLATFORM_OPT_IN: firmware shut DMA out itself */
	/* A unit was left out: there were too many, or its description is impossible. */
	bool units_left_out;
	struct dmar_unit units[DMAR_UNITS_MAX];
	uint32_t unit_count;
	struct dmar_reserved reserved[DMAR_RESERVED_MAX];
	uint32_t reserved_count;
	struct dmar_scope scopes[DMAR_SCOPES_MAX];
	uint32_t scope_count;
};

/*
 * Reads the table. bytes: its length; the caller has checked its checksum. Logs each error, and
 * leaves the wrong part out. Returns ERR_FORMAT if no unit is left; then out has units_left_out and
 * nothing else.
 */
int dmar_parse(const uint8_t *table, uint32_t bytes, struct dmar *out);

#endif
