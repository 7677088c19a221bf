/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-XTS, HKDF, the health tests of noise sources, the wipe list, mbedTLS' slots and the SIMD
 * bracket.
 */
#include "tests/unit/test.h"
#include "crypto/aes_xts.h"
#include "crypto/kat_vectors.h"
#include "crypto/kdf.h"
#include "crypto/mbedtls_config.h"
#include "crypto/noise.h"
#include "crypto/simd.h"
#include "crypto/wipe.h"
#include "mbedtls/platform_util.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/ending.h"

static void fill_pattern(uint8_t *buf, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		buf[i] = (uint8_t)i;
	}
}

/* --- AES-XTS --- */

TEST(xts_gives_the_published_ciphertext, fake_setup, fake_teardown)
{
	struct aes_xts_key key;
	uint8_t plain[512], out[512];

	fill_pattern(plain, sizeof(plain));
	assert_int_equal(aes_xts_set_key(&key, kat_xts128_key, sizeof(kat_xts128_key)), 0);
	assert_int_equal(aes_xts_encrypt(&key, kat_xts128_tweak, plain, out, sizeof(out)), 0);
	assert_memory_equal(out, kat_xts128_cipher, sizeof(out));
	assert_int_equal(aes_xts_set_key(&key, kat_xts256_key, sizeof(kat_xts256_key)), 0);
	assert_int_equal(aes_xts_encrypt(&key, kat_xts256_tweak, plain, out, sizeof(out)), 0);
	assert_memory_equal(out, kat_xts256_cipher, sizeof(out));
	assert_int_equal(aes_xts_decrypt(&key, kat_xts256_tweak, out, out, sizeof(out)), 0);
	assert_memory_equal(out, plain, sizeof(out));
}

TEST(xts_page_depends_on_every_tweak_byte, fake_setup, fake_teardown)
{
	static uint8_t page[4096], other[4096], first[4096];
	struct aes_xts_key key;
	uint8_t tweak[16] = { 0 };

	fill_pattern(page, sizeof(page));
	assert_int_equal(aes_xts_set_key(&key, kat_xts256_key, sizeof(kat_xts256_key)), 0);
	assert_int_equal(aes_xts_encrypt(&key, tweak, page, first, sizeof(page)), 0);
	for (unsigned i = 0; i < sizeof(tweak); i++) {
		tweak[i] = 1;
		assert_int_equal(aes_xts_encrypt(&key, tweak, page, other, sizeof(page)), 0);
		assert_memory_not_equal(first, other, 16);
		assert_memory_not_equal(first + 4080, other + 4080, 16);
		assert_int_equal(aes_xts_decrypt(&key, tweak, other, other, sizeof(page)), 0);
		assert_memory_equal(page, other, sizeof(page));
		tweak[i] = 0;
	}
}

TEST(xts_refuses_bad_keys_and_sizes, fake_setup, fake_teardown)
{
	static const struct aes_xts_key zero;
	struct aes_xts_key key;
	uint8_t same[64] = { 1, 2, 3 };
	uint8_t buf[32] = { 0 };
	uint8_t tweak[16] = { 0 };

	memcpy(same + 32, same, 32);
	assert_int_equal(aes_xts_set_key(&key, same, 64), ERR_INVAL);
	assert_memory_equal(&key, &zero, sizeof(key));
	assert_int_equal(aes_xts_set_key(&key, kat_xts256_key, 48), ERR_INVAL);
	assert_int_equal(aes_xts_set_key(&key, kat_xts256_key, 0), ERR_INVAL);
	assert_int_equal(aes_xts_set_key(&key, kat_xts256_key, 64), 0);
	assert_int_equal(aes_xts_encrypt(&key, tweak, buf, buf, 15), ERR_INVAL);
	assert_int_equal(aes_xts_decrypt(&key, tweak, buf, buf, 0), ERR_INVAL);
}

/* --- HKDF --- */

TEST(kdf_gives_the_published_keys, fake_setup, fake_teardown)
{
	/* RFC 5869, test case 3: no salt, no info. */
	static const uint8_t rfc[42] = {
		0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f, 0x71, 0x5f, 0x80, 0x2a, 0x06, 0x3c,
		0x5a, 0x31, 0xb8, 0xa1, 0x1f, 0x5c, 0x5e, 0xe1, 0x87, 0x9e, 0xc3, 0x45, 0x4e, 0x5f,
		0x3c, 0x73, 0x8d, 0x2d, 0x9d, 0x20, 0x13, 0x95, 0xfa, 0xa4, 0xb6, 0x1a, 0x96, 0xc8,
	};
	/* Secret 00..1f with a label; computed with Python's hmac. */
	static const uint8_t page[64] = {
		0x74, 0x94, 0xfd, 0x34, 0x7c, 0x45, 0xdb, 0xe8, 0x1d, 0xfa, 0xd8, 0xc2, 0xf1,
		0x5c, 0xc6, 0xa0, 0x8c, 0x8b, 0xf4, 0x03, 0xf1, 0xb6, 0x12, 0x47, 0xeb, 0xdd,
		0x72, 0x89, 0xa7, 0xdb, 0x7f, 0x23, 0x39, 0x83, 0x90, 0x10, 0x18, 0xc8, 0xe1,
		0x9e, 0xa2, 0xf7, 0x13, 0x57, 0x51, 0x9e, 0xdd, 0x30, 0x48, 0x45, 0xa1, 0x1b,
		0x8a, 0x2a, 0xaa, 0xf4, 0x98, 0xc6, 0xaa, 0x62, 0xe6, 0x6d, 0x79, 0x85,
	};
	/* The same with 32 bytes of A5H as salt. */
	static const uint8_t salted[16] = { 0xc2, 0xc4, 0x7d, 0x4d, 0x3a, 0x9a, 0x66, 0x5d,
					    0xbb, 0xf4, 0x3e, 0x97, 0x91, 0xb6, 0x4e, 0x82 };
	static uint8_t secret[32], out[255 * 32 + 1], zero[sizeof(out)], salt[KDF_SALT_BYTES];

	memset(secret, 0x0b, 22);
	assert_int_equal(kdf_derive(secret, 22, NULL, "", out, sizeof(rfc)), 0);
	assert_memory_equal(out, rfc, sizeof(rfc));
	fill_pattern(secret, sizeof(secret));
	assert_int_equal(kdf_derive(secret, 32, NULL, "umbra page key", out, sizeof(page)), 0);
	assert_memory_equal(out, page, sizeof(page));
	assert_int_equal(kdf_derive(secret, 32, NULL, "umbra mac key", out, sizeof(page)), 0);
	assert_memory_not_equal(out, page, sizeof(page));
	memset(salt, 0xa5, sizeof(salt));
	assert_int_equal(kdf_derive(secret, 32, salt, "umbra page key", out, 16), 0);
	assert_memory_equal(out, salted, sizeof(salted));
	assert_int_equal(kdf_derive(secret, 32, NULL, "", out, sizeof(out)), ERR_RANGE);
	assert_memory_equal(out, zero, sizeof(out));
}

/* mbedTLS wipes its contexts, and what it copies, by this function alone. */
TEST(mbedtls_wipes_what_it_is_given, fake_setup, fake_teardown)
{
	uint8_t bytes[24], wanted[24];

	memset(bytes, 0x5a, sizeof(bytes));
	memset(wanted, 0x5a, sizeof(wanted));
	memset(wanted, 0, 16);
	mbedtls_platform_zeroize(bytes, 16);
	mbedtls_platform_zeroize(bytes + 20, 0);
	assert_memory_equal(bytes, wanted, sizeof(wanted));
}

/* --- Noise --- */

static uint64_t noise_state;
static uint64_t noise_count;
static uint64_t stuck_after; /* after this word the source repeats itself */
static unsigned bias_one_in; /* one in so many bytes is 0x5a; 0: none */
static uint64_t alternates;  /* not 0: returns two words in turn */
static bool silent;

static uint64_t splitmix(void)
{
	uint64_t z = noise_state += 0x9e3779b97f4a7c15ul;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ul;
	z = (z ^ z >> 27) * 0x94d049bb133111ebul;
	return z ^ z >> 31;
}

static bool read_noise(uint64_t *word)
{
	static uint64_t last;
	uint8_t *bytes = (uint8_t *)word;

	if (silent) {
		return false;
	}
	noise_count++;
	if (alternates != 0) {
		*word = noise_count % 2 != 0 ? alternates : ~alternates;
		return true;
	}
	*word = noise_count > stuck_after ? last : splitmix();
	last = *word;
	for (unsigned i = 0; bias_one_in != 0 && i < 8; i++) {
		if (splitmix() % bias_one_in == 0) {
			bytes[i] = 0x5a;
		}
	}
	return true;
}

static struct noise_source fresh_source(void)
{
	noise_state = 1;
	noise_count = 0;
	stuck_after = UINT64_MAX;
	bias_one_in = 0;
	alternates = 0;
	silent = false;
	return (struct noise_source){ .name = "fake", .read = read_noise, .words_per_seed = 64 };
}

TEST(good_noise_passes_for_long, fake_setup, fake_teardown)
{
	struct noise_source source = fresh_source();
	uint64_t words[64];

	assert_int_equal(noise_start(&source), 0);
	assert_int_equal(noise_count, NOISE_STARTUP_WORDS);
	for (unsigned i = 0; i < 20000; i++) {
		assert_int_equal(noise_read(&source, words, ARRAY_COUNT(words)), 0);
	}
	assert_null(source.refusal);
}

static struct noise_source started;
static uint64_t last_word;

static bool note_noise(uint64_t *word)
{
	*word = splitmix();
	last_word = *word;
	return true;
}

static void start_source(void)
{
	(void)noise_start(&started);
}

TEST(the_stack_keeps_no_noise, fake_setup, fake_teardown)
{
	started = fresh_source();
	started.read = note_noise;
	assert_false(fake_stack_keeps(start_source, &last_word, sizeof(last_word)));
	assert_int_not_equal(last_word, 0);
	assert_null(started.refusal);
}

TEST(stuck_source_is_refused_for_good, fake_setup, fake_teardown)
{
	struct noise_source source = fresh_source();
	uint64_t words[4];

	stuck_after = 500;
	assert_int_equal(noise_start(&source), 0);
	while (noise_read(&source, words, 4) == 0) {
		assert_true(noise_count < 504);
	}
	assert_int_equal(noise_count, 501); /* stopped at the first repetition */
	assert_non_null(source.refusal);
	assert_non_null(strstr(source.refusal, "stuck"));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(words[i], 0);
	}
	stuck_after = UINT64_MAX; /* it recovers, but too late */
	assert_int_equal(noise_read(&source, words, 1), ERR_SELFTEST);
	assert_int_equal(words[0], 0);
}

TEST(stuck_at_start_is_refused, fake_setup, fake_teardown)
{
	static const uint64_t stuck_words[] = { 0, UINT64_MAX, 0x0123456789abcdeful };

	for (unsigned i = 0; i < ARRAY_COUNT(stuck_words); i++) {
		struct noise_source source = fresh_source();

		stuck_after = 0;
		assert_int_equal(noise_start(&source), ERR_SELFTEST);
		assert_int_equal(noise_count, 2);
	}
}

TEST(biased_source_is_refused, fake_setup, fake_teardown)
{
	struct noise_source source = fresh_source();
	uint64_t word;
	int ret = 0;

	bias_one_in = 8; /* about 66 of 512 bytes are equal: far above the cut-off of 31 */
	ret = noise_start(&source);
	for (unsigned i = 0; i < 10000 && ret == 0; i++) {
		ret = noise_read(&source, &word, 1);
	}
	assert_int_equal(ret, ERR_SELFTEST);
	assert_non_null(strstr(source.refusal, "biased"));
}

TEST(alternating_source_is_refused, fake_setup, fake_teardown)
{
	struct noise_source source = fresh_source();

	alternates = 0x0123456789abcdeful; /* no word repeats; each byte comes 32 times in 512 */
	assert_int_equal(noise_start(&source), ERR_SELFTEST);
	assert_non_null(strstr(source.refusal, "biased"));
}

TEST(silent_source_ends_in_bounded_time, fake_setup, fake_teardown)
{
	struct noise_source source = fresh_source();
	uint64_t word = 7;

	assert_int_equal(noise_start(&source), 0);
	silent = true;
	assert_int_equal(noise_read(&source, &word, 1), ERR_TIMEOUT);
	assert_int_equal(word, 0);
	assert_null(source.refusal);
	silent = false;
	assert_int_equal(noise_read(&source, &word, 1), 0);

	source = fresh_source();
	silent = true;
	assert_int_equal(noise_start(&source), ERR_TIMEOUT);
	assert_non_null(strstr(source.refusal, "silent"));
}

TEST(firmware_seeds_are_checked, fake_setup, fake_teardown)
{
	uint8_t seed[64];

	fill_pattern(seed, sizeof(seed));
	assert_null(noise_seed_refusal(seed, sizeof(seed)));
	assert_null(noise_seed_refusal(seed, 32));
	assert_non_null(noise_seed_refusal(seed, 31));
	memcpy(seed + 40, seed + 32, 8);
	assert_non_null(noise_seed_refusal(seed, sizeof(seed)));
	memset(seed, 0, sizeof(seed));
	assert_non_null(noise_seed_refusal(seed, sizeof(seed)));
}

/* --- Wiping, slots, bracket --- */

TEST(wipe_zeroes_what_is_registered, fake_setup, fake_teardown)
{
	static uint8_t areas[WIPE_AREA_MAX + 1][24];
	static const uint8_t zero[24];

	const unsigned room = WIPE_AREA_MAX - wipe_count(); /* mbedTLS' heap is registered */

	memset(areas, 0xaa, sizeof(areas));
	assert_true(room >= WIPE_AREA_MAX - 1);
	for (unsigned i = 0; i < room; i++) {
		assert_int_equal(wipe_register(areas[i], sizeof(areas[i])), 0);
	}
	assert_int_equal(wipe_register(areas[WIPE_AREA_MAX], 24), ERR_NOMEM);
	assert_int_equal(wipe_register(areas[0], sizeof(areas[0])), 0); /* it is there already */
	wipe_unregister(areas[3]);
	wipe_unregister(areas[3]);
	wipe_unregister(NULL);
	wipe_init();
	ending_wipe();
	for (unsigned i = 0; i <= WIPE_AREA_MAX; i++) {
		if (i == 3 || i >= room) {
			assert_int_equal(areas[i][0], 0xaa);
		} else {
			assert_memory_equal(areas[i], zero, sizeof(zero));
		}
		wipe_unregister(areas[i]);
	}
	assert_int_equal(wipe_register(areas[WIPE_AREA_MAX], 24), 0);
	wipe_all();
	assert_memory_equal(areas[WIPE_AREA_MAX], zero, sizeof(zero));
	wipe_unregister(areas[WIPE_AREA_MAX]);
}

/* State of a hash or a KDF that is in its slot when the machine ends. */
TEST(slots_are_wiped, fake_setup, fake_teardown)
{
	uint8_t *slot = crypto_calloc(1, 8);

	memset(slot, 0xcc, 8);
	wipe_all();
	assert_int_equal(slot[0] | slot[7], 0);
	crypto_free(slot);
}

TEST(slots_are_bounded_and_come_back_zero, fake_setup, fake_teardown)
{
	uint8_t *slots[65];
	unsigned count = 0;

	assert_null(crypto_calloc(1, 257));
	assert_null(crypto_calloc(SIZE_MAX / 2, 4));
	assert_null(crypto_calloc(0, 4));
	while (count < 65 && (slots[count] = crypto_calloc(2, 128)) != NULL) {
		memset(slots[count++], 0xcc, 256);
	}
	assert_int_equal(count, 64);
	crypto_free(slots[5]);
	assert_ptr_equal(crypto_calloc(1, 8), slots[5]);
	for (unsigned i = 0; i < 256; i++) {
		assert_int_equal(slots[5][i], 0);
	}
	while (count != 0) {
		crypto_free(slots[--count]);
	}
	crypto_free(NULL);
	FAKE_EXPECT_PANIC(crypto_free(slots[0] + 1), "broken");
	FAKE_EXPECT_PANIC(crypto_free(slots[0]), "broken");
}

TEST(bracket_gives_all_sixteen_registers_back, fake_setup, fake_teardown)
{
	static uint8_t before[16][16] __attribute__((aligned(16)));
	static uint8_t after[16][16] __attribute__((aligned(16)));
	struct simd_save save, scratch;

	for (unsigned i = 0; i < sizeof(before); i++) {
		before[i / 16][i % 16] = (uint8_t)(i * 7 + 1);
	}
	/* before[] -> registers -> save; junk into the registers; save -> registers -> after[] */
	simd_end((const struct simd_save *)before);
	simd_begin(&save);
	memset(&scratch, 0xee, sizeof(scratch));
	simd_end(&scratch);
	simd_end(&save);
	simd_begin((struct simd_save *)after);
	assert_memory_equal(before, after, sizeof(before));
}
