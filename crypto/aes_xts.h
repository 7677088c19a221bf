/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-XTS (IEEE Std 1619) over one data unit. mbedTLS does the work, with AES-NI where the CPU has
 * it.
 */
#ifndef UMBRA_CRYPTO_AES_XTS_H
#define UMBRA_CRYPTO_AES_XTS_H

#include "vmm/base/types.h"

#define AES_XTS_TWEAK_BYTES 16

/* Expanded keys for both directions. Secret: register it with wipe.h if it outlives a function. */
struct aes_xts_key {
	uint64_t opaque[160];
};

/*
 * Expands a key. key holds the data key and then the tweak key: 32 bytes for AES-128-XTS, 64 for
 * AES-256-XTS. Returns ERR_INVAL if the length is another one or the two halves are equal (SP
 * 800-38E, as FIPS 140 reads it); out is zero then. Any CPU, no locks.
 */
int aes_xts_set_key(struct aes_xts_key *out, const uint8_t *key, size_t key_bytes);

/*
 * Encrypts or decrypts one data unit of 16 to 2^24 bytes. in and out are equal or do not overlap.
 * The tweak is the data unit's number, little-endian. Returns ERR_INVAL if the length is out of
 * bounds. Any CPU, no locks.
 */
int aes_xts_encrypt(const struct aes_xts_key *key, const uint8_t tweak[AES_XTS_TWEAK_BYTES],
		    const void *in, void *out, size_t bytes);
int aes_xts_decrypt(const struct aes_xts_key *key, const uint8_t tweak[AES_XTS_TWEAK_BYTES],
		    const void *in, void *out, size_t bytes);

/*
 * The round keys, in the order in which AES uses them: rounds + 1 of them, 16 bytes each. The
 * pointers lead into the aes_xts_key.
 */
struct aes_xts_schedule {
	const uint8_t *data;
	const uint8_t *tweak;
	unsigned rounds; /* 10 or 14 */
};
struct aes_xts_schedule aes_xts_schedule(const struct aes_xts_key *key, bool encrypt);

/*
 * Whether the CPU has AES-NI. Without it table-based code runs, whose timing depends on keys
 * through the cache.
 */
bool aes_has_hardware(void);

#endif
