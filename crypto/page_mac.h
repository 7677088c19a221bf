/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tags of sealed pages: AES-256 under one key of POLYVAL (RFC 8452) under another, over a name and
 * the ciphertext. A page under another name, or with other bytes, has another tag. crypto/README.md
 * has the construction and its bound. page_cipher.h seals and opens pages with tags; this file has
 * the keys and the portable code.
 */
#ifndef UMBRA_CRYPTO_PAGE_MAC_H
#define UMBRA_CRYPTO_PAGE_MAC_H

#include "vmm/base/types.h"

#define PAGE_TAG_BYTES 16
/* Two blocks. The first one must not be zero, or it would not count. */
#define PAGE_NAME_BYTES 32
/* POLYVAL's key H, then the key of AES-256. */
#define PAGE_MAC_KEY_BYTES 48
/*
 * So many tags may be made under one key. Then an attacker's attempt succeeds with a probability
 * below 2^-41.
 */
#define PAGE_MAC_TAGS_MAX BIT(40)

/* The kernels process so many blocks before they reduce, and need as many powers of H. */
#define PAGE_MAC_POWERS 64u

/*
 * What both keys are expanded to. Secret: register it by wipe_register, or secure_zero it after
 * use.
 */
struct page_mac_key {
	uint64_t power[PAGE_MAC_POWERS][2];  /* H^64 to H */
	uint64_t halves[PAGE_MAC_POWERS][2]; /* of each power: both halves, added; twice */
	uint64_t aes[36];
} __attribute__((aligned(64)));

/* One tag to make. The ciphertext is copied on the way, so that it is read only once. */
struct page_mac_item {
	const void *in;
	void *out;	/* equal to in, or another page */
	uint64_t bytes; /* 4096, or 0 for the tag of a name alone */
	uint8_t name[PAGE_NAME_BYTES];
	uint8_t tag[PAGE_TAG_BYTES]; /* the result */
};

/* Expands the keys. Returns 0; ERR_INVAL if mbedTLS refuses the key. Any CPU, no locks. */
int page_mac_key_set(struct page_mac_key *out, const uint8_t key[PAGE_MAC_KEY_BYTES]);

/*
 * Copies the page and makes its tag by portable code, whose time does not depend on data, with
 * mbedTLS for AES. The reference for the kernels. Any CPU, no locks.
 */
void page_mac_portable(const struct page_mac_key *key, struct page_mac_item *item);

/* The round keys of AES-256: 15 of them, 16 bytes each. The pointer leads into the key. */
const uint8_t *page_mac_round_keys(const struct page_mac_key *key);

/*
 * The kernels, in NASM. in and out are aligned to 16 bytes. The kernels whose name ends in "past"
 * store past the cache; out must be aligned to 64 bytes. The caller saves the vector registers
 * (crypto/simd.h).
 */
typedef void page_mac_fn(const struct page_mac_key *key, const uint8_t *round_keys,
			 struct page_mac_item *item);
page_mac_fn page_mac_xmm, page_mac_xmm_past;
page_mac_fn page_mac_ymm, page_mac_ymm_past;
page_mac_fn page_mac_zmm, page_mac_zmm_past;

#endif
