/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/acpi_build.c with the product's DSDT: walks the tables as a kernel does (signatures,
 * lengths, checksums), and has iasl disassemble each.
 */
#define _GNU_SOURCE /* memmem */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "guest/acpi_build.h"
#include "guest/memmap.h"
#include "tests/unit/gmem_end.h"
#include "vmm/base/err.h"

#define BASE 0xe0000u

static const struct acpi_machine one = { .vcpu_count = 1 }, many = { .vcpu_count = 100000 };
static uint8_t area[MEMMAP_ACPI_BYTES];
static size_t used;

static uint64_t field(const uint8_t *at, size_t offset, size_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, at + offset, bytes);
	return value;
}

static uint8_t sum(const uint8_t *at, size_t bytes)
{
	uint8_t total = 0;

	while (bytes-- > 0) {
		total += *at++;
	}
	return total;
}

/* The table at a guest address, after checks of its header and checksum. */
static const uint8_t *table(uint64_t address, const char *signature)
{
	const uint8_t *at = area + (address - BASE);

	assert_in_range(address, BASE, BASE + used - 36);
	assert_memory_equal(at, signature, 4);
	assert_true(address - BASE + field(at, 4, 4) <= used);
	if (strcmp(signature, "FACS") != 0) {
		assert_int_equal(sum(at, field(at, 4, 4)), 0);
	}
	return at;
}

static const uint8_t *find(const char *signature)
{
	const uint8_t *xsdt = table(field(area, 24, 8), "XSDT");

	for (size_t at = 36; at < field(xsdt, 4, 4); at += 8) {
		uint64_t address = field(xsdt, at, 8);

		if (memcmp(area + (address - BASE), signature, 4) == 0) {
			return table(address, signature);
		}
	}
	fail_msg("no %s", signature);
	return NULL;
}

static void compose(uint32_t vcpu_count)
{
	const struct acpi_machine machine = { .vcpu_count = vcpu_count };

	memset(area, 0xcc, sizeof(area));
	used = acpi_compose(area, sizeof(area), BASE, &machine);
	assert_in_range(used, 500, sizeof(area));
	assert_int_equal(area[used], 0xcc);
}

TEST(test_rsdp, fake_setup, fake_teardown)
{
	compose(1);
	assert_memory_equal(area, "RSD PTR ", 8);
	assert_int_equal(sum(area, 20), 0);
	assert_int_equal(sum(area, 36), 0);
	assert_int_equal(area[15], 2);
}

TEST(test_fadt, fake_setup, fake_teardown)
{
	const uint8_t *fadt, *dsdt, *facs;

	compose(2);
	fadt = find("FACP");
	assert_int_equal(field(fadt, 4, 4), 276);
	dsdt = table(field(fadt, 40, 4), "DSDT");
	assert_int_equal(field(fadt, 140, 8), field(fadt, 40, 4));
	assert_non_null(memmem(dsdt, field(dsdt, 4, 4), "_S5_", 4));
	facs = table(field(fadt, 36, 4), "FACS");
	assert_int_equal((facs - area) % 64, 0);
	assert_int_equal(field(fadt, 48, 4), 0);     /* no SMI command: ACPI is on from the start */
	assert_int_equal(field(fadt, 56, 4), 0x600); /* PM1a event */
	assert_int_equal(field(fadt, 152, 8), 0x600);
	assert_int_equal(field(fadt, 64, 4), 0x604); /* PM1a control */
	assert_int_equal(field(fadt, 176, 8), 0x604);
	assert_int_equal(field(fadt, 76, 4), 0x608); /* PM timer */
	assert_int_equal(field(fadt, 212, 8), 0x608);
	assert_int_equal(field(fadt, 109, 2) & 2, 0);	      /* no 8042 */
	assert_int_equal(field(fadt, 112, 4) & (1 << 20), 0); /* not hardware-reduced */
	assert_int_equal(field(fadt, 112, 4) & (1 << 10), 1 << 10);
	assert_int_equal(field(fadt, 112, 4) & (1 << 4), 0); /* the power button is in PM1 */
	assert_int_equal(field(fadt, 112, 4) & (1 << 6), 0); /* and the clock's alarm */
	assert_int_equal(field(fadt, 120, 8), 0xcf9);
	assert_int_equal(fadt[128], 6);
}

/* The number of entries of a type; *last is the last such entry. */
static unsigned count_madt(uint8_t type, const uint8_t **last)
{
	const uint8_t *madt = find("APIC");
	unsigned count = 0;

	for (size_t at = 44; at < field(madt, 4, 4); at += madt[at + 1]) {
		assert_in_range(madt[at + 1], 6, 16);
		assert_true(at + madt[at + 1] <= field(madt, 4, 4));
		if (madt[at] == type) {
			count++;
			*last = madt + at;
		}
	}
	return count;
}

TEST(test_madt, fake_setup, fake_teardown)
{
	const uint8_t *entry = NULL;

	compose(3);
	assert_int_equal(count_madt(0, &entry), 3);
	assert_int_equal(entry[3], 2);
	assert_int_equal(field(entry, 4, 4), 1);
	assert_int_equal(count_madt(9, &entry), 0);
	assert_int_equal(count_madt(1, &entry), 1);
	assert_int_equal(field(entry, 4, 4), 0xfec00000);
	assert_int_equal(count_madt(2, &entry), 1);
	assert_int_equal(entry[3], 9);
	assert_int_equal(field(entry, 8, 2), 0xd);
	assert_int_equal(count_madt(4, &entry), 1);
	assert_int_equal(entry[2], 0xff);
	assert_int_equal(entry[5], 1);
	assert_int_equal(count_madt(10, &entry), 0);
}

/* APIC ID 255 is the broadcast of xAPIC, so from there on entries use the x2APIC form. */
TEST(test_madt_many, fake_setup, fake_teardown)
{
	const uint8_t *entry = NULL;

	compose(255);
	assert_int_equal(count_madt(0, &entry), 255);
	assert_int_equal(count_madt(9, &entry), 0);
	assert_int_equal(count_madt(10, &entry), 0);
	compose(256);
	assert_int_equal(count_madt(9, &entry), 1);
	assert_int_equal(count_madt(10, &entry), 1);
	compose(300);
	assert_int_equal(count_madt(0, &entry), 255);
	assert_int_equal(count_madt(9, &entry), 45);
	assert_int_equal(field(entry, 4, 4), 299);
	assert_int_equal(field(entry, 12, 4), 299);
	assert_int_equal(count_madt(10, &entry), 1);
}

TEST(test_does_not_fit, fake_setup, fake_teardown)
{
	compose(1);
	for (size_t bytes = 0; bytes < used; bytes += 7) {
		memset(area, 0xcc, sizeof(area));
		assert_int_equal(acpi_compose(area, bytes, BASE, &one), 0);
		assert_int_equal(area[bytes], 0xcc);
	}
	assert_int_equal(acpi_compose(area, used, BASE, &one), used); /* to the byte */
	assert_int_equal(acpi_compose(area, sizeof(area), BASE, &many), 0);
}

static void dump(const char *directory, const char *name, const uint8_t *at)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.dat", directory, name);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(at, field(at, 4, 4), 1, file), 1);
	fclose(file);
}

static void run_iasl(const char *directory, const char *name, const char *expect)
{
	char command[1024];

	snprintf(command, sizeof(command),
		 "cd %s && iasl -d %s.dat > %s.log 2>&1 && ! grep -iE 'error|warning|invalid' "
		 "%s.log && grep -q '%s' %s.dsl || { cat %s.log; exit 1; }",
		 directory, name, name, name, expect, name, name);
	if (system(command) != 0) {
		fail_msg("iasl -d %s", name);
	}
}

TEST(test_iasl, fake_setup, fake_teardown)
{
	static const struct {
		const char *name, *signature, *expect;
	} rows[] = {
		{ "fadt", "FACP", "Reset Register Supported (V2) : 1" },
		{ "madt", "APIC", "Local Apic ID : 04" },
		{ "ssdt", "SSDT", "Device (C004)" },
		{ "uids", "SSDT", "Name (_UID, 0x04)" },
		{ "bridge", "SSDT", "PNP0A08" },
		{ "bars", "SSDT", "0xDFFFFFFF,         // Range Maximum" },
		{ "mcfg", "MCFG", "Base Address : 00000000E0000000" },
	};
	char directory[] = "/tmp/acpi-XXXXXX";
	char command[64];

	if (system("command -v iasl > /dev/null") != 0) {
		skip();
	}
	assert_non_null(mkdtemp(directory));
	compose(5);
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		dump(directory, rows[i].name, find(rows[i].signature));
		run_iasl(directory, rows[i].name, rows[i].expect);
	}
	dump(directory, "dsdt", table(field(find("FACP"), 40, 4), "DSDT"));
	run_iasl(directory, "dsdt", "PNP0501");
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

TEST(test_build, fake_setup, fake_teardown)
{
	struct gmem gmem = { 0 };
	char signature[8];

	ept_configure(&(struct ept_caps){ .phys_bits = 40 });
	assert_int_equal(gmem_init(&gmem), 0);
	assert_int_equal(acpi_build(&gmem, &one), ERR_RANGE);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), 1 << 20, PAGE_SIZE), 0);
	assert_int_equal(acpi_build(&gmem, &one), 0);
	assert_int_equal(gmem_read(&gmem, gpa(MEMMAP_ACPI), signature, sizeof(signature)), 0);
	assert_memory_equal(signature, "RSD PTR ", 8);
	fake_pages_fail_after(0);
	assert_int_equal(acpi_build(&gmem, &one), ERR_NOMEM);
	fake_pages_fail_after(-1);
	gmem_end(&gmem);
}
