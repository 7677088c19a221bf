/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tags of sealed pages. POLYVAL (RFC 8452) hashes the page's name and its ciphertext under one key.
 * The tag is this hash, encrypted by AES-256 under another key. A page with another name or other
 * bytes gets another tag, except with a negligible probability: crypto/README.md has the
 * construction and its bound. page_cipher.h seals and opens pages with tags. This file has the
 * keys, the portable code, and the declarations of the fast code, which is in NASM (the kernels).
 */
#ifndef UMBRA_CRYPTO_PAGE_MAC_H
#define UMBRA_CRYPTO_PAGE_MAC_H

#include "vmm/base/types.h"

#define PAGE_TAG_BYTES 16
/* Two blocks. The first must not be zero: a zero block at the start does not change the hash. */
#define PAGE_NAME_BYTES 32
/* POLYVAL's key H, then the key of AES-256. */
#define PAGE_MAC_KEY_BYTES 48
/*
 * The number of tags after which a key should be replaced. Up to this number, an attempt to forge a
 * tag succeeds with a probability of at most about 2^-41.
 */
#define PAGE_MAC_TAGS_MAX BIT(40)

/* A kernel multiplies so many blocks, each by a power of H, before it reduces their sum. */
#define PAGE_MAC_POWERS 64u

/*
 * Both keys, expanded for use. The structure is secret: register it by wipe_register, or call
 * secure_zero on it after use.
 */
struct page_mac_key {
	uint64_t power[PAGE_MAC_POWERS][2];  /* H^64 to H */
	uint64_t halves[PAGE_MAC_POWERS][2]; /* of each power: the XOR of its halves, twice */
	uint64_t aes[36];
} __attribute__((aligned(64)));

/* One tag to make. The page is copied while it is hashed, so that it is read only once. */
struct page_mac_item {
	const void *in;
	void *out;	   /* equal to in, or another page */
	uint64_t bytes;	   /* 4096, or 0 for the tag of a name alone */
	uint8_t tweak[16]; /* only for kernels that encrypt or decrypt as well (page_cipher.c) */
	uint8_t name[PAGE_NAME_BYTES];
	uint8_t tag[PAGE_TAG_BYTES]; /* the result */
};

/* Expands the keys. Returns 0; ERR_INVAL if mbedTLS refuses the key. Any CPU, no locks. */
int page_mac_key_set(struct page_mac_key *out, const uint8_t key[PAGE_MAC_KEY_BYTES]);

/*
 * Copies the page and makes its tag, without a kernel. The hash takes a time that does not depend
 * on data. AES is mbedTLS's. Any CPU, no locks.
 */
void page_mac_portable(const struct page_mac_key *key, struct page_mac_item *item);

/* Returns the round keys of AES-256, 15 of 16 bytes each. They are a part of *key. */
const uint8_t *page_mac_round_keys(const struct page_mac_key *key);

/*
 * The kernels, by PCLMULQDQ. in and out must be aligned to 16 bytes. page_mac_xmm_past bypasses the
 * cache when it stores (MOVNTDQ), and needs an out that is aligned to 64 bytes. The caller saves
 * the vector registers (crypto/simd.h).
 */
typedef void page_mac_fn(const struct page_mac_key *key, const uint8_t *round_keys,
			 struct page_mac_item *item);
page_mac_fn page_mac_xmm, page_mac_xmm_past;

#endif
