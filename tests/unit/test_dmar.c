/* SPDX-License-Identifier: Apache-2.0 */
/* boot/dmar.c: tables as machines have them, and every way to break them. */
#include <stdlib.h>

#include "boot/dmar.h"
#include "tests/unit/test.h"
#include "vmm/base/err.h"

static uint8_t table[0x4000];
static uint32_t used, begun;
static struct dmar dmar;

static void put(uint64_t value, unsigned bytes)
{
	while (bytes-- > 0) {
		table[used++] = (uint8_t)value;
		value >>= 8;
	}
}

static void begin(uint8_t flags)
{
	fake_reset();
	memset(table, 0, sizeof(table));
	used = 36;
	put(38, 1);
	put(flags, 1);
	used = 48;
}

/* Begins a structure; end() writes its length. */
static void structure(uint16_t type)
{
	begun = used;
	put(type, 2);
	put(0, 2);
}

static void end(void)
{
	table[begun + 2] = (uint8_t)(used - begun);
	table[begun + 3] = (uint8_t)((used - begun) >> 8);
}

static void unit(uint64_t base, uint8_t flags, uint8_t size, uint16_t segment)
{
	structure(0);
	put(flags, 1);
	put(size, 1);
	put(segment, 2);
	put(base, 8);
	end();
}

static void reserved(uint64_t base, uint64_t last)
{
	structure(1);
	put(0, 2);
	put(0, 2);
	put(base, 8);
	put(last, 8);
	end();
}

/* A device's entry at the end of the structure that was written last. */
static void scope(uint8_t kind, uint8_t length, uint8_t bus, uint16_t first, uint16_t second)
{
	put(kind, 1);
	put(length, 1);
	put(0, 3);
	put(bus, 1);
	put(first, 2);
	if (length > 8) {
		put(second, 2);
	}
	end();
}

/* Parses a copy of its exact size, so that the sanitizer detects a read beyond the table. */
static int parse(void)
{
	uint8_t *copy = malloc(used);
	int err;

	memcpy(copy, table, used);
	err = dmar_parse(copy, used, &dmar);
	memset(copy, 0xff, used); /* nothing of it is read again */
	free(copy);
	return err;
}

/* A laptop: the display has a unit of its own, and both it and a USB controller a range. */
TEST(laptop)
{
	begin(0x5);
	unit(0xfed90000, 0, 0, 0);
	scope(1, 8, 0, 0x0002, 0);
	unit(0xfed91000, 1, 0, 0);
	scope(3, 8, 0xf0, 0x001f, 0);
	scope(4, 8, 0, 0x071f, 0);
	reserved(0x7a000000, 0x7a01ffff);
	scope(1, 8, 0, 0x0014, 0);
	reserved(0x7c800000, 0x7cffffff);
	scope(1, 8, 0, 0x0002, 0);
	structure(4); /* ANDD: of no use to Umbra */
	put(0, 8);
	end();
	assert_int_equal(parse(), 0);
	assert_true(dmar.remaps_interrupts && dmar.protected_early && !dmar.units_left_out);
	assert_int_equal(dmar.unit_count, 2);
	assert_int_equal(dmar.units[0].base, 0xfed90000);
	assert_int_equal(dmar.units[0].bytes, 0x1000);
	assert_false(dmar.units[0].all);
	assert_int_equal(dmar.units[0].scopes.count, 1);
	assert_true(dmar.units[1].all);
	assert_int_equal(dmar.units[1].scopes.first, 1);
	assert_int_equal(dmar.units[1].scopes.count, 2);
	assert_int_equal(dmar.scopes[2].kind, DMAR_SCOPE_HPET);
	assert_int_equal(dmar.scopes[2].path[0], 31 << 3 | 7);
	assert_int_equal(dmar.reserved_count, 2);
	assert_true(dmar.reserved[1].base == 0x7c800000 && dmar.reserved[1].end == 0x7d000000);
	assert_int_equal(dmar.reserved[1].scopes.first, 4);
	assert_string_equal(fake_log_text(), "");
}

TEST(server)
{
	begin(0);
	unit(0x200ffffc0000, 0, 1, 3);
	scope(2, 10, 0x80, 0x0001, 0x0102);
	assert_int_equal(parse(), 0);
	assert_false(dmar.remaps_interrupts || dmar.protected_early);
	assert_true(dmar.units[0].base == 0x200ffffc0000);
	assert_int_equal(dmar.units[0].bytes, 0x2000);
	assert_int_equal(dmar.units[0].segment, 3);
	assert_int_equal(dmar.scopes[0].bus, 0x80);
	assert_int_equal(dmar.scopes[0].hops, 2);
	assert_int_equal(dmar.scopes[0].path[0], 1 << 3);
	assert_int_equal(dmar.scopes[0].path[1], 2 << 3 | 1);
}

TEST(no_unit)
{
	begin(1);
	assert_int_equal(parse(), ERR_FORMAT);
	reserved(0x1000, 0x1fff);
	assert_int_equal(parse(), ERR_FORMAT);
	assert_int_equal(dmar.reserved_count, 0);
	assert_true(dmar.units_left_out); /* all of them: this is not as if there were no table */
	used = 47;
	assert_int_equal(parse(), ERR_FORMAT);
	assert_true(dmar.units_left_out);
	assert_non_null(strstr(fake_log_text(), "a table of 47 bytes is too short"));
}

/* Registers that cannot be there: that unit is left out, and this is not forgotten. */
TEST(units)
{
	static const struct {
		uint64_t base;
		const char *why;
	} wrong[] = { { 0, "0x0 is left out: this address is not valid" },
		      { 0xfed90800, "0xfed90800 is left out: this address is not valid" },
		      { 1ul << 52, "is left out: this address is not valid" },
		      { 0xfed91000, "0xfed91000 is left out: another unit has this address" },
		      { 0xfed90000, "0xfed90000 is left out: another unit has this address" } };

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		begin(1);
		unit(0xfed90000, 0, 1, 0); /* two pages */
		unit(wrong[i].base, 0, 0, 0);
		unit(0xfed80000, 0, 0, 0);
		assert_int_equal(parse(), 0);
		assert_int_equal(dmar.unit_count, 2);
		assert_true(dmar.units_left_out);
		assert_non_null(strstr(fake_log_text(), wrong[i].why));
	}
	begin(1);
	for (uint64_t i = 1; i <= DMAR_UNITS_MAX + 1; i++) {
		unit(i << 12, 0, 0, 0);
	}
	assert_int_equal(parse(), 0);
	assert_int_equal(dmar.unit_count, DMAR_UNITS_MAX);
	assert_true(dmar.units_left_out);
	assert_non_null(strstr(fake_log_text(), "0x41000 is left out: Umbra knows 64 units at"));
}

/* A length that is too small or too large: what lies behind it may have been a unit. */
TEST(structures)
{
	static const uint16_t wrong[] = { 0, 3, 15, 25, 0xffff };

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		begin(1);
		unit(0xfed90000, 0, 0, 0);
		unit(0xfed91000, 0, 0, 0);
		put(0, 8); /* the second unit ends 8 bytes before the table */
		table[begun + 2] = (uint8_t)wrong[i];
		table[begun + 3] = (uint8_t)(wrong[i] >> 8);
		assert_int_equal(parse(), 0);
		assert_int_equal(dmar.unit_count, 1);
		assert_true(dmar.units_left_out);
	}
	begin(1);
	unit(0xfed90000, 0, 0, 0);
	put(0, 3); /* not even a header */
	assert_int_equal(parse(), 0);
	assert_true(dmar.units_left_out);
}

TEST(ranges)
{
	static const struct {
		uint64_t base, last;
	} wrong[] = { { 0, 0xfff },	  { 0x1800, 0x27ff }, { 0x1000, 0x1ffe },
		      { 0x2000, 0x1fff }, { 0x1000, 0x1000 }, { 1ul << 52, (1ul << 52) + 0xfff },
		      { 0x1000, ~0ul } };

	begin(1);
	unit(0xfed90000, 0, 0, 0);
	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		reserved(wrong[i].base, wrong[i].last);
	}
	structure(1); /* too short */
	put(0x1000, 16);
	end();
	assert_int_equal(parse(), 0);
	assert_int_equal(dmar.reserved_count, 0);
	assert_false(dmar.units_left_out);
	begin(1);
	unit(0xfed90000, 0, 0, 0);
	for (uint64_t i = 1; i <= DMAR_RESERVED_MAX + 1; i++) {
		reserved(i << 12, (i << 12) + 0xfff);
	}
	assert_int_equal(parse(), 0);
	assert_int_equal(dmar.reserved_count, DMAR_RESERVED_MAX);
}

TEST(scopes)
{
	begin(1);
	unit(0xfed90000, 0, 0, 0);
	scope(0, 8, 0, 0, 0); /* no such kinds */
	scope(6, 8, 0, 0, 0);
	scope(1, 8, 0, 0x0020, 0); /* device 32 */
	scope(1, 8, 0, 0x0801, 0); /* function 8 */
	scope(1, 8, 7, 0x0703, 0);
	assert_int_equal(parse(), 0);
	assert_int_equal(dmar.units[0].scopes.count, 1);
	assert_int_equal(dmar.scopes[0].bus, 7);
	assert_int_equal(dmar.scopes[0].path[0], 3 << 3 | 7);
	table[used - 7] = 6; /* a way without a hop, then the rest of two bytes */
	assert_int_equal(parse(), 0);
	assert_int_equal(dmar.units[0].scopes.count, 0);
	table[used - 7] = 9; /* longer than the structure */
	assert_int_equal(parse(), 0);
	assert_int_equal(dmar.units[0].scopes.count, 0);
	table[used - 7] = 0;
	assert_int_equal(parse(), 0);
	assert_int_equal(dmar.units[0].scopes.count, 0);
	assert_false(dmar.units_left_out);
}

TEST(many_scopes)
{
	begin(1);
	for (uint64_t i = 1; i <= 2; i++) {
		unit(i << 12, 0, 0, 0);
		for (uint32_t n = 0; n < DMAR_SCOPES_MAX / 2 + 1; n++) {
			scope(1, 8, 0, 0, 0);
		}
	}
	unit(0x3000, 0, 0, 0);
	scope(1, 6 + 2 * 9, 0, 0, 0); /* nine hops */
	put(0, 14);
	end();
	assert_int_equal(parse(), 0);
	assert_int_equal(dmar.unit_count, 3);
	assert_int_equal(dmar.scope_count, DMAR_SCOPES_MAX);
	assert_int_equal(dmar.units[2].scopes.count, 0);
	assert_non_null(strstr(fake_log_text(), "more than 1024 devices are named"));
}

TEST(nine_hops)
{
	begin(1);
	unit(0x3000, 0, 0, 0);
	scope(1, 6 + 2 * 9, 0, 0, 0);
	put(0, 14);
	end();
	assert_int_equal(parse(), 0);
	assert_int_equal(dmar.scope_count, 0);
}
