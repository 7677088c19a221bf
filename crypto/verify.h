/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, and signatures of ECDSA on the curve P-256 (FIPS 186-5). Nothing here is secret. */
#ifndef UMBRA_CRYPTO_VERIFY_H
#define UMBRA_CRYPTO_VERIFY_H

#include "vmm/base/types.h"

#define VERIFY_HASH_BYTES      32
#define VERIFY_POINT_BYTES     64 /* a public key: x, then y, 32 bytes each, big-endian */
#define VERIFY_SIGNATURE_BYTES 64 /* r, then s, 32 bytes each, big-endian */

/* Writes the SHA-256 of the data. Returns 0, or ERR_SELFTEST if mbedTLS fails. Any CPU. */
int verify_sha256(const void *data, size_t bytes, uint8_t hash[VERIFY_HASH_BYTES]);

/*
 * Checks a signature of this hash. Returns 0 if the owner of the key made it, and ERR_FORMAT if
 * not, if the point is not on the curve, or if memory for the computation ran out. One CPU at a
 * time: the computation takes most of the slots of mbedtls_port.c.
 */
int verify_p256(const uint8_t point[VERIFY_POINT_BYTES], const uint8_t hash[VERIFY_HASH_BYTES],
		const uint8_t signature[VERIFY_SIGNATURE_BYTES]);

#endif
