/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner for page keys whose wrapped form is known (tests/bus/secretscan.h): each piece of the
 * master key and of a page key is found alone, at every alignment and at the end of the data.
 */
#include <stdlib.h>

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/aes.h>

#include "tests/unit/test.h"
#include "tests/bus/keyscan.h"
#include "tests/bus/marker.h"
#include "tests/bus/secretscan.h"

#define WRAPPED_BYTES (SECRET_KEY_BYTES + 8)
#define WRAPPED_AT    64 /* where a page key may lie */
#define PIECE_AT      192
#define HITS_MAX      4

static uint8_t master[SECRET_MASTER_BYTES], key[SECRET_KEY_BYTES], wrapped[WRAPPED_BYTES];

static struct {
	size_t offset[HITS_MAX];
	const char *what[HITS_MAX];
	size_t count;
} hits;

static void note(void *context, size_t offset, const char *what)
{
	assert_true(hits.count < HITS_MAX);
	hits.offset[hits.count] = offset;
	hits.what[hits.count++] = what;
}

static void fill(uint8_t *data, size_t bytes)
{
	static uint64_t state = 1;

	for (size_t i = 0; i < bytes; i++) {
		data[i] = (uint8_t)(marker_mix(state++) >> 16);
	}
}

static int setup(void **state)
{
	AES_KEY wrap;

	fill(master, sizeof(master));
	fill(key, sizeof(key));
	AES_set_encrypt_key(master, 8 * sizeof(master), &wrap);
	assert_int_equal(AES_wrap_key(&wrap, NULL, wrapped, key, sizeof(key)), sizeof(wrapped));
	return 0;
}

/* Random data with the wrapped key, and a piece that ends with the data. */
static void scan(const uint8_t *piece, size_t size, size_t at)
{
	const size_t bytes = at + size;
	uint8_t *data = malloc(bytes);

	fill(data, bytes);
	memcpy(data + WRAPPED_AT, wrapped, sizeof(wrapped));
	memcpy(data + at, piece, size);
	hits.count = 0;
	assert_int_equal(secretscan_wrapped(data, bytes, master, note, NULL), 1);
	assert_true(hits.count >= 1);
	assert_int_equal(hits.offset[0], WRAPPED_AT);
	assert_string_equal(hits.what[0], "wrapped");
	free(data);
}

static void expect_found(const uint8_t *piece, size_t size, const char *what)
{
	for (size_t at = PIECE_AT; at < PIECE_AT + 17; at++) {
		scan(piece, size, at);
		assert_int_equal(hits.count, 2);
		assert_int_equal(hits.offset[1], at);
		assert_string_equal(hits.what[1], what);
		scan(piece, size - 1, at);
		assert_int_equal(hits.count, 1);
	}
}

static void expect_pieces_found(const uint8_t *of, const char *what)
{
	uint8_t round[KEYSCAN_ROUND_KEYS][16];

	for (unsigned i = 0; i < 4; i++) {
		expect_found(of + 8 * i, 8, what);
	}
	keyscan_round_keys(of, round);
	for (unsigned i = 2; i < KEYSCAN_ROUND_KEYS; i++) { /* two are the key */
		expect_found(round[i], sizeof(round[i]), what);
	}
}

TEST(each_piece_is_found_alone, setup)
{
	expect_pieces_found(master, "master");
	expect_pieces_found(key, "page");
	expect_pieces_found(key + 32, "page");
}

TEST(a_key_of_another_master_is_not_found, setup)
{
	uint8_t data[256];

	fill(data, sizeof(data));
	memcpy(data + WRAPPED_AT, wrapped, sizeof(wrapped));
	memcpy(data + PIECE_AT, key, sizeof(key));
	master[0] ^= 1;
	hits.count = 0;
	assert_int_equal(secretscan_wrapped(data, sizeof(data), master, note, NULL), 0);
	assert_int_equal(hits.count, 0);
}
