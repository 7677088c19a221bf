/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's ACPI tables (ACPI Specification 6.4): RSDP, XSDT, FADT, FACS, MADT, DSDT, and an SSDT
 * with its processors. Fixed hardware, not the hardware-reduced kind: every kernel knows how to
 * power that off and reset it. What the tables promise, guest/dev/ does at guest/memmap.h's
 * addresses.
 */
#ifndef UMBRA_GUEST_ACPI_BUILD_H
#define UMBRA_GUEST_ACPI_BUILD_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/* What the tables say of a VM beside what is the same for all. */
struct acpi_machine {
	uint32_t vcpu_count; /* APIC IDs 0, 1, ... */
	/* Where PCI functions may have prefetchable memory; 0 bytes: nowhere. */
	uint64_t window, window_bytes;
};

/*
 * Puts the tables into area as they shall lie at guest address base, the RSDP first. Returns their
 * size, or 0 when they do not fit.
 */
size_t acpi_compose(uint8_t *area, size_t area_bytes, uint32_t base,
		    const struct acpi_machine *machine);

/* The same at MEMMAP_ACPI in guest memory. ERR_NOMEM, ERR_RANGE, or gmem_write's errors. */
int acpi_build(struct gmem *gmem, const struct acpi_machine *machine);

#endif
