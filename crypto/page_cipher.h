/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-XTS (IEEE Std 1619) over whole pages, many at a time. The fastest code that this CPU can run
 * does the work: VAES with 512 or 256 bits, AES-NI, or mbedTLS. All give the same bytes.
 */
#ifndef UMBRA_CRYPTO_PAGE_CIPHER_H
#define UMBRA_CRYPTO_PAGE_CIPHER_H

#include "crypto/aes_xts.h"
#include "crypto/page_mac.h"
#include "vmm/base/types.h"

#define PAGE_CIPHER_BYTES 4096
/*
 * The number of pages after which a key should be replaced: IEEE Std 1619-2018 allows 2^44 blocks
 * of 16 bytes under one key.
 */
#define PAGE_CIPHER_PAGES_MAX BIT(36)

/*
 * One page. in and out are equal or do not overlap, and both are aligned to 16 bytes. The tweak is
 * in mbedTLS' form: the data unit's number, little-endian. Two items of a call must not write the
 * same page, and an item must not read a page that an earlier item writes.
 */
struct page_item {
	const void *in;
	void *out;
	uint8_t tweak[AES_XTS_TWEAK_BYTES];
};

#define PAGE_KEY_BYTES	       64 /* AES-256-XTS */
#define PAGE_KEY_WRAPPED_BYTES (PAGE_KEY_BYTES + 8)

/*
 * Expanded keys for both directions; or a key as the master key has wrapped it (key_store.h).
 * Secret: register it by wipe_register, or secure_zero it after use.
 */
struct page_key {
	union {
		struct aes_xts_key xts;
		uint8_t wrapped[PAGE_KEY_WRAPPED_BYTES];
	};
} __attribute__((aligned(64)));

/*
 * Like aes_xts_set_key: key_bytes is 32 or 64; 64 if keys are wrapped. Returns ERR_INVAL for
 * another length or equal halves, and ERR_RIGHTS, which is logged, after page_cipher_refuse_keys.
 * The caller wipes `key`.
 */
int page_key_set(struct page_key *out, const uint8_t *key, size_t key_bytes);

/*
 * Encrypts or decrypts a batch of count pages under one key; a count of 0 does nothing. While one
 * page is processed, the next is fetched into the cache. A wrapped key is unwrapped once for the
 * batch. If it was changed, this panics. A batch runs to its end; the interrupt flag stays as the
 * caller set it. Any CPU, no locks, at most 3 KiB of stack and no other memory. The guest's vector
 * registers are preserved. page_encrypt writes past the cache where out differs from in and is
 * aligned to 64 bytes.
 */
void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count);
void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count);

/*
 * A page that is sealed or opened, perhaps with a tag. Pages are aligned to 16 bytes; out of a page
 * that is sealed with a tag, to 64.
 */
struct page_job {
	const struct page_key *key;
	const struct page_mac_key *mac; /* NULL: it has no tag; then only in, out and tweak count */
	const void *in;
	void *out;
	/*
	 * To seal with a tag without VPCLMULQDQ: the ciphertext is made in this page, which only
	 * the hypervisor knows, and copied to out while it is hashed: so the tag is that of what
	 * was encrypted, even if an attacker changes out meanwhile. It may be `in`. With VPCLMULQDQ
	 * the ciphertext is hashed in the registers in which it is made.
	 */
	void *scratch;
	uint8_t tweak[AES_XTS_TWEAK_BYTES];
	uint8_t name[PAGE_NAME_BYTES];
	uint8_t tag[PAGE_TAG_BYTES]; /* page_exchange makes it for seal, and expects it of open */
};

/*
 * Encrypts the page of seal, then decrypts that of open, which is fetched meanwhile. A page fault
 * that evicts a dirty page needs exactly this. One of them may be NULL. open may write the page
 * that seal read. A page with a tag is read from open->in once: what is hashed is what is
 * decrypted. Returns false, with zeros in open->out, if the tag is
 * not that of the name and the ciphertext. Locks, stack and registers as for page_encrypt.
 */
bool page_exchange(struct page_job *seal, struct page_job *open);

/* Makes the tag of a name without a page. */
void page_tag_name(const struct page_mac_key *mac, const uint8_t name[PAGE_NAME_BYTES],
		   uint8_t tag[PAGE_TAG_BYTES]);

/* Are tags made by VPCLMULQDQ here? Then they cost little beside the cipher. */
bool page_tags_are_fast(void);

/*
 * Checks every implementation that this CPU can run against mbedTLS, and its tags against known
 * answers, then selects the one that is wanted: "auto" (the fastest), "mbedtls", "aesni", "vaes256"
 * or "vaes512". Returns ERR_UNSUPPORTED if the CPU lacks it, ERR_INVAL for another name, ERR_NOMEM,
 * or ERR_SELFTEST if an implementation gives other bytes. Each error but ERR_NOMEM is logged. Until
 * this succeeds, mbedTLS is used. Bootstrap processor, before the first key.
 */
int page_cipher_init(const char *wanted);

/*
 * Wraps and unwraps a key by the master key that is loaded, and pages under a wrapped key:
 * compares with a known answer and with mbedTLS. The loaded key must be kat_wrap_master. Returns
 * ERR_UNSUPPORTED if the implementation in use is not vaes512, ERR_NOMEM, or ERR_SELFTEST.
 * Bootstrap processor.
 */
int page_cipher_check_wrapping(void);

/* From now on page_key_set wraps keys. After the check succeeded, before the first key. */
void page_cipher_wrap_keys(void);
/*
 * From now on page_key_set makes no key, because the configuration wants keys wrapped and this
 * machine cannot do that. Keys that exist stay valid. Boot processor, before the other CPUs start.
 */
void page_cipher_refuse_keys(void);
bool page_cipher_wraps_keys(void);

/* The name of the implementation in use. */
const char *page_cipher_name(void);

#endif
