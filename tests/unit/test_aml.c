/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/aml.c: builds a PCI root bridge with windows and interrupt routing. iasl disassembles it,
 * and compiles the result again to an equivalent table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "guest/aml.h"

#define HEADER_BYTES 36

static uint8_t area[4096];
static struct aml aml;

static void begin(size_t size)
{
	memset(area, 0, sizeof(area));
	aml = (struct aml){ .area = area, .size = size };
}

static void write_bridge(void)
{
	static const uint8_t header[HEADER_BYTES] = "SSDT";

	aml_append(&aml, header, sizeof(header));
	aml_begin_scope(&aml, "\\_SB_");
	aml_begin_device(&aml, "PC00");
	aml_name_eisa_id(&aml, "_HID", "PNP0A08");
	aml_name_integer(&aml, "_UID", 0);
	aml_name_integer(&aml, "_CCA", 1);
	aml_begin_resources(&aml);
	aml_window(&aml, AML_WINDOW_BUS_NUMBERS, 0, 0);
	aml_io(&aml, 0xcf8, 8);
	aml_window(&aml, AML_WINDOW_IO, 0xd00, 0xffff);
	aml_memory32_fixed(&aml, 0xe0000000, 0x100000);
	aml_window(&aml, AML_WINDOW_MEMORY, 0xc0000000, 0xdfffffff);
	aml_window(&aml, AML_WINDOW_PREFETCHABLE, 0x4000000000, 0x7fffffffff);
	aml_end_resources(&aml);
	aml_begin_prt(&aml, 2);
	aml_prt_entry(&aml, 3, 0, 16);
	aml_prt_entry(&aml, 31, 3, 23);
	aml_end(&aml);
	aml_end(&aml);
	aml_begin_device(&aml, "TST0");
	aml_name_string(&aml, "_HID", "ACPI0007");
	aml_name_integer(&aml, "NB__", 0x89);
	aml_name_integer(&aml, "NW__", 0x89ab);
	aml_name_integer(&aml, "ND__", 0x89abcdef);
	aml_name_integer(&aml, "NQ__", 0x89abcdef01234567);
	aml_end(&aml);
	aml_end(&aml);
}

static void finish_header(void)
{
	uint8_t sum = 0;
	const uint32_t bytes = (uint32_t)aml.used;

	memcpy(area + 4, &bytes, sizeof(bytes));
	area[8] = 2;
	memcpy(area + 10, "UMBRA UMBRA   \1\0\0\0UMBR\1\0\0\0", 26);
	area[9] = 0;
	for (size_t i = 0; i < aml.used; i++) {
		sum = (uint8_t)(sum + area[i]);
	}
	area[9] = (uint8_t)(0 - sum);
}

static void run(const char *directory, const char *command)
{
	char line[600];

	snprintf(line, sizeof(line), "cd %s && { %s; } > log 2>&1 || { cat log *.dsl; exit 1; }",
		 directory, command);
	if (system(line) != 0) {
		fail_msg("%s", command);
	}
}

TEST(iasl_reads_what_was_meant, fake_setup, fake_teardown)
{
	static const char *const lines[] = {
		"Scope (\\\\_SB)",
		"Device (PC00)",
		"EisaId (\"PNP0A08\")",
		"Name (_UID, Zero)",
		"Name (_CCA, One)",
		"WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,",
		"WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,",
		"0x0D00,             // Range Minimum",
		"0xFFFF,             // Range Maximum",
		"0xF300,             // Length",
		"IO (Decode16,",
		"0x0CF8,             // Range Minimum",
		"Memory32Fixed (ReadWrite,",
		"0xE0000000,         // Address Base",
		"0x00100000,         // Address Length",
		"DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadW",
		"0xDFFFFFFF,         // Range Maximum",
		"0x20000000,         // Length",
		"QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Prefetchable, ReadW",
		"0x0000007FFFFFFFFF, // Range Maximum",
		"0x0000004000000000, // Length",
		"Name (_PRT, Package (0x02)",
		"0x0003FFFF,",
		"0x001FFFFF,",
		"0x17",
		"Name (_HID, \"ACPI0007\"",
		"Name (NB, 0x89)",
		"Name (NW, 0x89AB)",
		"Name (ND, 0x89ABCDEF)",
		"Name (NQ, 0x89ABCDEF01234567)",
	};
	char directory[] = "/tmp/aml-XXXXXX", path[64], command[300];
	FILE *file;

	if (system("command -v iasl > /dev/null") != 0) {
		printf("not run: AML as iasl reads it: there is no iasl\n");
		skip();
	}
	begin(sizeof(area));
	write_bridge();
	assert_false(aml.full);
	assert_int_equal(aml.depth, 0);
	finish_header();
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/t.dat", directory);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(area, aml.used, 1, file), 1);
	fclose(file);
	run(directory, "iasl -d t.dat && ! grep -iE 'error|warning|invalid' t.log 2>/dev/null");
	for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
		snprintf(command, sizeof(command), "grep -F -q '%s' t.dsl", lines[i]);
		if (strstr(lines[i], "\\\\") != NULL) {
			snprintf(command, sizeof(command), "grep -q '%s' t.dsl", lines[i]);
		}
		run(directory, command);
	}
	run(directory, "iasl -p again t.dsl && grep -q ' 0 Errors' log");
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

static void expect_bytes(const void *bytes, size_t count)
{
	assert_false(aml.full);
	assert_int_equal(aml.used, count);
	assert_memory_equal(area, bytes, count);
}

/* "Package Length Encoding": if more bytes follow, bits 5:4 of the first byte are zero. */
TEST(lengths_have_twenty_bits, fake_setup, fake_teardown)
{
	static const size_t lengths[] = { 7, 0x3f, 0x40, 0xff, 0xabc, 0x1000, 0x3ffff, 0xfffff };
	static uint8_t large[BIT(20) + 64], content[BIT(20)];

	for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
		const size_t length = lengths[i];

		aml = (struct aml){ .area = large, .size = sizeof(large) };
		aml_begin_device(&aml, "BIG0");
		/* Without the length itself and the name. */
		aml_append(&aml, content, length - 3 - 4);
		aml_end(&aml);
		assert_false(aml.full);
		assert_int_equal(aml.used, 2 + length);
		assert_int_equal(large[2], 0x80 | (length & 0xf));
		assert_int_equal(large[3], length >> 4 & 0xff);
		assert_int_equal(large[4], length >> 12);
	}
	aml = (struct aml){ .area = large, .size = sizeof(large) };
	aml_begin_device(&aml, "BIG0");
	aml_append(&aml, content, BIT(20) - 3 - 4);
	aml_end(&aml);
	assert_true(aml.full);
}

/* Integers take as few bytes as possible. */
TEST(integers_are_short, fake_setup, fake_teardown)
{
	static const struct {
		uint64_t value;
		size_t bytes;
		uint8_t prefix;
	} rows[] = {
		{ 0, 0, 0x00 },	      { 1, 0, 0x01 },
		{ 2, 1, 0x0a },	      { UINT8_MAX, 1, 0x0a },
		{ BIT(8), 2, 0x0b },  { UINT16_MAX, 2, 0x0b },
		{ BIT(16), 4, 0x0c }, { UINT32_MAX, 4, 0x0c },
		{ BIT(32), 8, 0x0e }, { UINT64_MAX - 1, 8, 0x0e },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint8_t want[14] = { 0x08, 'N', 'U', 'M', '_', rows[i].prefix };

		memcpy(want + 6, &rows[i].value, rows[i].bytes);
		begin(sizeof(area));
		aml_name_integer(&aml, "NUM_", rows[i].value);
		expect_bytes(want, 6 + rows[i].bytes);
	}
}

TEST(a_scope_may_be_relative, fake_setup, fake_teardown)
{
	begin(sizeof(area));
	aml_begin_scope(&aml, "PC00");
	aml_end(&aml);
	expect_bytes("\x10\x87\0\0PC00", 8);
}

TEST(small_parts_to_the_byte, fake_setup, fake_teardown)
{
	begin(sizeof(area));
	aml_io(&aml, 0xcf8, 8);
	expect_bytes("\x47\1\xf8\x0c\xf8\x0c\1\x08", 8);
	begin(sizeof(area));
	aml_prt_entry(&aml, 3, 2, 18);
	expect_bytes("\x12\x8e\0\0\4\x0c\xff\xff\3\0\x0a\2\0\x0a\x12", 15);
}

/* Its size is stored before it, as a word. */
TEST(a_template_may_be_large, fake_setup, fake_teardown)
{
	const size_t bytes = 40 * 8 + 2;

	begin(sizeof(area));
	aml_begin_resources(&aml);
	for (unsigned i = 0; i < 40; i++) {
		aml_io(&aml, 0x100, 8);
	}
	aml_end_resources(&aml);
	assert_int_equal(area[9], 0x0b);
	assert_int_equal(area[10] | area[11] << 8, bytes);
	assert_int_equal(aml.used, 12 + bytes);
	assert_memory_equal(area + 12 + bytes - 2, "\x79\0", 2);
}

TEST(a_window_is_as_wide_as_its_end, fake_setup, fake_teardown)
{
	begin(sizeof(area));
	aml_window(&aml, AML_WINDOW_MEMORY, 0xf0000000, 0x10fffffff);
	assert_int_equal(area[0], 0x8a);
	assert_int_equal(aml.used, 6 + 5 * 8);
	begin(sizeof(area));
	aml_window(&aml, AML_WINDOW_MEMORY, 0xf0000000, 0xffffffff);
	assert_int_equal(area[0], 0x87);
	assert_int_equal(aml.used, 6 + 5 * 4);
}

TEST(objects_nest_to_a_limited_depth, fake_setup, fake_teardown)
{
	begin(sizeof(area));
	for (unsigned i = 0; i < AML_DEPTH_MAX; i++) {
		aml_begin_device(&aml, "DEEP");
	}
	FAKE_EXPECT_PANIC(aml_begin_device(&aml, "DEEP"), "AML_DEPTH_MAX");
}

TEST(nothing_is_written_beyond_the_end, fake_setup, fake_teardown)
{
	size_t whole;

	begin(sizeof(area));
	write_bridge();
	whole = aml.used;
	for (size_t size = 0; size < whole; size++) {
		begin(size);
		memset(area + size, 0xcc, sizeof(area) - size);
		write_bridge();
		assert_true(aml.full);
		assert_in_range(aml.used, 0, size);
		assert_int_equal(area[size], 0xcc);
	}
	begin(whole);
	write_bridge();
	assert_false(aml.full);
}
