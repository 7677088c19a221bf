/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of ACPI's tables have in common. In acpi_tables.c. */
#ifndef UMBRA_HOST_ACPI_PRIV_H
#define UMBRA_HOST_ACPI_PRIV_H

#include "vmm/base/types.h"
#include "vmm/host/acpi_host.h"

#define ACPI_HEADER_BYTES 36
#define ACPI_GAS_BYTES	  12   /* Generic Address Structure */
#define ACPI_ENTRIES_MAX  1024 /* entries of a table beyond these are not read */

/* A little-endian number of so many bytes. */
uint64_t acpi_le(const uint8_t *p, unsigned bytes);

/* The bytes at address, or NULL when a part of them is not memory. */
const uint8_t *acpi_at(const struct acpi_reader *reader, uint64_t address, uint64_t bytes);

/*
 * Finds the table at address. False when it is broken or has another signature (NULL: any is good).
 */
bool acpi_open_table(const struct acpi_reader *reader, uint64_t address, const char *signature,
		     struct acpi_table *out);

/*
 * Calls each for every address in the root table. Returns ERR_NOTFOUND when rsdp is 0, ERR_FORMAT
 * without a usable root table.
 */
int acpi_for_each_table(const struct acpi_reader *reader, hpa_t rsdp,
			void (*each)(const struct acpi_reader *reader, uint64_t address,
				     void *context),
			void *context);

#endif
