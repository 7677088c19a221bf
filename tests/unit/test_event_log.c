/* SPDX-License-Identifier: Apache-2.0 */
/* boot/event_log.c: where a log ends, and that nothing is read beyond it. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "boot/event_log.h"

static uint8_t events[2048];
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

/* --- What was measured --- */

static void put_event(uint32_t pcr, uint32_t type, const void *data, size_t bytes)
{
	put(pcr, 4);
	put(type, 4);
	put(2, 4);
	put(0x4, 2);
	fill(20);
	put(0xb, 2);
	put((uint32_t)bytes, 1); /* what the digest begins with */
	fill(31);
	put((uint32_t)bytes, 4);
	memcpy(events + used, data, bytes);
	used += bytes;
}

/* Characters of two bytes. */
static size_t put_wide(uint8_t *to, const char *text)
{
	size_t at = 0;

	for (; *text != '\0'; text++) {
		to[at++] = (uint8_t)*text;
		to[at++] = 0;
	}
	return at;
}

static void put_variable(uint32_t type, const char *name, uint64_t characters)
{
	uint8_t data[128] = { 0 };

	memcpy(data + 16, &characters, sizeof(characters));
	put_event(7, type, data, 32 + put_wide(data + 32, name) + 3);
}

/* Two nodes of a path: a device, and a file. */
static void put_program(const char *file, uint16_t file_bytes)
{
	uint8_t data[128] = { 0 };
	size_t bytes = 32;

	memcpy(data + bytes, (uint8_t[]){ 2, 1, 12, 0 }, 4);
	bytes += 12;
	memcpy(data + bytes, (uint8_t[]){ 4, 4, (uint8_t)file_bytes, (uint8_t)(file_bytes >> 8) },
	       4);
	bytes += 4;
	bytes += put_wide(data + bytes, file) + 2;
	put_event(4, 0x80000003, data, bytes);
}

static struct event_log_event seen[16];

static size_t see(uint32_t pcr, size_t bytes, size_t max)
{
	uint8_t *copy = malloc(bytes);
	const size_t before = used;
	size_t count;

	memcpy(copy, events, bytes);
	memset(seen, 0, sizeof(seen));
	count = event_log_of_pcr(copy, bytes, pcr, seen, max);
	for (size_t i = 0; i < count; i++) {
		assert_non_null(memchr(seen[i].words, 0, sizeof(seen[i].words)));
		for (const char *c = seen[i].words; *c != '\0'; c++) {
			assert_in_range(*c, 0x20, 0x7e);
		}
		assert_in_range(seen[i].sha256, copy, copy + bytes - 32);
	}
	free(copy);
	used = before;
	return count;
}

static int setup_events(void **state)
{
	used = start_count = 0;
	memset(events, 0, sizeof(events));
	put_first();
	put_variable(0x80000001, "SecureBoot", 10);
	put_event(4, 0x80000007, "Calling EFI Application", 23);
	put_variable(0x80000001, "db\x1b[2J", 3); /* so many characters, whatever follows */
	put_event(7, 4, "\0\0\0\0", 4);
	put_variable(0x800000e0, "db", 1ul << 32 | 2);
	put_event(7, 3, "not measured", 12);
	put_event(7, 0xab, "", 0);
	put_program("\\EFI\\BOOT\\BOOTX64.EFI", 4 + 2 * 21 + 2);
	return fake_setup(state);
}

TEST(the_events_of_a_pcr_in_words, setup_events, fake_teardown)
{
	static const char *const policy[] = { "variable SecureBoot", "variable db?", "separator",
					      "signer of a program, in db", "event of type ab" };

	assert_int_equal(see(7, used, 16), ARRAY_COUNT(policy));
	for (size_t i = 0; i < ARRAY_COUNT(policy); i++) {
		assert_string_equal(seen[i].words, policy[i]);
	}
	assert_int_equal(see(4, used, 16), 2);
	assert_string_equal(seen[0].words, "Calling EFI Application");
	assert_string_equal(seen[1].words, "program \\EFI\\BOOT\\BOOTX64.EFI");
	assert_int_equal(see(5, used, 16), 0);
	assert_int_equal(see(7, used, 5), 5);
	assert_int_equal(see(7, used, 4), 0); /* all, or none */
}

/* The data of an event is whatever firmware or a variable's owner wrote. */
TEST(events_that_say_wrong_lengths, setup_events, fake_teardown)
{
	static const uint16_t lengths[] = { 0, 3, 4, 5, 6, 47, 60, 0xffff };
	const size_t start = used;

	for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
		used = start;
		put_program("\\EFI\\BOOT\\BOOTX64.EFI", lengths[i]);
		assert_int_equal(see(4, used, 16), 3);
		assert_memory_equal(seen[2].words, "program ", 8);
	}
	for (uint64_t n = 0; n < 1000; n = 3 * n + 1) {
		used = start;
		put_variable(0x80000001, "dbx", n);
		assert_int_equal(see(7, used, 16), 6);
		assert_int_equal(strncmp("variable dbx", seen[5].words, 9 + MIN(n, 3)), 0);
	}
	used = start;
	put_event(7, 0x80000001, "short", 5);
	put_event(7, 0x80000003, "short", 5);
	put_event(7, 0x80000007,
		  "more than sixty-three characters, so that it has to be cut off somewhere, here",
		  78);
	assert_int_equal(see(7, used, 16), 8);
	assert_string_equal(seen[5].words, "variable ");
	assert_int_equal(strlen(seen[7].words), EVENT_LOG_WORDS_MAX - 1);
}

TEST(damaged_events, setup_events, fake_teardown)
{
	for (size_t i = 0; i < used; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			events[i] ^= (uint8_t)(1u << bit);
			assert_in_range(see(7, used, 16), 0, 8);
			assert_in_range(see(4, used, 16), 0, 8);
			events[i] ^= (uint8_t)(1u << bit);
		}
	}
	for (size_t bytes = 0; bytes < used; bytes++) {
		assert_in_range(see(7, bytes, 16), 0, 5);
	}
	events[32 + 16 + 8 + 4 + 4] = 0xd; /* SHA-512 in place of SHA-256 */
	assert_int_equal(see(7, used, 16), 0);
}
