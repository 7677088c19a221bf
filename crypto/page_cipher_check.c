/* SPDX-License-Identifier: Apache-2.0 */
/* What each implementation of the page cipher must do before it holds keys. No state. */
#include "crypto/kat_vectors.h"
#include "crypto/page_cipher_priv.h"
#include "vmm/base/str.h"

/* Encrypts to another page, compares with mbedTLS, decrypts in place, compares with the input. */
bool engine_agrees(const struct engine *e, size_t key_bytes, uint8_t *pages)
{
	struct page_item items[ENGINE_CHECK_ITEMS], back[ENGINE_CHECK_ITEMS];
	uint8_t *expected = pages + 2 * ENGINE_CHECK_ITEMS * PAGE_CIPHER_BYTES;
	uint8_t bytes[PAGE_KEY_BYTES];
	struct aes_xts_key reference;
	struct page_key key;
	bool good;

	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(37 * i + key_bytes);
	}
	for (size_t i = 0; i < ENGINE_CHECK_ITEMS * PAGE_CIPHER_BYTES; i++) {
		pages[i] = (uint8_t)(i * i >> 7 ^ i);
	}
	good = aes_xts_set_key(&reference, bytes, key_bytes) == 0 &&
	       engine_set_key(e, &key, bytes, key_bytes) == 0;
	for (size_t i = 0; i < ENGINE_CHECK_ITEMS; i++) {
		items[i].in = pages + i * PAGE_CIPHER_BYTES;
		items[i].out = pages + (ENGINE_CHECK_ITEMS + i) * PAGE_CIPHER_BYTES;
		memset(items[i].tweak, (int)(0x80 + 85 * i), sizeof(items[i].tweak));
		back[i] = items[i];
		back[i].in = back[i].out;
	}
	engine_run(e, &key, true, items, ENGINE_CHECK_ITEMS);
	for (size_t i = 0; i < ENGINE_CHECK_ITEMS; i++) {
		good = aes_xts_encrypt(&reference, items[i].tweak, items[i].in, expected,
				       PAGE_CIPHER_BYTES) == 0 &&
		       ct_equal(items[i].out, expected, PAGE_CIPHER_BYTES) && good;
	}
	engine_run(e, &key, false, back, ENGINE_CHECK_ITEMS);
	secure_zero(&key, sizeof(key));
	return good && ct_equal(pages, pages + ENGINE_CHECK_ITEMS * PAGE_CIPHER_BYTES,
				ENGINE_CHECK_ITEMS * PAGE_CIPHER_BYTES);
}

/*
 * Opens the first page as if it were ciphertext with the known tag, and seals the result: this must
 * give the same page and tag again. mbedTLS must encrypt the result to the same page, too.
 */
static bool tag_is(const struct engine *e, const struct page_job *known, uint8_t *pages)
{
	uint8_t *text = pages + PAGE_CIPHER_BYTES, *again = text + PAGE_CIPHER_BYTES;
	struct page_job open = *known, seal = *known;
	bool good;

	open.in = pages;
	open.out = text;
	seal.in = text;
	seal.out = again;
	seal.scratch = again + PAGE_CIPHER_BYTES;
	memset(seal.tag, 0, sizeof(seal.tag));
	good = engine_exchange(e, NULL, &open);
	(void)engine_exchange(e, &seal, NULL);
	good = ct_equal(again, pages, PAGE_CIPHER_BYTES) && good;
	good = ct_equal(seal.tag, known->tag, sizeof(seal.tag)) && good;
	return aes_xts_encrypt(&known->key->xts, known->tweak, text, again, PAGE_CIPHER_BYTES) ==
		       0 &&
	       ct_equal(again, pages, PAGE_CIPHER_BYTES) && good;
}

/*
 * Compares with known tags: of a name alone and of a page with this name; with the shorter key, of
 * the page with a name of zeros.
 */
bool engine_tags_agree(const struct engine *e, size_t key_bytes, uint8_t *pages)
{
	struct page_mac_key mac;
	struct page_key key;
	struct page_job job = { .key = &key, .mac = &mac, .tweak = { 1 } };
	uint8_t bytes[64], tag[PAGE_TAG_BYTES];
	bool good;

	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)i;
	}
	for (size_t i = 0; i < PAGE_CIPHER_BYTES; i++) {
		pages[i] = (uint8_t)(7 * i + i / 256);
	}
	good = page_mac_key_set(&mac, kat_tag_key) == 0 &&
	       engine_set_key(e, &key, bytes, key_bytes) == 0;
	engine_tag_name(e, &mac, kat_tag_name, tag);
	good = ct_equal(tag, kat_tag_of_name, sizeof(tag)) && good;
	if (key_bytes == 64) {
		memcpy(job.name, kat_tag_name, sizeof(job.name));
		memcpy(job.tag, kat_tag_of_both, sizeof(job.tag));
	} else {
		memcpy(job.tag, kat_tag_of_page, sizeof(job.tag));
	}
	good = tag_is(e, &job, pages) && good;
	secure_zero(&mac, sizeof(mac));
	secure_zero(&key, sizeof(key));
	return good;
}

/* A known answer, and a key that was changed. */
bool engine_wraps(const struct engine *e, uint8_t *page)
{
	const struct page_item item = { .in = page, .out = page };
	struct page_key key;
	bool good = engine_set_key(e, &key, kat_wrap_key, sizeof(kat_wrap_key)) == 0 &&
		    ct_equal(key.wrapped, kat_wrapped_key, sizeof(kat_wrapped_key));

	key.wrapped[PAGE_KEY_WRAPPED_BYTES - 1] ^= 1;
	return !engine_unwraps(e, &key, &item) && good;
}
