/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/iobus.c: overlaps are refused, lookups are exact, and addresses without a device read all
 * ones.
 */
#include "tests/unit/test.h"
#include "vmm/base/err.h"
#include "vmm/iobus.h"

static struct iobus bus;
static struct io_access seen;
static void *seen_device;

static void access_seen(void *device, struct vcpu *vcpu, struct io_access *access)
{
	seen = *access;
	seen_device = device;
	access->value = 0x1122334455667788;
}

static const struct io_ops ops = { .name = "test", .access = access_seen };

static int setup(void **state)
{
	memset(&bus, 0, sizeof(bus));
	return fake_setup(state);
}

TEST(test_adding, setup, fake_teardown)
{
	static const struct {
		enum io_space space;
		uint64_t base, length;
		int err;
	} cases[] = {
		{ IO_SPACE_PORT, 0x3f8, 8, 0 },
		{ IO_SPACE_PORT, 0x60, 1, 0 },
		{ IO_SPACE_PORT, 0x400, 1, 0 },
		{ IO_SPACE_PORT, 0x3ff, 2, ERR_EXISTS },
		{ IO_SPACE_PORT, 0x3f0, 9, ERR_EXISTS },
		{ IO_SPACE_PORT, 0x3f0, 8, 0 },
		{ IO_SPACE_PORT, 0x3fc, 1, ERR_EXISTS },
		{ IO_SPACE_PORT, 0xffff, 1, 0 },
		{ IO_SPACE_PORT, 0xffff, 2, ERR_INVAL },
		{ IO_SPACE_PORT, 0x10, 0, ERR_INVAL },
		{ IO_SPACE_MEMORY, 0x3f8, 8, 0 },
		{ IO_SPACE_MEMORY, UINT64_MAX, 1, 0 },
		{ IO_SPACE_MEMORY, UINT64_MAX - 3, 8, ERR_INVAL },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int err = iobus_add(&bus, cases[i].space, cases[i].base, cases[i].length, &ops,
				    NULL);

		if (err != cases[i].err) {
			fail_msg("case %zu: %d", i, err);
		}
	}
}

TEST(test_full, setup, fake_teardown)
{
	for (uint64_t i = 0; i < IOBUS_RANGE_MAX; i++) {
		/* Downwards, so that the bus must sort. */
		assert_int_equal(iobus_add(&bus, IO_SPACE_MEMORY, (IOBUS_RANGE_MAX - i) * 0x2000,
					   0x1000, &ops, &bus.ranges[0][i]),
				 0);
	}
	assert_int_equal(iobus_add(&bus, IO_SPACE_MEMORY, 0, 1, &ops, NULL), ERR_NOMEM);
	for (uint64_t i = 0; i < IOBUS_RANGE_MAX; i++) {
		struct io_access access = { .size = 4 };

		iobus_memory_access(&bus, (IOBUS_RANGE_MAX - i) * 0x2000 + 0xffc, NULL, &access);
		assert_ptr_equal(seen_device, &bus.ranges[0][i]);
		assert_int_equal(seen.offset, 0xffc);
	}
}

TEST(test_access, setup, fake_teardown)
{
	struct io_access access = { .size = 2, .write = true, .value = 0xabcd };

	assert_int_equal(iobus_add(&bus, IO_SPACE_PORT, 0x70, 4, &ops, NULL), 0);
	iobus_port_access(&bus, 0x72, NULL, &access);
	assert_int_equal(seen.value, 0xabcd);
	assert_int_equal(seen.offset, 2);
	access = (struct io_access){ .size = 1 };
	iobus_port_access(&bus, 0x73, NULL, &access);
	assert_int_equal((uint8_t)access.value, 0x88);
	seen.size = 0;
	access = (struct io_access){ .size = 2 };
	iobus_port_access(&bus, 0x73, NULL, &access); /* crosses the end */
	assert_int_equal(access.value, 0xffff);
	access = (struct io_access){ .size = 8 };
	iobus_memory_access(&bus, 0x70, NULL, &access);
	assert_int_equal(access.value, UINT64_MAX);
	access = (struct io_access){ .size = 1, .write = true };
	iobus_port_access(&bus, 0x6f, NULL, &access);
	assert_int_equal(seen.size, 0);
}

/* Every port and width, compared with a linear search. */
TEST(test_every_port, setup, fake_teardown)
{
	static const struct {
		uint16_t base, length;
	} ranges[] = {
		{ 0, 1 },	    { 0x20, 2 },    { 0xff, 1 },      { 0x100, 0x300 },
		{ 0x400, 1 },	    { 0x4ff, 2 },   { 0x800, 0x100 }, { 0xcf9, 1 },
		{ 0x7fff, 0x2002 }, { 0xfff0, 15 }, { 0xffff, 1 },
	};

	for (size_t i = ARRAY_COUNT(ranges); i-- > 0;) {
		assert_int_equal(iobus_add(&bus, IO_SPACE_PORT, ranges[i].base, ranges[i].length,
					   &ops, (void *)&ranges[i]),
				 0);
	}
	for (uint32_t port = 0; port <= UINT16_MAX; port++) {
		for (uint32_t size = 1; size <= 4; size *= 2) {
			struct io_access access = { .size = size };
			const void *owner = NULL;

			for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
				if (port >= ranges[i].base &&
				    port + size <= (uint32_t)ranges[i].base + ranges[i].length) {
					owner = &ranges[i];
				}
			}
			seen_device = NULL;
			iobus_port_access(&bus, (uint16_t)port, NULL, &access);
			assert_ptr_equal(seen_device, owner);
		}
	}
}

static void *who(enum io_space space, uint64_t address, uint32_t size)
{
	struct io_access access = { .size = size };

	seen_device = NULL;
	if (space == IO_SPACE_PORT) {
		iobus_port_access(&bus, (uint16_t)address, NULL, &access);
	} else {
		iobus_memory_access(&bus, address, NULL, &access);
	}
	assert_true(seen_device != NULL || access.value == MASK(8 * size - 1, 0));
	return seen_device;
}

TEST(a_movable_range_answers_where_it_is, setup, fake_teardown)
{
	int device;
	struct iobus_movable *bar = iobus_add_movable(&bus, IO_SPACE_MEMORY, 0x1000, &ops, &device);

	assert_null(who(IO_SPACE_MEMORY, 0, 4));
	iobus_move(&bus, bar, 0xc0000000, true);
	assert_ptr_equal(who(IO_SPACE_MEMORY, 0xc0000ffc, 4), &device);
	assert_int_equal(seen.offset, 0xffc);
	assert_null(who(IO_SPACE_MEMORY, 0xc0000ffc, 8)); /* crosses the end */
	assert_null(who(IO_SPACE_MEMORY, 0xc0001000, 1));
	assert_null(who(IO_SPACE_MEMORY, 0xbfffffff, 1));
	assert_null(who(IO_SPACE_PORT, 0, 1));
	assert_true(iobus_memory_overlaps(&bus, 0xc0000000, 0x1000));
	assert_true(iobus_memory_overlaps(&bus, 0xbffff000, 0x1001));
	assert_false(iobus_memory_overlaps(&bus, 0xbffff000, 0x1000));
	assert_false(iobus_memory_overlaps(&bus, 0xc0001000, 0x1000));
	/* May not be cached, because it can move. */
	assert_null(iobus_memory_range(&bus, 0xc0000000));
	iobus_move(&bus, bar, 0x100000000, true);
	assert_null(who(IO_SPACE_MEMORY, 0xc0000000, 4));
	assert_ptr_equal(who(IO_SPACE_MEMORY, 0x100000000, 8), &device);
	iobus_move(&bus, bar, 0x100000000, false);
	assert_null(who(IO_SPACE_MEMORY, 0x100000000, 8));
	assert_false(iobus_memory_overlaps(&bus, 0x100000000, 0x1000));
	iobus_move(&bus, bar, UINT64_MAX - 0xfff, true);
	assert_ptr_equal(who(IO_SPACE_MEMORY, UINT64_MAX, 1), &device);
	iobus_move(&bus, bar, UINT64_MAX - 0xffe, true); /* it would wrap */
	assert_null(who(IO_SPACE_MEMORY, UINT64_MAX, 1));
	assert_null(who(IO_SPACE_MEMORY, 0, 1));
}

TEST(the_first_range_answers_where_ranges_overlap, setup, fake_teardown)
{
	int first, second, fixed;
	struct iobus_movable *a = iobus_add_movable(&bus, IO_SPACE_PORT, 0x20, &ops, &first);
	struct iobus_movable *b = iobus_add_movable(&bus, IO_SPACE_PORT, 0x40, &ops, &second);

	assert_int_equal(iobus_add(&bus, IO_SPACE_PORT, 0x1010, 0x10, &ops, &fixed), 0);
	iobus_move(&bus, b, 0x1000, true);
	assert_ptr_equal(who(IO_SPACE_PORT, 0x1000, 4), &second);
	iobus_move(&bus, a, 0x1000, true);
	assert_ptr_equal(who(IO_SPACE_PORT, 0x1000, 4), &first);
	assert_ptr_equal(who(IO_SPACE_PORT, 0x1010, 1), &fixed);
	assert_ptr_equal(who(IO_SPACE_PORT, 0x1020, 1), &second);
	iobus_move(&bus, a, 0x1000, false);
	assert_ptr_equal(who(IO_SPACE_PORT, 0x1000, 4), &second);
	iobus_move(&bus, b, 0xffe0, true); /* half of it lies outside of the ports */
	assert_ptr_equal(who(IO_SPACE_PORT, 0xffff, 1), &second);
	assert_null(who(IO_SPACE_PORT, 0, 1));
}

TEST(a_full_bus_has_no_more_movable_ranges, setup, fake_teardown)
{
	assert_null(iobus_add_movable(&bus, IO_SPACE_PORT, 0, &ops, NULL));
	for (unsigned i = 0; i < IOBUS_MOVABLE_MAX; i++) {
		assert_non_null(iobus_add_movable(&bus, IO_SPACE_PORT, 8, &ops, NULL));
	}
	assert_null(iobus_add_movable(&bus, IO_SPACE_PORT, 8, &ops, NULL));
	assert_non_null(iobus_add_movable(&bus, IO_SPACE_MEMORY, 8, &ops, NULL));
}
