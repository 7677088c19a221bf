/* SPDX-License-Identifier: Apache-2.0 */
/* Finds ACPI's tables: RSDP, then XSDT or RSDT. */
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/acpi_host.h"
#include "vmm/host/acpi_priv.h"

#define RSDP_V1_BYTES	20
#define RSDP_BYTES	36
#define RSDP_BYTES_MAX	4096
#define TABLE_BYTES_MAX (16u << 20)

uint64_t acpi_le(const uint8_t *p, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0) {
		value = value << 8 | p[bytes];
	}
	return value;
}

static bool sums_to_zero(const uint8_t *p, size_t bytes)
{
	uint8_t sum = 0;

	while (bytes-- > 0) {
		sum = (uint8_t)(sum + *p++);
	}
	return sum == 0;
}

const uint8_t *acpi_at(const struct acpi_reader *reader, uint64_t address, uint64_t bytes)
{
	uint64_t end;

	if (address == 0 || __builtin_add_overflow(address, bytes, &end)) {
		return NULL;
	}
	return reader->at(reader->context, hpa(address), bytes);
}

bool acpi_open_table(const struct acpi_reader *reader, uint64_t address, const char *signature,
		     struct acpi_table *out)
{
	const uint8_t *p = acpi_at(reader, address, ACPI_HEADER_BYTES);

	if (p == NULL || (signature != NULL && memcmp(p, signature, 4) != 0)) {
		return false;
	}
	out->length = (uint32_t)acpi_le(p + 4, 4);
	if (out->length < ACPI_HEADER_BYTES || out->length > TABLE_BYTES_MAX) {
		return false;
	}
	out->bytes = acpi_at(reader, address, out->length);
	return out->bytes != NULL && sums_to_zero(out->bytes, out->length);
}

/* Finds the addresses of the XSDT, or of the RSDT when there is no XSDT. */
static int find_roots(const struct acpi_reader *reader, hpa_t rsdp, uint64_t *xsdt, uint64_t *rsdt)
{
	const uint8_t *p = acpi_at(reader, rsdp.v, RSDP_V1_BYTES);
	uint64_t length;

	if (p == NULL || memcmp(p, "RSD PTR ", 8) != 0 || !sums_to_zero(p, RSDP_V1_BYTES)) {
		return ERR_FORMAT;
	}
	*rsdt = acpi_le(p + 16, 4);
	*xsdt = 0;
	if (p[15] < 2) {
		return 0;
	}
	p = acpi_at(reader, rsdp.v, RSDP_BYTES);
	length = p == NULL ? 0 : acpi_le(p + 20, 4);
	if (length >= RSDP_BYTES && length <= RSDP_BYTES_MAX) {
		p = acpi_at(reader, rsdp.v, length);
		if (p != NULL && sums_to_zero(p, length)) {
			*xsdt = acpi_le(p + 24, 8);
		}
	}
	return 0;
}

int acpi_for_each_table(const struct acpi_reader *reader, hpa_t rsdp,
			void (*each)(const struct acpi_reader *reader, uint64_t address,
				     void *context),
			void *context)
{
	uint64_t xsdt, rsdt;
	struct acpi_table root;
	unsigned entry_bytes = 8;
	uint32_t i, count;

	if (rsdp.v == 0) {
		return ERR_NOTFOUND;
	}
	if (find_roots(reader, rsdp, &xsdt, &rsdt) != 0) {
		return ERR_FORMAT;
	}
	if (!acpi_open_table(reader, xsdt, "XSDT", &root)) {
		entry_bytes = 4;
		if (!acpi_open_table(reader, rsdt, "RSDT", &root)) {
			return ERR_FORMAT;
		}
	}
	count = MIN((root.length - ACPI_HEADER_BYTES) / entry_bytes, (uint32_t)ACPI_ENTRIES_MAX);
	for (i = 0; i < count; i++) {
		const uint8_t *entry = root.bytes + ACPI_HEADER_BYTES + i * entry_bytes;

		each(reader, acpi_le(entry, entry_bytes), context);
	}
	return 0;
}

struct table_search {
	const char *signature;
	struct acpi_table found; /* bytes NULL: not found */
	bool broken;		 /* a table has the signature, and cannot be used */
};

static void search_table(const struct acpi_reader *reader, uint64_t address, void *context)
{
	struct table_search *search = context;
	const uint8_t *p = acpi_at(reader, address, ACPI_HEADER_BYTES);

	if (search->found.bytes == NULL &&
	    !acpi_open_table(reader, address, search->signature, &search->found)) {
		search->found.bytes = NULL;
		search->broken |= p != NULL && memcmp(p, search->signature, 4) == 0;
	}
}

int acpi_find_table(hpa_t rsdp, const struct acpi_reader *reader, const char *signature,
		    struct acpi_table *out)
{
	struct table_search search = { .signature = signature };

	if (acpi_for_each_table(reader, rsdp, search_table, &search) != 0 ||
	    search.found.bytes == NULL) {
		return search.broken ? ERR_FORMAT : ERR_NOTFOUND;
	}
	*out = search.found;
	return 0;
}
