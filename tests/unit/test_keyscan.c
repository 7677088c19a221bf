/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner for AES key schedules (tests/bus): it finds the schedules that mbedTLS and the
 * product make, at every alignment and at the very end of the data, and finds nothing else. Also
 * the markers of tests/bus/marker.h.
 */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "crypto/aes_xts.h"
#include "mbedtls/aes.h"
#include "tests/bus/keyscan.h"
#include "tests/bus/marker.h"

#define HITS_MAX 8

struct hits {
	struct keyscan_hit hit[HITS_MAX];
	size_t count;
};

static void note(void *context, const struct keyscan_hit *hit)
{
	struct hits *hits = context;

	assert_true(hits->count < HITS_MAX);
	hits->hit[hits->count++] = *hit;
}

static struct hits scan(const uint8_t *data, size_t bytes)
{
	struct hits hits = { .count = 0 };
	size_t count = keyscan(data, bytes, note, &hits);

	assert_int_equal(count, hits.count);
	return hits;
}

static uint8_t noise(void)
{
	static uint64_t state = 1;

	return (uint8_t)(marker_mix(state++) >> 16);
}

static void fill(uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		data[i] = noise();
	}
}

/* Expands a key with mbedTLS; returns the bytes of all round keys. */
static size_t expand(const uint8_t *key, unsigned bits, bool decryption, uint8_t *out)
{
	size_t bytes = (bits / 32 + 7) * 16;
	mbedtls_aes_context aes;

	mbedtls_aes_init(&aes);
	assert_int_equal(decryption ? mbedtls_aes_setkey_dec(&aes, key, bits)
				    : mbedtls_aes_setkey_enc(&aes, key, bits),
			 0);
	memcpy(out, aes.MBEDTLS_PRIVATE(buf) + aes.MBEDTLS_PRIVATE(rk_offset), bytes);
	mbedtls_aes_free(&aes);
	return bytes;
}

/* Single round keys, as both forms of a schedule have them. */
TEST(round_keys)
{
	uint8_t key[32], encryption[240], decryption[240], round[KEYSCAN_ROUND_KEYS][16];

	fill(key, sizeof(key));
	expand(key, 256, false, encryption);
	expand(key, 256, true, decryption);
	keyscan_round_keys(key, round);
	assert_memory_equal(round, encryption, sizeof(encryption));
	for (unsigned i = 1; i < 14; i++) {
		assert_memory_equal(round[14 + i], decryption + 16 * (14 - i), 16);
	}
}

TEST(a_schedule_is_found_wherever_it_lies)
{
	for (unsigned bits = 128; bits <= 256; bits += 64) {
		for (unsigned way = 0; way < 2; way++) {
			for (size_t at = 0; at < 40; at++) {
				uint8_t key[32] = { 0 }, schedule[240];
				struct hits hits;
				uint8_t *data;
				size_t bytes;

				fill(key, at == 0 ? 0 : bits / 8); /* once with a key of zeros */
				bytes = at + expand(key, bits, way == 1, schedule);
				data = malloc(bytes); /* the data ends with the schedule */
				fill(data, at);
				memcpy(data + at, schedule, bytes - at);
				hits = scan(data, bytes);
				assert_int_equal(hits.count, 1);
				assert_int_equal(hits.hit[0].offset, at);
				assert_int_equal(hits.hit[0].key_bytes, bits / 8);
				assert_int_equal(hits.hit[0].decryption, way);
				assert_memory_equal(hits.hit[0].key, key, sizeof(key));
				assert_int_equal(scan(data, bytes - 1).count, 0);
				free(data);
			}
		}
	}
}

TEST(one_wrong_bit_is_no_schedule)
{
	for (unsigned bits = 128; bits <= 256; bits += 64) {
		for (unsigned way = 0; way < 2; way++) {
			uint8_t key[32], schedule[240];
			size_t bytes;

			fill(key, sizeof(key));
			bytes = expand(key, bits, way == 1, schedule);
			for (size_t bit = 0; bit < 8 * bytes; bit++) {
				schedule[bit / 8] ^= (uint8_t)(1 << bit % 8);
				assert_int_equal(scan(schedule, bytes).count, 0);
				schedule[bit / 8] ^= (uint8_t)(1 << bit % 8);
			}
			assert_int_equal(scan(schedule, bytes).count, 1);
		}
	}
}

/*
 * The page key: data and tweak key for each direction; only data keys have a decryption schedule.
 */
TEST(the_products_page_key_is_four_schedules)
{
	struct aes_xts_key key;
	uint8_t bytes[64];

	for (size_t key_bytes = 32; key_bytes <= 64; key_bytes *= 2) {
		unsigned decryption = 0, of_data = 0, of_tweak = 0;
		struct hits hits;

		fill(bytes, key_bytes);
		assert_int_equal(aes_xts_set_key(&key, bytes, key_bytes), 0);
		hits = scan((const uint8_t *)&key, sizeof(key));
		assert_int_equal(hits.count, 4);
		for (size_t i = 0; i < hits.count; i++) {
			size_t half = key_bytes / 2;

			assert_int_equal(hits.hit[i].key_bytes, half);
			decryption += hits.hit[i].decryption;
			of_data += memcmp(hits.hit[i].key, bytes, half) == 0;
			of_tweak += memcmp(hits.hit[i].key, bytes + half, half) == 0;
		}
		assert_int_equal(decryption, 1);
		assert_int_equal(of_data, 2);
		assert_int_equal(of_tweak, 2);
	}
}

TEST(memory_without_keys_has_no_schedule)
{
	size_t bytes = 1 << 20;
	uint8_t *data = malloc(bytes);

	for (unsigned value = 0; value < 256; value += 51) {
		memset(data, (int)value, bytes);
		assert_int_equal(scan(data, bytes).count, 0);
	}
	fill(data, bytes);
	assert_int_equal(scan(data, bytes).count, 0);
	assert_int_equal(scan(data, 0).count, 0);
	free(data);
}

TEST(markers_contain_their_number)
{
	uint64_t number;

	for (uint64_t i = 0; i < 100000; i++) {
		struct marker marker = marker_make(i, i % MARKER_PAGE_BLOCKS);
		struct marker other = { marker.first, marker.second ^ 1ul << i % 64 };

		assert_int_equal(marker_unmix(marker_mix(i << 30)), i << 30);
		assert_true(marker_read(&marker, &number));
		assert_int_equal(number, i);
		assert_false(marker_read(&other, &number));
		other = (struct marker){ marker.first ^ 1ul << i % 64, marker.second };
		assert_false(marker_read(&other, &number));
	}
	assert_false(marker_read(&(struct marker){ 0, 0 }, &number));
}
