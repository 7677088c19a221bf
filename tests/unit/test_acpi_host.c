/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/acpi_host.c, acpi_serial.c, acpi_tables.c: tables as QEMU's firmware makes them, and
 * every way to break them.
 */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "vmm/base/err.h"
#include "vmm/host/acpi_host.h"

/* Physical memory of the test: MEMORY_BYTES from MEMORY_BASE on, and no other memory. */
#define MEMORY_BASE  0x7ff00000ul
#define MEMORY_BYTES 0x8000u

#define RSDP 0x0010u
#define XSDT 0x0103u /* tables need not be aligned */
#define RSDT 0x0200u
#define FADT 0x0300u
#define DSDT 0x0500u
#define SSDT 0x0700u
#define MADT 0x0801u

static uint8_t memory[MEMORY_BYTES];
static void *given[4096];
static size_t given_count;

/*
 * Copies exactly the bytes that were asked for, so that the sanitizer detects a read beyond them.
 */
static const void *reader_at(void *context, hpa_t base, uint64_t bytes)
{
	void *copy;

	if (base.v < MEMORY_BASE || bytes > MEMORY_BYTES ||
	    base.v - MEMORY_BASE > MEMORY_BYTES - bytes || given_count == ARRAY_COUNT(given)) {
		return NULL;
	}
	copy = malloc(bytes);
	memcpy(copy, memory + (base.v - MEMORY_BASE), bytes);
	given[given_count++] = copy;
	return copy;
}

static const struct acpi_reader reader = { reader_at, NULL };
static struct acpi_facts facts;

static int read_all(void)
{
	int err = acpi_read(hpa(MEMORY_BASE + RSDP), &reader, &facts);

	while (given_count > 0) {
		free(given[--given_count]);
	}
	return err;
}

static void put(uint32_t at, uint64_t value, unsigned bytes)
{
	while (bytes-- > 0) {
		memory[at++] = (uint8_t)value;
		value >>= 8;
	}
}

static void fix_sum(uint32_t at, uint32_t bytes, uint32_t sum_at)
{
	uint8_t sum = 0;
	uint32_t i;

	memory[sum_at] = 0;
	for (i = 0; i < bytes; i++) {
		sum = (uint8_t)(sum + memory[at + i]);
	}
	memory[sum_at] = (uint8_t)-sum;
}

/* Writes the header of a table whose body exists. */
static void finish(uint32_t at, const char *signature, uint32_t length)
{
	memcpy(memory + at, signature, 4);
	put(at + 4, length, 4);
	memory[at + 8] = 2;
	fix_sum(at, length, at + 9);
}

static uint32_t length_of(uint32_t table)
{
	return memory[table + 4] | (uint32_t)memory[table + 5] << 8;
}

static void put_rsdp(uint8_t revision)
{
	memcpy(memory + RSDP, "RSD PTR ", 8);
	memory[RSDP + 15] = revision;
	put(RSDP + 16, MEMORY_BASE + RSDT, 4);
	put(RSDP + 20, 36, 4);
	put(RSDP + 24, MEMORY_BASE + XSDT, 8);
	fix_sum(RSDP, 20, RSDP + 8);
	fix_sum(RSDP, 36, RSDP + 32);
}

static void put_gas(uint32_t at, uint8_t space, uint64_t address)
{
	memory[at] = space;
	memory[at + 1] = 8;
	put(at + 4, address, 8);
}

/* q35: ports of ICH9, reset register at CF9, no extended block for PM1b. */
static void put_fadt(void)
{
	put(FADT + 40, MEMORY_BASE + DSDT, 4);
	put(FADT + 64, 0x604, 4);
	put(FADT + 76, 0x608, 4);
	memory[FADT + 91] = 4;
	put(FADT + 112, BIT(10), 4);
	put_gas(FADT + 116, ACPI_SPACE_IO, 0xcf9);
	memory[FADT + 128] = 0x0f;
	put(FADT + 140, MEMORY_BASE + DSDT, 8);
	put_gas(FADT + 172, ACPI_SPACE_IO, 0x604);
	put_gas(FADT + 208, ACPI_SPACE_IO, 0x608);
	finish(FADT, "FACP", 244);
}

static void put_s5(uint32_t at, const char *signature, const void *aml, uint32_t bytes)
{
	memset(memory + at + 36, 0xa3, 40); /* AML: Noop */
	memcpy(memory + at + 36 + 20, aml, bytes);
	finish(at, signature, 36 + 20 + bytes);
}

static const uint8_t s5_qemu[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0, 0, 0, 0 };

static void put_madt(void)
{
	uint32_t at = MADT + 44;
	unsigned i;

	put(MADT + 36, 0xfee00000, 4);
	for (i = 0; i < 4; i++, at += 8) {
		memory[at] = 0;
		memory[at + 1] = 8;
		memory[at + 2] = (uint8_t)i;
		memory[at + 3] = (uint8_t)(2 * i);
		put(at + 4, i == 2 ? 0 : 1, 4); /* the third one is disabled */
	}
	memory[at] = 1; /* I/O APIC */
	memory[at + 1] = 12;
	at += 12;
	memory[at] = 9; /* x2APIC */
	memory[at + 1] = 16;
	put(at + 4, 0x12345, 4);
	put(at + 8, 1, 4);
	at += 16;
	memory[at] = 9; /* the first CPU again */
	memory[at + 1] = 16;
	put(at + 4, 0, 4);
	put(at + 8, 1, 4);
	at += 16;
	finish(MADT, "APIC", at - MADT);
}

static int make_tables(void **state)
{
	static const uint32_t tables[] = { FADT, MADT, 0x7000, SSDT };
	unsigned i;

	memset(memory, 0, sizeof(memory));
	put_rsdp(2);
	put_fadt();
	put_s5(DSDT, "DSDT", s5_qemu, sizeof(s5_qemu));
	finish(SSDT, "SSDT", 36);
	put_madt();
	finish(0x7000, "HPET", 56);
	for (i = 0; i < ARRAY_COUNT(tables); i++) {
		put(XSDT + 36 + 8 * i, MEMORY_BASE + tables[i], 8);
		put(RSDT + 36 + 4 * i, MEMORY_BASE + tables[i], 4);
	}
	finish(XSDT, "XSDT", 36 + 8 * ARRAY_COUNT(tables));
	finish(RSDT, "RSDT", 36 + 4 * ARRAY_COUNT(tables));
	fake_log_reset();
	return 0;
}

/* --- Serial lines --- */

#define SPCR 0x6000u
#define DBG2 0x6100u

static int find_serial(struct serial_place *out)
{
	int err = acpi_find_serial(hpa(MEMORY_BASE + RSDP), &reader, out);

	while (given_count > 0) {
		free(given[--given_count]);
	}
	return err;
}

/* Adds an entry to the root table, which has four. */
static void add_root(uint32_t index, uint32_t table)
{
	put(XSDT + 36 + 8 * index, MEMORY_BASE + table, 8);
	finish(XSDT, "XSDT", MAX(length_of(XSDT), 36 + 8 * (index + 1)));
}

static void put_spcr(uint8_t kind, uint8_t space, uint64_t address, uint8_t baud)
{
	memset(memory + SPCR, 0, 80);
	memory[SPCR + 36] = kind;
	put_gas(SPCR + 40, space, address);
	memory[SPCR + 58] = baud;
	finish(SPCR, "SPCR", 80);
}

/* Two devices: a USB debug port, and a serial line. */
static void put_dbg2(uint16_t kind, uint64_t address)
{
	memset(memory + DBG2, 0, 44 + 22 + 40);
	put(DBG2 + 36, 44, 4);
	put(DBG2 + 40, 2, 4);
	put(DBG2 + 44 + 1, 22, 2);
	put(DBG2 + 44 + 12, 0x8002, 2);
	put(DBG2 + 66 + 1, 40, 2);
	memory[DBG2 + 66 + 3] = 1;
	put(DBG2 + 66 + 12, 0x8000, 2);
	put(DBG2 + 66 + 14, kind, 2);
	put(DBG2 + 66 + 18, 22, 2);
	put_gas(DBG2 + 66 + 22, 0, address);
	memory[DBG2 + 66 + 22 + 1] = 32;
	finish(DBG2, "DBG2", 44 + 22 + 40);
}

TEST(test_serial, make_tables)
{
	struct serial_place found;

	assert_int_equal(find_serial(&found), ERR_NOTFOUND);
	add_root(4, DBG2);
	put_dbg2(0x12, 0xfe034000);
	assert_int_equal(find_serial(&found), 0);
	assert_true(found.memory);
	assert_int_equal(found.stride, 4);
	assert_int_equal(found.divisor, 0);
	assert_true(found.address == 0xfe034000);
	add_root(5, SPCR); /* the SPCR wins, whatever the order */
	put_spcr(0, 1, 0x2f8, 3);
	assert_int_equal(find_serial(&found), 0);
	assert_false(found.memory);
	assert_int_equal(found.address, 0x2f8);
	assert_int_equal(found.divisor, 12);
	put_spcr(0x12, 0, 0xfe000000, 7);
	assert_int_equal(find_serial(&found), 0);
	assert_int_equal(found.stride, 1);
	assert_int_equal(found.divisor, 1);
}

TEST(test_serial_broken, make_tables)
{
	struct serial_place found;

	add_root(4, SPCR);
	put_spcr(3, 0, 0xfe000000, 7); /* an ARM PL011 */
	assert_int_equal(find_serial(&found), ERR_NOTFOUND);
	put_spcr(0, 1, 0, 7); /* redirection is off */
	assert_int_equal(find_serial(&found), ERR_NOTFOUND);
	put_spcr(0, 2, 0x100, 7); /* in configuration space */
	assert_int_equal(find_serial(&found), ERR_NOTFOUND);
	put_spcr(0, 1, 0x3f8, 7);
	finish(SPCR, "SPCR", 58);
	assert_int_equal(find_serial(&found), ERR_NOTFOUND);
	put_spcr(0, 1, 0x3f8, 7);
	memory[SPCR + 9]++;
	assert_int_equal(find_serial(&found), ERR_NOTFOUND);
	add_root(4, DBG2);
	put_dbg2(3, 0xfe000000);
	assert_int_equal(find_serial(&found), ERR_NOTFOUND);
	/* No value of a byte may lead out of the table. */
	for (unsigned i = 36; i < 44 + 22 + 40; i++) {
		for (unsigned value = 0; value < 256; value += 51) {
			put_dbg2(0, 0xfe000000);
			memory[DBG2 + i] = (uint8_t)value;
			finish(DBG2, "DBG2", 44 + 22 + 40);
			(void)find_serial(&found);
		}
	}
}

/* --- SRAT --- */

#define SRAT 0x6800u

static uint32_t put_near(uint32_t at, uint8_t type, uint8_t bytes)
{
	memset(memory + at, 0, bytes);
	memory[at] = type;
	memory[at + 1] = bytes;
	return at + bytes;
}

/* Two domains: 10005H by an 8-bit ID, 2 by an x2APIC ID; one of each is disabled. */
static void put_srat(void)
{
	uint32_t at = SRAT + 48;

	memset(memory + SRAT, 0, 48);
	for (unsigned i = 0; i < 2; i++) {
		const uint32_t lapic = at, x2apic = put_near(at, 0, 16);
		const uint32_t ram = put_near(x2apic, 2, 24);

		at = put_near(ram, 1, 40);
		put(lapic + 2, 5, 1);
		put(lapic + 3, 4 + i, 1);
		put(lapic + 4, i == 0, 4);
		put(lapic + 9, 0x100, 3);
		put(x2apic + 4, 2, 4);
		put(x2apic + 8, 0x12345 + i, 4);
		put(x2apic + 12, i == 0, 4);
		put(ram + 2, 0x10005, 4);
		put(ram + 8, 0x100000000, 8);
		put(ram + 16, 0x40000000, 8);
		put(ram + 28, i == 0, 4);
	}
	finish(SRAT, "SRAT", at - SRAT);
}

TEST(test_srat, make_tables)
{
	const struct acpi_affinity *near = &facts.affinity;

	add_root(4, SRAT);
	put_srat();
	assert_int_equal(read_all(), 0);
	assert_int_equal(near->cpu_count, 2);
	assert_int_equal(near->cpus[0].apic_id, 4);
	assert_int_equal(near->cpus[0].domain, 0x10005);
	assert_int_equal(near->cpus[1].apic_id, 0x12345);
	assert_int_equal(near->cpus[1].domain, 2);
	assert_int_equal(near->memory_count, 1);
	assert_true(near->memory[0].base.v == 0x100000000 && near->memory[0].bytes == 0x40000000);
	assert_int_equal(near->memory[0].domain, 0x10005);
	assert_false(near->memory_left_out);
	assert_int_equal(facts.cpu_count, 4); /* the facts from the MADT are unchanged */
}

TEST(test_srat_broken, make_tables)
{
	add_root(4, SRAT);
	put_srat();
	put(SRAT + 48 + 40 + 8, -0x1000ul, 8); /* memory that would end above 2^64 */
	finish(SRAT, "SRAT", length_of(SRAT));
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.affinity.memory_count, 0);
	assert_true(facts.affinity.memory_left_out);
	put_srat();
	memory[SRAT + 9]++;
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.affinity.cpu_count, 0);
	/* Nor does an entry that the end of the table cuts. */
	for (uint8_t cut = 2; cut < 40; cut++) {
		put_srat();
		memory[SRAT + 168 + 1] = cut;
		finish(SRAT, "SRAT", 168 + cut);
		assert_int_equal(read_all(), 0);
		assert_int_equal(facts.affinity.memory_count, 1);
	}
	for (unsigned i = 36; i < 208; i++) { /* no value of a byte may lead out of the table */
		for (unsigned value = 0; value < 256; value += 51) {
			put_srat();
			memory[SRAT + i] = (uint8_t)value;
			finish(SRAT, "SRAT", length_of(SRAT));
			assert_int_equal(read_all(), 0);
		}
	}
}

static void check_all(void)
{
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.cpu_count, 4);
	assert_int_equal(facts.apic_ids[0], 0);
	assert_int_equal(facts.apic_ids[1], 2);
	assert_int_equal(facts.apic_ids[2], 6);
	assert_int_equal(facts.apic_ids[3], 0x12345);
	assert_int_equal(facts.cpus_left_out, 0);
	assert_int_equal(facts.pm1a_control, 0x604);
	assert_int_equal(facts.pm1b_control, 0);
	assert_int_equal(facts.pm_timer_port, 0x608);
	assert_true(facts.has_reset);
	assert_int_equal(facts.reset_space, ACPI_SPACE_IO);
	assert_int_equal(facts.reset_address, 0xcf9);
	assert_int_equal(facts.reset_value, 0x0f);
	assert_true(facts.has_s5);
	assert_int_equal(facts.s5_type_a, 0);
	assert_int_equal(facts.s5_type_b, 0);
	assert_string_equal(fake_log_text(), "");
}

TEST(test_xsdt, make_tables)
{
	check_all();
}

TEST(test_rsdt, make_tables)
{
	put_rsdp(0);
	check_all();
	/* Revision 2 with a broken XSDT, an XSDT outside of memory, or an RSDP with a wrong sum. */
	put_rsdp(2);
	memory[XSDT + 20] ^= 1;
	check_all();
	put(RSDP + 24, 0x1000, 8);
	fix_sum(RSDP, 36, RSDP + 32);
	check_all();
	(void)make_tables(NULL);
	memory[RSDP + 33] ^= 1;
	check_all();
	/* Tables shorter than a header, although their bytes sum to zero. */
	(void)make_tables(NULL);
	put(XSDT + 4, 0, 4);
	check_all();
	put(XSDT + 4, 35, 4);
	fix_sum(XSDT, 35, XSDT + 9);
	check_all();
}

TEST(test_rsdp_broken, make_tables)
{
	static const uint32_t bytes[] = { 0, 7, 8, 9, 16 };
	static const struct acpi_facts empty;
	size_t i;

	assert_int_equal(acpi_read(hpa(0), &reader, &facts), ERR_NOTFOUND);
	assert_int_equal(acpi_read(hpa(1), &reader, &facts), ERR_FORMAT);
	assert_int_equal(acpi_read(hpa(~0ul), &reader, &facts), ERR_FORMAT);
	assert_int_equal(acpi_read(hpa(MEMORY_BASE + MEMORY_BYTES - 19), &reader, &facts),
			 ERR_FORMAT);
	for (i = 0; i < ARRAY_COUNT(bytes); i++) {
		(void)make_tables(NULL);
		memory[RSDP + bytes[i]] ^= 0x10;
		memset(&facts, 0xff, sizeof(facts));
		assert_int_equal(read_all(), ERR_FORMAT);
		assert_memory_equal(&facts, &empty, sizeof(facts));
	}
	(void)make_tables(NULL);
	memory[XSDT + 9] ^= 1;
	memory[RSDT + 9] ^= 1;
	assert_int_equal(read_all(), ERR_FORMAT);
}

/* A broken table is ignored and logged, and the other tables still count. */
TEST(test_table_broken, make_tables)
{
	memory[MADT + 50] ^= 1;
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.cpu_count, 0);
	assert_int_equal(facts.pm1a_control, 0x604);
	assert_non_null(strstr(fake_log_text(), "APIC at 0x7ff00801 is broken"));

	(void)make_tables(NULL);
	put(FADT + 4, MEMORY_BYTES, 4);
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.pm1a_control, 0);
	assert_int_equal(facts.cpu_count, 4);
	assert_non_null(strstr(fake_log_text(), "FACP at 0x7ff00300 is broken"));

	(void)make_tables(NULL);
	put(FADT + 4, 0xffffffff, 4);
	assert_int_equal(read_all(), 0);
	put(FADT + 4, 35, 4);
	assert_int_equal(read_all(), 0);
	put(FADT + 4, 0, 4);
	assert_int_equal(read_all(), 0);

	(void)make_tables(NULL);
	finish(FADT, "FACP", 115);
	assert_int_equal(read_all(), 0);
	assert_non_null(strstr(fake_log_text(), "too short"));

	(void)make_tables(NULL);
	memory[DSDT + 12] ^= 1;
	assert_int_equal(read_all(), 0);
	assert_false(facts.has_s5);
	assert_int_equal(facts.pm1a_control, 0x604);
	assert_non_null(strstr(fake_log_text(), "no usable DSDT"));

	(void)make_tables(NULL);
	put(XSDT + 36, MEMORY_BASE + MEMORY_BYTES - 8, 8);
	put(XSDT + 44, ~0ul - 3, 8);
	put(XSDT + 52, 0, 8);
	finish(XSDT, "XSDT", length_of(XSDT));
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.cpu_count, 0);
	assert_non_null(strstr(fake_log_text(), "is not in memory"));
}

/* No length in a table, and no end of memory, makes the code read beyond the table. */
TEST(test_truncated, make_tables)
{
	static const struct {
		uint32_t table;
		const char *signature;
	} rows[] = { { FADT, "FACP" }, { MADT, "APIC" }, { DSDT, "DSDT" }, { XSDT, "XSDT" } };
	uint32_t full, length;
	size_t i;

	for (i = 0; i < ARRAY_COUNT(rows); i++) {
		(void)make_tables(NULL);
		full = length_of(rows[i].table);
		for (length = 36; length <= full; length++) {
			finish(rows[i].table, rows[i].signature, length);
			assert_int_equal(read_all(), 0);
		}
	}
	for (length = 0; length <= 300; length++) {
		(void)make_tables(NULL);
		put(RSDP + 20, length, 4);
		fix_sum(RSDP, length < 36 ? 36 : length, RSDP + 32);
		assert_int_equal(read_all(), 0);
	}
}

TEST(test_madt_entries, make_tables)
{
	unsigned i;

	memory[MADT + 44 + 8 + 1] = 0; /* a length of 0 would make an endless loop */
	finish(MADT, "APIC", length_of(MADT));
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.cpu_count, 1);
	memory[MADT + 44 + 8 + 1] = 255;
	finish(MADT, "APIC", length_of(MADT));
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.cpu_count, 1);
	memory[MADT + 44 + 8 + 1] = 7; /* too short for its type; shifts what follows */
	finish(MADT, "APIC", length_of(MADT));
	assert_int_equal(read_all(), 0);

	/* More CPUs than CPU_MAX. */
	for (i = 0; i < CPU_MAX + 3; i++) {
		uint32_t at = MADT + 44 + 16 * i;

		memset(memory + at, 0, 16);
		memory[at] = 9;
		memory[at + 1] = 16;
		put(at + 4, 1000 + i, 4);
		memory[at + 8] = 1;
	}
	finish(MADT, "APIC", 44 + 16 * (CPU_MAX + 3));
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.cpu_count, CPU_MAX);
	assert_int_equal(facts.cpus_left_out, 3);
	assert_int_equal(facts.apic_ids[CPU_MAX - 1], 1000 + CPU_MAX - 1);
}

TEST(test_fadt_fields, make_tables)
{
	/* An old, short FADT with only the fields of ACPI 1. */
	put(FADT + 64, 0xb004, 4);
	put(FADT + 68, 0xb104, 4);
	finish(FADT, "FACP", 116);
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.pm1a_control, 0xb004);
	assert_int_equal(facts.pm1b_control, 0xb104);
	assert_false(facts.has_reset);
	assert_true(facts.has_s5);

	/* An extended field in memory, or empty: the old field counts. A port of 0 is no port. */
	(void)make_tables(NULL);
	put_gas(FADT + 172, ACPI_SPACE_MEMORY, 0xfed00000);
	put_gas(FADT + 208, ACPI_SPACE_IO, 0x10000);
	finish(FADT, "FACP", 244);
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.pm1a_control, 0x604);
	assert_int_equal(facts.pm_timer_port, 0);

	(void)make_tables(NULL);
	memory[FADT + 91] = 0;	       /* no PM timer */
	put_gas(FADT + 116, 2, 0xcf9); /* reset register in PCI configuration space */
	put(FADT + 140, 0, 8);	       /* DSDT only in the 32-bit field */
	finish(FADT, "FACP", 244);
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.pm_timer_port, 0);
	assert_false(facts.has_reset);
	assert_true(facts.has_s5);

	(void)make_tables(NULL);
	put(FADT + 112, BIT(10) | BIT(20), 4); /* hardware-reduced */
	put_gas(FADT + 116, ACPI_SPACE_MEMORY, 0xfed00000);
	finish(FADT, "FACP", 244);
	assert_int_equal(read_all(), 0);
	assert_int_equal(facts.pm1a_control, 0);
	assert_true(facts.has_reset);
	assert_int_equal(facts.reset_space, ACPI_SPACE_MEMORY);

	(void)make_tables(NULL);
	put(FADT + 112, 0, 4); /* RESET_REG_SUP is off */
	finish(FADT, "FACP", 244);
	assert_int_equal(read_all(), 0);
	assert_false(facts.has_reset);
}

struct s5_case {
	const char *name;
	uint8_t aml[20];
	uint8_t bytes;
	bool found;
	uint8_t a, b;
};

#define NAME_S5 0x08, '_', 'S', '5', '_'

static const struct s5_case s5_cases[] = {
	{ "zeros", { NAME_S5, 0x12, 0x06, 4, 0, 0, 0, 0 }, 12, true, 0, 0 },
	{ "bytes", { NAME_S5, 0x12, 0x0a, 4, 0x0a, 7, 0x0a, 5, 0, 0 }, 14, true, 7, 5 },
	{ "one", { NAME_S5, 0x12, 0x06, 4, 1, 1, 0, 0 }, 12, true, 1, 1 },
	{ "rooted", { 0x08, '\\', '_', 'S', '5', '_', 0x12, 0x06, 4, 0x0a, 5, 1 }, 12, true, 5, 1 },
	{ "long length", { NAME_S5, 0x12, 0x47, 0, 4, 0x0a, 5, 0, 0 }, 13, true, 5, 0 },
	{ "one element", { NAME_S5, 0x12, 0x03, 1, 0x0a, 5 }, 10, true, 5, 5 },
	{ "ends after first", { NAME_S5, 0x12, 0x06, 4, 0x0a, 5 }, 10, true, 5, 5 },
	{ "no element", { NAME_S5, 0x12, 0x02, 0, 0, 0 }, 10, false, 0, 0 },
	{ "no package", { NAME_S5, 0x0a, 0x05, 0, 0, 0 }, 10, false, 0, 0 },
	{ "too large", { NAME_S5, 0x12, 0x06, 4, 0x0a, 8, 0, 0 }, 12, false, 0, 0 },
	{ "word", { NAME_S5, 0x12, 0x06, 4, 0x0b, 5, 0, 0 }, 12, false, 0, 0 },
	{ "cut in value", { NAME_S5, 0x12, 0x06, 4, 0x0a }, 9, false, 0, 0 },
	{ "cut in length", { NAME_S5, 0x12, 0xc7 }, 7, false, 0, 0 },
	{ "cut after name", { NAME_S5 }, 5, false, 0, 0 },
	{ "another name",
	  { 0x08, '_', 'S', '4', '_', 0x12, 0x06, 4, 0, 0, 0, 0 },
	  12,
	  false,
	  0,
	  0 },
};

TEST(test_s5, make_tables)
{
	size_t i;

	for (i = 0; i < ARRAY_COUNT(s5_cases); i++) {
		const struct s5_case *c = &s5_cases[i];

		put_s5(DSDT, "DSDT", c->aml, c->bytes);
		assert_int_equal(read_all(), 0);
		if (facts.has_s5 != c->found || facts.s5_type_a != c->a ||
		    facts.s5_type_b != c->b) {
			fail_msg("%s: %d %u %u", c->name, facts.has_s5, facts.s5_type_a,
				 facts.s5_type_b);
		}
	}
	/* \_S5_ only in an SSDT. */
	finish(DSDT, "DSDT", 36);
	put_s5(SSDT, "SSDT", s5_cases[1].aml, s5_cases[1].bytes);
	assert_int_equal(read_all(), 0);
	assert_true(facts.has_s5);
	assert_int_equal(facts.s5_type_a, 7);
}

/* Another table is found by its signature, if it is whole. */
TEST(test_find_table, make_tables)
{
	struct acpi_table found = { NULL, 7 };
	const hpa_t rsdp = hpa(MEMORY_BASE + RSDP);

	assert_int_equal(acpi_find_table(rsdp, &reader, "DMAR", &found), ERR_NOTFOUND);
	assert_int_equal(acpi_find_table(hpa(0), &reader, "HPET", &found), ERR_NOTFOUND);
	assert_int_equal(found.length, 7);
	assert_int_equal(acpi_find_table(rsdp, &reader, "HPET", &found), 0);
	assert_int_equal(found.length, 56);
	assert_memory_equal(found.bytes, "HPET", 4);
	memory[0x7000 + 50] ^= 1;
	assert_int_equal(acpi_find_table(rsdp, &reader, "HPET", &found), ERR_FORMAT);
	assert_int_equal(acpi_find_table(rsdp, &reader, "DMAR", &found), ERR_NOTFOUND);
	while (given_count > 0) {
		free(given[--given_count]);
	}
}
