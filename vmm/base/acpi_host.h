/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few facts that we take from firmware's ACPI tables (ACPI 6.5, chapter 5): CPUs and how to
 * turn the machine off. Tables are hostile input: every pointer, length and checksum is checked,
 * the facts are copied, and the tables are not looked at again.
 */
#ifndef UMBRA_BASE_ACPI_HOST_H
#define UMBRA_BASE_ACPI_HOST_H

#include "vmm/base/percpu.h"
#include "vmm/base/serial.h"
#include "vmm/base/types.h"

/* Where a register lives; numbers of the Generic Address Structure. */
enum acpi_space {
	ACPI_SPACE_MEMORY = 0,
	ACPI_SPACE_IO = 1,
};

/*
 * SRAT ("System Resource Affinity Table"): which enabled CPUs and which memory are near each other,
 * by proximity domain. Empty without a usable SRAT.
 */
#define ACPI_NEAR_CPUS_MAX   1024
#define ACPI_NEAR_MEMORY_MAX 256
struct acpi_affinity {
	struct acpi_near_cpu {
		uint32_t apic_id;
		uint32_t domain;
	} cpus[ACPI_NEAR_CPUS_MAX];
	uint32_t cpu_count;
	struct acpi_near_memory {
		hpa_t base;
		uint64_t bytes; /* never beyond the end of all addresses */
		uint32_t domain;
	} memory[ACPI_NEAR_MEMORY_MAX];
	uint32_t memory_count;
	bool memory_left_out; /* there are more ranges, or impossible ones */
};

struct acpi_facts {
	/* MADT: enabled CPUs in the order of the table, each once. 0 without a usable MADT. */
	uint32_t apic_ids[CPU_MAX];
	uint32_t cpu_count;
	uint32_t cpus_left_out; /* more than CPU_MAX */
	struct acpi_affinity affinity;
	bool has_dmar; /* there is a table that describes IOMMUs; it is not read */
	/* FADT; a port is 0 when there is none. */
	uint16_t pm_timer_port;
	uint16_t pm1a_control;
	uint16_t pm1b_control;
	bool has_reset;
	enum acpi_space reset_space;
	uint64_t reset_address;
	uint8_t reset_value;
	/* The \_S5_ package of DSDT or an SSDT: SLP_TYP values for PM1a and PM1b. */
	bool has_s5;
	uint8_t s5_type_a;
	uint8_t s5_type_b;
};

/*
 * Gives bytes of physical memory at an address where they can be read, or NULL when any of them is
 * not memory. Memory that it gave once stays readable.
 */
struct acpi_reader {
	const void *(*at)(void *context, hpa_t base, uint64_t bytes);
	void *context;
};

/*
 * Reads what there is. A table that is missing or broken leaves its facts empty, with a log line
 * when it is broken. ERR_NOTFOUND when rsdp is 0, ERR_FORMAT when there is no usable RSDP, XSDT and
 * RSDT; out is all empty then.
 */
int acpi_read(hpa_t rsdp, const struct acpi_reader *reader, struct acpi_facts *out);

/*
 * The 16550 that firmware has its own console on (SPCR), or its debugger (DBG2: Microsoft's
 * specifications of these tables). Speed as SPCR says, else as firmware set it. ERR_NOTFOUND when
 * neither names one; then out is untouched.
 */
int acpi_find_serial(hpa_t rsdp, const struct acpi_reader *reader, struct serial_place *out);

#endif
