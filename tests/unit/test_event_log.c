/* SPDX-License-Identifier: Apache-2.0 */
/* boot/event_log.c: where a log ends, and that nothing is read beyond it. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "boot/event_log.h"

static uint8_t events[1024];
static size_t used;
static size_t starts[8]; /* of the entries */
static size_t start_count;

static void put(uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		events[used++] = (uint8_t)(value >> 8 * i);
	}
}

static void fill(size_t bytes)
{
	while (bytes-- != 0) {
		put(0x5a, 1);
	}
}

/* The first entry, which names SHA-1 and SHA-256. */
static void put_first(void)
{
	starts[start_count++] = used;
	put(0, 4);
	put(3, 4); /* EV_NO_ACTION */
	fill(20);
	put(16 + 8 + 4 + 2 * 4 + 1, 4);
	memcpy(events + used, "Spec ID Event03", 16);
	used += 16;
	fill(8);
	put(2, 4);
	put(0x4, 2);
	put(20, 2);
	put(0xb, 2);
	put(32, 2);
	put(0, 1); /* no vendor information */
}

static void put_entry(size_t words)
{
	starts[start_count++] = used;
	put(12, 4);
	put(6, 4);
	put(2, 4);
	put(0x4, 2);
	fill(20);
	put(0xb, 2);
	fill(32);
	put((uint32_t)words, 4);
	fill(words);
}

static int setup(void **state)
{
	used = start_count = 0;
	memset(events, 0, sizeof(events));
	put_first();
	put_entry(40);
	put_entry(0);
	put_entry(17);
	return fake_setup(state);
}

/* Of a copy of max bytes, so that ASan sees a read beyond it. */
static size_t length(size_t last_entry, size_t max, size_t *count)
{
	uint8_t *copy = malloc(max);
	size_t bytes;

	memcpy(copy, events, max);
	bytes = event_log_bytes(copy, last_entry, max, count);
	free(copy);
	return bytes;
}

TEST(a_log_ends_behind_its_last_entry, setup, fake_teardown)
{
	size_t count;

	starts[start_count] = used;
	for (size_t i = 0; i < start_count; i++) {
		assert_int_equal(length(starts[i], sizeof(events), &count), starts[i + 1]);
		assert_int_equal(count, i + 1);
	}
	assert_int_equal(length(starts[3], used, &count), used);
}

TEST(the_last_entry_must_be_one_and_end_in_time, setup, fake_teardown)
{
	size_t count;

	for (size_t last = 1; last < used + 10; last++) {
		if (last != starts[1] && last != starts[2] && last != starts[3]) {
			assert_int_equal(length(last, used, &count), 0);
		}
	}
	for (size_t max = 0; max < used; max++) {
		assert_int_equal(length(starts[3], max, &count), 0);
	}
}

/* Whatever byte is wrong: a known end. */
TEST(damaged_logs, setup, fake_teardown)
{
	size_t count;

	for (size_t i = 0; i < used; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			events[i] ^= (uint8_t)(1u << bit);
			assert_in_range(length(starts[3], used, &count), 0, used);
			events[i] ^= (uint8_t)(1u << bit);
		}
	}
	events[32] ^= 1; /* "Spec ID Event03" */
	assert_int_equal(length(starts[3], used, &count), 0);
	events[32] ^= 1;
	events[32 + 16 + 8] = 17; /* more banks than there are */
	assert_int_equal(length(starts[3], used, &count), 0);
	events[32 + 16 + 8] = 2;
	events[starts[2] + 8] = 3; /* more digests than there are */
	assert_int_equal(length(starts[3], used, &count), 0);
	events[starts[2] + 8] = 2;
	events[starts[2] + 12] = 0xc; /* a hash that no bank has */
	assert_int_equal(length(starts[3], used, &count), 0);
}
