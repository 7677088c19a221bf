/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's ACPI tables (ACPI Specification 6.4): RSDP, XSDT, FADT, FACS, MADT, MCFG, DSDT, and an
 * SSDT with its processors and PCI. They describe fixed hardware and not hardware-reduced ACPI,
 * because every kernel can power off and reset fixed hardware. guest/dev/ implements the hardware
 * that the tables describe, at the addresses of guest/memmap.h.
 */
#ifndef UMBRA_GUEST_ACPI_BUILD_H
#define UMBRA_GUEST_ACPI_BUILD_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/* What differs between the tables of VMs. */
struct acpi_machine {
	uint32_t vcpu_count; /* APIC IDs 0, 1, ... */
	/* Where PCI functions may have prefetchable memory; 0 bytes: nowhere. */
	uint64_t window, window_bytes;
};

/*
 * Composes the tables in area. The RSDP comes first; the tables will lie at guest address base.
 * Returns their size in bytes, or 0 if they do not fit.
 */
size_t acpi_compose(uint8_t *area, size_t area_bytes, uint32_t base,
		    const struct acpi_machine *machine);

/*
 * Composes the tables and writes them to MEMMAP_ACPI in guest memory. Returns ERR_NOMEM if the
 * buffer cannot be allocated, ERR_RANGE if the tables do not fit, or an error of gmem_write.
 */
int acpi_build(struct gmem *gmem, const struct acpi_machine *machine);

#endif
