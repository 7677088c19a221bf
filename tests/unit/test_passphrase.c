/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/passphrase.c and boot/key_file.c: the known answer (of Python's hashlib, by
 * boot/passphrase.py), wrong passphrases, and damaged files.
 */
#include <stdlib.h>

#include "tests/unit/test.h"
#include <mbedtls/sha512.h>

#include "boot/key_file.h"
#include "crypto/wipe.h"
#include "vmm/base/err.h"

#define PAD 0x5c /* HMAC's, which fills what a short passphrase leaves of the block */

static const volatile uint8_t *key_block; /* the last one with the key, on its user's stack */

static int see_block(mbedtls_sha512_context *hash, const uint8_t *data, size_t bytes)
{
	key_block = bytes == 128 ? data : key_block;
	return mbedtls_sha512_update(hash, data, bytes);
}

#define mbedtls_sha512_update see_block
#include "crypto/passphrase.c"
#undef mbedtls_sha512_update

#define SALT                                    \
	"salt 000102030405060708090a0b0c0d0e0f" \
	"101112131415161718191a1b1c1d1e1f\n"
#define CHECK_10000                              \
	"check 7924d138ef21c436f649ca0a82c8a53f" \
	"92253bc4292abc277ab8dd47b8fe83e6\n"
#define CHECK_10001                              \
	"check baba8f39e894d44aea440410d184e15a" \
	"7052169b08c1c7a5d80073f08c66d7bb\n"
#define FILE_OF(iterations, rest) "umbra-passphrase 1\niterations " iterations "\n" SALT rest

static const uint8_t known_secret[KDF_SECRET_BYTES] = {
	0x3d, 0xad, 0x6b, 0x4c, 0x3c, 0x20, 0x3f, 0xc9, 0xc2, 0x38, 0x14,
	0xaa, 0xf5, 0x93, 0x40, 0xd5, 0x8d, 0x8a, 0xc2, 0xef, 0xf9, 0xed,
	0xdb, 0x7c, 0x72, 0x7f, 0x9f, 0x6a, 0x38, 0xd1, 0xba, 0x44,
};

static struct vm_key_source key;

static int setup(void **state)
{
	memset(&key, 0, sizeof(key));
	return fake_setup(state);
}

/* From memory that ends where the file ends, so that ASan sees a read beyond it. */
static const char *take(const char *text)
{
	const size_t bytes = strlen(text);
	char *copy = malloc(bytes);
	const char *error;

	memcpy(copy, text, bytes);
	error = key_file_take_passphrase(copy, bytes, &key);
	free(copy);
	return error;
}

static int try(const char *text, uint8_t secret[KDF_SECRET_BYTES])
{
	int err = passphrase_begin(&key.passphrase, text, strlen(text));

	if (err != 0) {
		return err;
	}
	while (passphrase_step()) {
	}
	return passphrase_end(secret);
}

TEST(the_right_passphrase_gives_the_known_secret, setup, fake_teardown)
{
	uint8_t secret[KDF_SECRET_BYTES] = { 0 };
	uint32_t registered;

	assert_null(take(FILE_OF("10000", CHECK_10000)));
	assert_true(key.locked);
	assert_int_equal(key.passphrase.iterations, 10000);
	assert_int_equal(try("correct horse", secret), 0);
	assert_memory_equal(secret, known_secret, sizeof(secret));
	registered = wipe_count(); /* mbedTLS' memory stays in the list */
	assert_null(take(FILE_OF("10001", CHECK_10001)));
	assert_int_equal(try("correct horse", secret), 0);
	assert_memory_not_equal(secret, known_secret, sizeof(secret));
	assert_int_equal(wipe_count(), registered);
}

TEST(a_wrong_passphrase_gives_nothing, setup, fake_teardown)
{
	static const uint8_t nothing[KDF_SECRET_BYTES];
	uint8_t secret[KDF_SECRET_BYTES] = { 0 };

	assert_null(take(FILE_OF("10000", CHECK_10000)));
	assert_int_equal(try("correct horsf", secret), ERR_RIGHTS);
	assert_int_equal(try("correct hors", secret), ERR_RIGHTS);
	assert_int_equal(try("", secret), ERR_RIGHTS);
	/* The number of iterations, the salt and the check value all count. */
	key.passphrase.iterations++;
	assert_int_equal(try("correct horse", secret), ERR_RIGHTS);
	key.passphrase.iterations--;
	key.passphrase.salt[31] ^= 1;
	assert_int_equal(try("correct horse", secret), ERR_RIGHTS);
	key.passphrase.salt[31] ^= 1;
	key.passphrase.check[0] ^= 0x80;
	assert_int_equal(try("correct horse", secret), ERR_RIGHTS);
	assert_memory_equal(secret, nothing, sizeof(secret));
}

/* What is in the list of wipe.h must be zero when it leaves the list, which the fake sees. */
TEST(the_stack_keeps_no_passphrase, setup, fake_teardown)
{
	assert_null(take(FILE_OF("10000", CHECK_10000)));
	assert_int_equal(passphrase_begin(&key.passphrase, "correct horse", 13), 0);
	assert_int_equal(fake_left_on_stack(key_block, 128, PAD), 0);
	assert_int_equal(fake_left_on_stack(key_block, 1, 'c' ^ PAD), 0);
	while (passphrase_step()) {
	}
	assert_int_equal(passphrase_end((uint8_t[KDF_SECRET_BYTES]){ 0 }), 0);
}

static int ended;
static uint8_t opened[KDF_SECRET_BYTES];

static void end(void)
{
	ended = passphrase_end(opened);
}

/* Who has the check value of a guess can try the guess against the file. */
TEST(the_stack_keeps_no_check, setup, fake_teardown)
{
	assert_null(take(FILE_OF("10000", CHECK_10000)));
	assert_int_equal(passphrase_begin(&key.passphrase, "correct horse", 13), 0);
	while (passphrase_step()) {
	}
	assert_false(fake_stack_keeps(end, key.passphrase.check, 16));
	assert_int_equal(ended, 0);
	assert_memory_equal(opened, known_secret, sizeof(opened));
}

TEST(bounds_hold_for_every_caller, setup, fake_teardown)
{
	static const char longest[] = /* a block of SHA-512 and one more */
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef!";
	uint8_t secret[KDF_SECRET_BYTES];

	key.passphrase.iterations = PASSPHRASE_ITERATIONS_MIN - 1;
	assert_int_equal(try("correct horse", secret), ERR_RANGE);
	key.passphrase.iterations = PASSPHRASE_ITERATIONS_MAX + 1;
	assert_int_equal(try("correct horse", secret), ERR_RANGE);
	key.passphrase.iterations = PASSPHRASE_ITERATIONS_MIN;
	assert_int_equal(try(longest, secret), ERR_RANGE);
}

TEST(damaged_files_are_named, setup, fake_teardown)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "", "first line" },
		{ "umbra-passphrase 2\n", "first line" },
		{ "umbra-passphrase 1\n", "second line" },
		{ "umbra-passphrase 1\niterations \n", "iterations must be" },
		{ FILE_OF("9999", CHECK_10000), "from 10000 to 20000000" },
		{ FILE_OF("20000001", CHECK_10000), "from 10000 to 20000000" },
		{ FILE_OF("4294977296", CHECK_10000), "second line" },
		{ FILE_OF("-10000", CHECK_10000), "second line" },
		{ "umbra-passphrase 1\niterations 10000\nsalt 00\n", "third line" },
		{ "umbra-passphrase 1\niterations 10000\ncheck 00\n", "third line" },
		{ FILE_OF("10000", ""), "last line" },
		{ FILE_OF("10000", "check 7924\n"), "last line" },
		{ FILE_OF("10000", CHECK_10000 "x"), "last line" },
		{ FILE_OF("10000", "check 7924D138ef21c436f649ca0a82c8a53f92253bc4292abc277ab8dd4"
				   "7b8fe83e6\n"),
		  "last line" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		const char *error = take(rows[i].text);

		assert_non_null(error);
		assert_non_null(strstr(error, rows[i].error));
		assert_false(key.locked);
	}
	/* Each beginning of a good file. */
	for (size_t bytes = 0; bytes < strlen(FILE_OF("10000", CHECK_10000)); bytes++) {
		char text[] = FILE_OF("10000", CHECK_10000);

		text[bytes] = '\0';
		assert_non_null(take(text));
	}
}

TEST(raw_key_files, setup, fake_teardown)
{
	uint8_t data[VM_KEY_FILE_MAX + 1] = { 1 };

	assert_non_null(strstr(key_file_take_raw(data, 31, &key), "exactly 32 or 64 bytes"));
	assert_non_null(strstr(key_file_take_raw(data, 65, &key), "exactly 32 or 64 bytes"));
	assert_non_null(strstr(key_file_take_raw(data + 1, 64, &key), "one byte repeated"));
	assert_int_equal(key.secret_bytes, 0);
	assert_null(key_file_take_raw(data, 64, &key));
	assert_int_equal(key.secret_bytes, 64);
	assert_memory_equal(key.secret, data, 64);
	assert_false(key.locked);
}
