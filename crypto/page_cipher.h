/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-XTS (IEEE Std 1619) over whole pages, many at a time, by the fastest code that this CPU has:
 * VAES with 512 or 256 bits, AES-NI, or mbedTLS. All give the same bytes.
 */
#ifndef UMBRA_CRYPTO_PAGE_CIPHER_H
#define UMBRA_CRYPTO_PAGE_CIPHER_H

#include "crypto/aes_xts.h"
#include "vmm/base/types.h"

#define PAGE_CIPHER_BYTES 4096

/*
 * One page. in and out are equal, or do not overlap; both aligned to 16 bytes. The tweak is what
 * mbedTLS takes: the data unit's number, little-endian. No two items of a call may write the same
 * page, nor one read what an earlier one writes.
 */
struct page_item {
	const void *in;
	void *out;
	uint8_t tweak[AES_XTS_TWEAK_BYTES];
};

/* Expanded keys for both directions. Secret: wipe_register it, or secure_zero it after use. */
struct page_key {
	struct aes_xts_key xts;
} __attribute__((aligned(64)));

/* As aes_xts_set_key: 32 or 64 bytes; ERR_INVAL for another length or equal halves. */
int page_key_set(struct page_key *out, const uint8_t *key, size_t key_bytes);

/*
 * While one page is worked on, the next is fetched into the cache. A batch is for pages under one
 * key; it runs to its end with the caller's interrupt state. Any CPU, no locks, no memory beyond
 * 3 KiB of stack. The guest's vector registers are kept. Pages that page_encrypt writes elsewhere
 * (out not in, aligned to 64 bytes) go past the cache. A count of 0 does nothing.
 */
void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count);
void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count);

/*
 * Encrypts the one, then decrypts the other, which is fetched meanwhile: what a fault with a dirty
 * victim needs. The second may write the page that the first one read.
 */
void page_exchange(const struct page_key *seal_key, const struct page_item *seal,
		   const struct page_key *open_key, const struct page_item *open);

/*
 * Checks each code that this CPU can run against mbedTLS, then takes the one wanted: "auto" (the
 * fastest), "mbedtls", "aesni", "vaes256" or "vaes512". ERR_UNSUPPORTED when the CPU lacks it,
 * ERR_INVAL for another name, ERR_NOMEM, ERR_SELFTEST when one gives other bytes than mbedTLS; each
 * logged. Until it succeeds mbedTLS runs. Bootstrap processor, before the first key.
 */
int page_cipher_init(const char *wanted);

/* The name of what runs. */
const char *page_cipher_name(void);

#endif
