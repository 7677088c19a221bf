/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In place of crypto/: a cipher without secrecy, and random numbers that count up. Weak, so
 * that a test may define its own.
 */
#include <string.h>

#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "tests/unit/fake_base.h"
#include "vmm/base/err.h"

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

WEAK int page_mac_key_set(struct page_mac_key *out, const uint8_t key[PAGE_MAC_KEY_BYTES])
{
	memset(out, 0, sizeof(*out));
	out->power[0][0] = key[0];
	return 0;
}

/* A sum, in which each byte's place counts. */
static void sum_up(const struct page_job *job, const uint8_t *page, uint64_t tag[2])
{
	tag[0] = job->mac->power[0][0];
	tag[1] = 0;
	for (size_t i = 0; i < PAGE_NAME_BYTES + PAGE_CIPHER_BYTES; i++) {
		tag[0] = tag[0] * 31 +
			 (i < PAGE_NAME_BYTES ? job->name[i] : page[i - PAGE_NAME_BYTES]);
		tag[1] += tag[0];
	}
}

WEAK bool page_exchange(struct page_job *seal, struct page_job *open)
{
	uint64_t tag[2];

	if (seal != NULL) {
		scramble(seal->key->xts.opaque[0], seal->tweak, seal->in,
			 seal->mac != NULL ? seal->scratch : seal->out, PAGE_CIPHER_BYTES);
	}
	if (seal != NULL && seal->mac != NULL) {
		sum_up(seal, seal->scratch, tag);
		memcpy(seal->tag, tag, sizeof(tag));
		memmove(seal->out, seal->scratch, PAGE_CIPHER_BYTES);
	}
	if (open != NULL && open->mac != NULL) {
		sum_up(open, open->in, tag);
		if (memcmp(open->tag, tag, sizeof(tag)) != 0) {
			memset(open->out, 0, PAGE_CIPHER_BYTES);
			return false;
		}
	}
	if (open != NULL) {
		scramble(open->key->xts.opaque[0], open->tweak, open->in, open->out,
			 PAGE_CIPHER_BYTES);
	}
	return true;
}

WEAK bool page_tags_are_fast(void)
{
	return false;
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

/* The areas of wipe.h; an area that leaves the list must have been zeroed. */
static struct {
	const void *base; /* NULL: free */
	size_t bytes;
} areas[WIPE_AREA_MAX];

static size_t find_area(const void *base)
{
	size_t at = 0;

	while (at < WIPE_AREA_MAX && areas[at].base != base) {
		at++;
	}
	return at;
}

WEAK int wipe_register(void *area, size_t bytes)
{
	size_t at = find_area(area); /* one of an earlier test, which did not end it */

	at = at < WIPE_AREA_MAX ? at : find_area(NULL);
	if (at == WIPE_AREA_MAX) {
		return ERR_NOMEM;
	}
	areas[at].base = area;
	areas[at].bytes = bytes;
	return 0;
}

WEAK void wipe_unregister(const void *area)
{
	const size_t at = area != NULL ? find_area(area) : WIPE_AREA_MAX;

	if (at == WIPE_AREA_MAX) {
		return;
	}
	for (size_t i = 0; i < areas[at].bytes; i++) {
		if (((const uint8_t *)area)[i] != 0) {
			fake_fail("%zu bytes that were to be wiped are not", areas[at].bytes);
		}
	}
	areas[at].base = NULL;
}

WEAK uint32_t wipe_count(void)
{
	uint32_t count = 0;

	for (size_t i = 0; i < WIPE_AREA_MAX; i++) {
		count += areas[i].base != NULL;
	}
	return count;
}
