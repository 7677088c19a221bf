/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mbedTLS' own PBKDF2 runs to its end in one call, and prepares the key for each HMAC again. Here
 * the two hashes that have taken the key in are kept and copied, so that an iteration costs Umbra
 * no more than an attacker: two blocks of SHA-512.
 */
#include "crypto/passphrase.h"

#include "crypto/mbedtls_config.h"
#include "crypto/wipe.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

#include <mbedtls/sha512.h>

#define BLOCK_BYTES	128 /* of SHA-512 */
#define HASH_BYTES	64
#define STEP_ITERATIONS 256u
#define CHECK_LABEL	"umbra passphrase check"
#define KEY_LABEL	"umbra passphrase key"

static struct {
	mbedtls_sha512_context inner, outer; /* after the key's block (RFC 2104) */
	uint8_t last[HASH_BYTES];	     /* U of the last iteration */
	uint8_t sum[HASH_BYTES];	     /* XOR of all U so far */
	uint8_t check[PASSPHRASE_CHECK_BYTES];
	uint32_t left; /* iterations */
} trial;

/* None of mbedTLS' functions for SHA-512 fails, unless a platform replaces them. */
static void must(int result)
{
	CHECK(result == 0);
}

/* Starts a hash with the key, which is at most a block long, combined with pad. */
static void take_key(mbedtls_sha512_context *hash, const char *key, size_t bytes, uint8_t pad)
{
	uint8_t block[BLOCK_BYTES];

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < bytes; i++) {
		block[i] ^= (uint8_t)key[i];
	}
	mbedtls_sha512_init(hash);
	must(mbedtls_sha512_starts(hash, 0));
	must(mbedtls_sha512_update(hash, block, sizeof(block)));
	secure_zero(block, sizeof(block));
}

/* HMAC of the data, to trial.last. */
static void hmac(const uint8_t *data, size_t bytes)
{
	mbedtls_sha512_context hash;

	mbedtls_sha512_init(&hash);
	mbedtls_sha512_clone(&hash, &trial.inner);
	must(mbedtls_sha512_update(&hash, data, bytes));
	must(mbedtls_sha512_finish(&hash, trial.last));
	mbedtls_sha512_clone(&hash, &trial.outer);
	must(mbedtls_sha512_update(&hash, trial.last, HASH_BYTES));
	must(mbedtls_sha512_finish(&hash, trial.last));
	mbedtls_sha512_free(&hash); /* wipes it */
}

int passphrase_begin(const struct passphrase *of, const char *text, size_t bytes)
{
	uint8_t first[PASSPHRASE_SALT_BYTES + 4] = { 0 };
	int err;

	if (of->iterations < PASSPHRASE_ITERATIONS_MIN ||
	    of->iterations > PASSPHRASE_ITERATIONS_MAX || bytes > BLOCK_BYTES) {
		return ERR_RANGE;
	}
	err = wipe_register(&trial, sizeof(trial));
	if (err != 0) {
		return err;
	}
	memcpy(first, of->salt, PASSPHRASE_SALT_BYTES);
	first[sizeof(first) - 1] = 1; /* the number of the only block of the result */
	memcpy(trial.check, of->check, sizeof(trial.check));
	take_key(&trial.inner, text, bytes, 0x36);
	take_key(&trial.outer, text, bytes, 0x5c);
	hmac(first, sizeof(first));
	memcpy(trial.sum, trial.last, HASH_BYTES);
	trial.left = of->iterations - 1;
	return 0;
}

bool passphrase_step(void)
{
	const uint32_t count = MIN(trial.left, STEP_ITERATIONS);

	for (uint32_t i = 0; i < count; i++) {
		hmac(trial.last, HASH_BYTES);
		for (size_t b = 0; b < HASH_BYTES; b++) {
			trial.sum[b] ^= trial.last[b];
		}
	}
	trial.left -= count;
	return trial.left != 0;
}

int passphrase_end(uint8_t secret[KDF_SECRET_BYTES])
{
	uint8_t check[PASSPHRASE_CHECK_BYTES];
	int err;

	CHECK(trial.left == 0);
	err = kdf_derive(trial.sum, HASH_BYTES, NULL, CHECK_LABEL, check, sizeof(check));
	if (err == 0 && !ct_equal(check, trial.check, sizeof(check))) {
		err = ERR_RIGHTS;
	}
	if (err == 0) {
		err = kdf_derive(trial.sum, HASH_BYTES, NULL, KEY_LABEL, secret, KDF_SECRET_BYTES);
	}
	secure_zero(check, sizeof(check));
	secure_zero(&trial, sizeof(trial));
	wipe_unregister(&trial);
	return err;
}
