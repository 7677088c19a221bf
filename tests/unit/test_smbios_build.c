/* SPDX-License-Identifier: Apache-2.0 */
/* guest/smbios_build.c: walks the structures as a kernel does. */
#include "tests/unit/test.h"
#include "guest/memmap.h"
#include "guest/smbios_build.h"

static uint8_t area[4096];
static size_t used;

static uint64_t field(const uint8_t *at, size_t offset, size_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, at + offset, bytes);
	return value;
}

static void compose(uint64_t memory_bytes)
{
	uint8_t sum = 0;

	memset(area, 0xcc, sizeof(area));
	used = smbios_compose(area, sizeof(area), MEMMAP_SMBIOS, "alpha", memory_bytes);
	assert_in_range(used, 100, 1000);
	assert_int_equal(area[used], 0xcc);
	for (size_t i = 0; i < 24; i++) {
		sum = (uint8_t)(sum + area[i]);
	}
	assert_memory_equal(area, "_SM3_", 5);
	assert_int_equal(sum, 0);
	assert_int_equal(field(area, 12, 4), used - 24);
	assert_int_equal(field(area, 16, 8), MEMMAP_SMBIOS + 24);
}

/* The first byte behind the strings of a structure. */
static const uint8_t *next(const uint8_t *at)
{
	const uint8_t *p = at + at[1];

	while (p[0] != 0 || p[1] != 0) {
		assert_true(p + 2 < area + used);
		p++;
	}
	return p + 2;
}

/* The index'th structure of this type. */
static const uint8_t *find(uint8_t type, unsigned index)
{
	const uint8_t *at = area + 24;

	for (; at < area + used; at = next(at)) {
		if (at[0] == type && index-- == 0) {
			return at;
		}
		if (at[0] == 127) {
			assert_ptr_equal(next(at), area + used);
			return NULL;
		}
	}
	fail_msg("no end");
	return NULL;
}

static const char *string(const uint8_t *at, uint8_t number)
{
	const char *p = (const char *)at + at[1];

	while (--number > 0) {
		p += strlen(p) + 1;
	}
	return p;
}

TEST(machine)
{
	static const uint8_t no_uuid[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const uint8_t *at;

	compose(256ul << 20);
	at = find(0, 0);
	assert_string_equal(string(at, at[4]), "Umbra");
	assert_int_equal(at[19] & 0x10, 0x10); /* virtual */
	at = find(1, 0);
	assert_string_equal(string(at, at[4]), "Umbra");
	assert_string_equal(string(at, at[5]), "Virtual Machine");
	assert_string_equal(string(at, at[26]), "alpha");
	assert_int_equal(at[7], 0); /* no serial number */
	assert_memory_equal(at + 8, no_uuid, 16);
	assert_non_null(find(3, 0));
	assert_non_null(find(32, 0));
	assert_null(find(4, 0));
}

TEST(memory)
{
	const uint8_t *array, *device;

	compose(256ul << 20);
	array = find(16, 0);
	device = find(17, 0);
	assert_int_equal(field(array, 7, 4), 256 << 10);
	assert_int_equal(field(device, 12, 2), 256);
	assert_int_equal(field(device, 4, 2), field(array, 2, 2));
	assert_int_equal(field(find(19, 0), 8, 4), (256 << 10) - 1);
	assert_null(find(19, 1));
	compose(4096ul << 30);
	assert_int_equal(field(find(16, 0), 7, 4), 0x80000000);
	assert_true(field(find(16, 0), 15, 8) == 4096ul << 30);
	assert_int_equal(field(find(17, 0), 12, 2), 0x7fff);
	assert_int_equal(field(find(17, 0), 28, 4), 4096 << 10);
	assert_int_equal(field(find(19, 0), 8, 4), (3 << 20) - 1);
	assert_int_equal(field(find(19, 1), 4, 4), UINT32_MAX);
	assert_true(field(find(19, 1), 15, 8) == MEMMAP_HIGH_RAM);
	assert_true(field(find(19, 1), 23, 8) == (4096ul << 30) + SIZE_1G - 1);
}

TEST(does_not_fit)
{
	compose(1 << 20);
	for (size_t bytes = 0; bytes < used; bytes++) {
		memset(area, 0xcc, sizeof(area));
		assert_int_equal(smbios_compose(area, bytes, MEMMAP_SMBIOS, "alpha", 1 << 20), 0);
		assert_int_equal(area[bytes], 0xcc);
	}
}
