/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firmware's tables with any content. The input is physical memory from MEMORY_BASE on, with the
 * RSDP at its start. If its last byte is odd, the checksums of whole tables are corrected, so that
 * the fuzzer gets past the checks. Each piece of memory is passed as a copy of its exact size.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/base/err.h"
#include "vmm/host/acpi_host.h"

#define MEMORY_BASE  0x1000
#define HEADER_BYTES 36

struct memory {
	const uint8_t *data;
	size_t bytes;
	void *given[2100];
	size_t given_count;
};

static const void *at(void *context, hpa_t base, uint64_t bytes)
{
	struct memory *m = context;
	uint8_t *copy;
	uint8_t sum = 0;
	uint32_t length;

	if (base.v < MEMORY_BASE || bytes > m->bytes || base.v - MEMORY_BASE > m->bytes - bytes ||
	    m->given_count == ARRAY_COUNT(m->given)) {
		return NULL;
	}
	copy = malloc(bytes);
	memcpy(copy, m->data + (base.v - MEMORY_BASE), bytes);
	m->given[m->given_count++] = copy;
	if (bytes >= HEADER_BYTES && (m->data[m->bytes - 1] & 1) != 0) {
		memcpy(&length, copy + 4, 4);
		for (size_t i = 0; length == bytes && i < bytes; i++) {
			sum = (uint8_t)(sum + copy[i]);
		}
		copy[9] = (uint8_t)(copy[9] - sum);
	}
	return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct memory m;
	static struct acpi_facts facts;
	struct serial_place serial;
	struct acpi_table table;
	struct acpi_reader reader = { at, &m };
	int err;

	fake_reset();
	m.data = data;
	m.bytes = bytes;
	err = acpi_read(hpa(MEMORY_BASE), &reader, &facts);
	PROMISE(err == 0 || err == ERR_FORMAT);
	PROMISE(facts.cpu_count <= CPU_MAX);
	PROMISE(facts.cpu_count == CPU_MAX || facts.cpus_left_out == 0);
	PROMISE(facts.affinity.cpu_count <= ACPI_NEAR_CPUS_MAX);
	PROMISE(facts.affinity.memory_count <= ACPI_NEAR_MEMORY_MAX);
	for (uint32_t i = 0; i < facts.affinity.memory_count; i++) {
		const struct acpi_near_memory *near = &facts.affinity.memory[i];

		PROMISE(near->bytes != 0 && near->base.v + near->bytes > near->base.v);
	}
	PROMISE(!facts.has_s5 || (facts.s5_type_a <= 7 && facts.s5_type_b <= 7));
	PROMISE(!facts.has_reset || facts.reset_address != 0);
	PROMISE(!facts.has_reset || facts.reset_space != ACPI_SPACE_IO ||
		facts.reset_address <= UINT16_MAX);
	for (uint32_t i = 0; i < facts.cpu_count; i++) {
		for (uint32_t other = 0; other < i; other++) {
			PROMISE(facts.apic_ids[i] != facts.apic_ids[other]);
		}
	}
	if (acpi_find_serial(hpa(MEMORY_BASE), &reader, &serial) == 0) {
		PROMISE(serial.address != 0 && (serial.stride == 1 || serial.stride == 4));
	}
	if (acpi_find_table(hpa(MEMORY_BASE), &reader, "SRAT", &table) == 0) {
		PROMISE(table.length >= HEADER_BYTES && memcmp(table.bytes, "SRAT", 4) == 0);
		PROMISE(memcmp(table.bytes + 4, &table.length, 4) == 0);
	}
	while (m.given_count > 0) {
		free(m.given[--m.given_count]);
	}
	return 0;
}
