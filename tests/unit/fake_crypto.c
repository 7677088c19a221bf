/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In place of crypto/: a cipher without secrecy, and random numbers that count up. Weak, so
 * that a test may define its own.
 */
#include <string.h>

#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"

#define WEAK __attribute__((weak))

/* XORs each byte with a value from the key, the tweak and its position; the inverse is the same. */
static void scramble(uint64_t key, const uint8_t *tweak, const void *in, void *out, size_t bytes)
{
	const uint8_t *from = in;
	uint8_t *to = out;

	for (size_t i = 0; i < bytes; i++) {
		to[i] = (uint8_t)(from[i] ^ 0xc5 ^ key ^ tweak[i % AES_XTS_TWEAK_BYTES] ^
				  i % AES_XTS_TWEAK_BYTES ^ i / 16);
	}
}

WEAK int page_key_set(struct page_key *out, const uint8_t *key, size_t key_bytes)
{
	memset(out, 0, sizeof(*out));
	out->xts.opaque[0] = key[0];
	return 0;
}

WEAK void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		scramble(key->xts.opaque[0], items[i].tweak, items[i].in, items[i].out,
			 PAGE_CIPHER_BYTES);
	}
}

WEAK void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	page_encrypt(key, items, count);
}

WEAK int aes_xts_encrypt(const struct aes_xts_key *key, const uint8_t tweak[AES_XTS_TWEAK_BYTES],
			 const void *in, void *out, size_t bytes)
{
	scramble(key->opaque[0], tweak, in, out, bytes);
	return 0;
}

WEAK int aes_xts_decrypt(const struct aes_xts_key *key, const uint8_t tweak[AES_XTS_TWEAK_BYTES],
			 const void *in, void *out, size_t bytes)
{
	return aes_xts_encrypt(key, tweak, in, out, bytes);
}

WEAK int rng_bytes(void *buf, size_t bytes)
{
	static uint8_t next;

	memset(buf, ++next, bytes);
	return 0;
}

WEAK int wipe_register(void *area, size_t bytes)
{
	return 0;
}

WEAK void wipe_unregister(const void *area)
{
}
