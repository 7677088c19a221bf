/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few facts that Umbra takes from firmware's ACPI tables (ACPI 6.5, chapter 5): which CPUs and
 * which memory there are, the serial line, and how to turn the machine off or reset it. Tables are
 * hostile input: every pointer, length and checksum is checked. The facts are copied, and the
 * tables are not read again.
 */
#ifndef UMBRA_HOST_ACPI_HOST_H
#define UMBRA_HOST_ACPI_HOST_H

#include "vmm/base/percpu.h"
#include "vmm/base/types.h"
#include "vmm/console/serial.h"

/* The address space of a register, with the numbers of the Generic Address Structure. */
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
		uint64_t bytes; /* base + bytes does not exceed 2^64 */
		uint32_t domain;
	} memory[ACPI_NEAR_MEMORY_MAX];
	uint32_t memory_count;
	bool memory_left_out; /* some ranges were not taken: too many, or impossible ones */
};

struct acpi_facts {
	/*
	 * From the MADT: enabled CPUs in the order of the table, without duplicates. 0 CPUs without
	 * a usable MADT.
	 */
	uint32_t apic_ids[CPU_MAX];
	uint32_t cpu_count;
	uint32_t cpus_left_out; /* enabled CPUs beyond CPU_MAX */
	struct acpi_affinity affinity;
	/* From the FADT. A port is 0 when the table names none. */
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
 * Returns a pointer to bytes of physical memory at an address, or NULL when a part of them is not
 * memory. Bytes that it returned once stay readable.
 */
struct acpi_reader {
	const void *(*at)(void *context, hpa_t base, uint64_t bytes);
	void *context;
};

/*
 * Fills out from the tables. A missing table leaves its facts empty; so does a broken one, which is
 * logged. Returns ERR_NOTFOUND when rsdp is 0, ERR_FORMAT when there is no usable RSDP or no usable
 * XSDT or RSDT; then all of out is empty.
 */
int acpi_read(hpa_t rsdp, const struct acpi_reader *reader, struct acpi_facts *out);

/*
 * Finds the 16550 that firmware uses for its own console (SPCR) or for its debugger (DBG2); both
 * tables are specified by Microsoft. The speed is the one that SPCR names, else the one that
 * firmware has set. Returns ERR_NOTFOUND when neither table names a 16550; out is then unchanged.
 */
int acpi_find_serial(hpa_t rsdp, const struct acpi_reader *reader, struct serial_place *out);

/* A table that is wholly in memory and has a correct checksum. It lies where firmware put it. */
struct acpi_table {
	const uint8_t *bytes; /* with the header of 36 bytes */
	uint32_t length;      /* at least 36 */
};

/*
 * Finds the first usable table with this signature of four characters. If there is none, out is
 * unchanged, and it returns ERR_NOTFOUND, or ERR_FORMAT if there is a broken one.
 */
int acpi_find_table(hpa_t rsdp, const struct acpi_reader *reader, const char *signature,
		    struct acpi_table *out);

#endif
