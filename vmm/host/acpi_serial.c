/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the serial line that firmware uses, in SPCR and DBG2. */
#include "vmm/base/err.h"
#include "vmm/host/acpi_host.h"
#include "vmm/host/acpi_priv.h"

/* SPCR, "Serial Port Console Redirection Table"; DBG2, "Debug Port Table 2". */
#define SPCR_KIND	    36
#define SPCR_GAS	    40
#define SPCR_BAUD	    58
#define DBG2_OFFSET	    36
#define DBG2_COUNT	    40
#define DBG2_BYTES	    44
#define DBG2_DEVICE_BYTES   22
#define DBG2_SERIAL	    0x8000
#define SERIAL_16550	    0x00
#define SERIAL_16550_SUBSET 0x01
#define SERIAL_16550_GAS    0x12

/* Reads the Generic Address Structure of a 16550. */
static bool read_serial_gas(const uint8_t *gas, struct serial_place *out)
{
	const uint8_t space = gas[0], width = gas[1], access = gas[3];

	*out = (struct serial_place){
		.memory = space == ACPI_SPACE_MEMORY,
		.stride = width == 32 || access == 3 ? 4 : 1,
		.address = acpi_le(gas + 4, 8),
	};
	return out->address != 0 && (space == ACPI_SPACE_MEMORY || space == ACPI_SPACE_IO);
}

static bool is_16550(uint32_t kind)
{
	return kind == SERIAL_16550 || kind == SERIAL_16550_SUBSET || kind == SERIAL_16550_GAS;
}

static bool read_spcr(const struct acpi_table *t, struct serial_place *out)
{
	if (t->length <= SPCR_BAUD || !is_16550(t->bytes[SPCR_KIND]) ||
	    !read_serial_gas(t->bytes + SPCR_GAS, out)) {
		return false;
	}
	switch (t->bytes[SPCR_BAUD]) {
	case 3: out->divisor = 115200 / 9600; break;
	case 4: out->divisor = 115200 / 19200; break;
	case 6: out->divisor = 115200 / 57600; break;
	case 7: out->divisor = 1; break;
	default: break; /* keep firmware's speed */
	}
	return true;
}

/* Finds the first device of the DBG2 that is a 16550. */
static bool read_dbg2(const struct acpi_table *t, struct serial_place *out)
{
	uint64_t offset, count;

	if (t->length < DBG2_BYTES) {
		return false;
	}
	offset = acpi_le(t->bytes + DBG2_OFFSET, 4);
	count = MIN(acpi_le(t->bytes + DBG2_COUNT, 4), (uint64_t)ACPI_ENTRIES_MAX);
	while (count-- > 0 && offset + DBG2_DEVICE_BYTES <= t->length) {
		const uint8_t *device = t->bytes + offset;
		const uint64_t bytes = acpi_le(device + 1, 2);
		const uint64_t gas = acpi_le(device + 18, 2);

		if (bytes < DBG2_DEVICE_BYTES || bytes > t->length - offset) {
			return false;
		}
		if (acpi_le(device + 12, 2) == DBG2_SERIAL &&
		    is_16550((uint32_t)acpi_le(device + 14, 2)) && device[3] != 0 &&
		    gas + ACPI_GAS_BYTES <= bytes && read_serial_gas(device + gas, out)) {
			return true;
		}
		offset += bytes;
	}
	return false;
}

struct serial_search {
	struct serial_place spcr, dbg2; /* address 0: not found */
};

static void search_serial(const struct acpi_reader *reader, uint64_t address, void *context)
{
	struct serial_search *search = context;
	struct serial_place found;
	struct acpi_table t;

	if (acpi_open_table(reader, address, "SPCR", &t) && read_spcr(&t, &found)) {
		search->spcr = found;
	} else if (acpi_open_table(reader, address, "DBG2", &t) && read_dbg2(&t, &found)) {
		search->dbg2 = found;
	}
}

int acpi_find_serial(hpa_t rsdp, const struct acpi_reader *reader, struct serial_place *out)
{
	struct serial_search search = { .spcr.address = 0 };

	if (acpi_for_each_table(reader, rsdp, search_serial, &search) != 0) {
		return ERR_NOTFOUND;
	}
	if (search.spcr.address == 0 && search.dbg2.address == 0) {
		return ERR_NOTFOUND;
	}
	*out = search.spcr.address != 0 ? search.spcr : search.dbg2;
	return 0;
}
