/* SPDX-License-Identifier: Apache-2.0 */
/* For page_cipher.c and page_cipher_check.c: an implementation that is perhaps not in use. */
#ifndef UMBRA_CRYPTO_PAGE_CIPHER_PRIV_H
#define UMBRA_CRYPTO_PAGE_CIPHER_PRIV_H

#include "crypto/page_cipher.h"
#include "crypto/simd.h"

struct cipher;

struct engine {
	const struct cipher *cipher;
	struct simd_plan plan;
	bool wrapped; /* keys are in memory as the master key has wrapped them */
	bool refuses; /* page_cipher_refuse_keys */
};

/* page_cipher.c: as the public functions do it, with this implementation. */
bool engine_has_kernels(const struct engine *e);
int engine_set_key(const struct engine *e, struct page_key *out, const uint8_t *key,
		   size_t key_bytes);
void engine_run(const struct engine *e, const struct page_key *key, bool encrypt,
		const struct page_item *items, size_t count);
bool engine_exchange(const struct engine *e, struct page_job *seal, struct page_job *open);
void engine_tag_name(const struct engine *e, const struct page_mac_key *mac,
		     const uint8_t name[PAGE_NAME_BYTES], uint8_t tag[PAGE_TAG_BYTES]);
/* Decrypts one page, or returns false if its wrapped key was changed, instead of a panic. */
bool engine_unwraps(const struct engine *e, const struct page_key *key,
		    const struct page_item *item);

/* Inputs, outputs, and one page of what mbedTLS makes of an input. */
#define ENGINE_CHECK_ITEMS 3
#define ENGINE_CHECK_PAGES (2 * ENGINE_CHECK_ITEMS + 1)

/* page_cipher_check.c: false if it gives wrong bytes. pages: ENGINE_CHECK_PAGES of scratch. */
bool engine_agrees(const struct engine *e, size_t key_bytes, uint8_t *pages);
bool engine_tags_agree(const struct engine *e, size_t key_bytes, uint8_t *pages);
/* The loaded master key is kat_wrap_master, and e->wrapped is set. page: one page of scratch. */
bool engine_wraps(const struct engine *e, uint8_t *page);

#endif
