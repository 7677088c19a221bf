/* SPDX-License-Identifier: Apache-2.0 */
/* HKDF with SHA-256 (RFC 5869): derives several keys from one secret, each under its own label. */
#ifndef UMBRA_CRYPTO_KDF_H
#define UMBRA_CRYPTO_KDF_H

#include "vmm/base/types.h"

#define KDF_SECRET_BYTES 32
#define KDF_SALT_BYTES	 32

/*
 * Extracts and expands: fills out from the secret. The salt has KDF_SALT_BYTES bytes and need not
 * be secret; NULL means no salt. label is the "info" of the RFC, without its final zero. Different
 * salts or labels give independent keys. Returns ERR_NOMEM if mbedTLS has no room for its contexts,
 * ERR_RANGE if out_bytes is above 255 * 32; out is zero then. Any CPU, no locks.
 */
int kdf_derive(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt, const char *label,
	       uint8_t *out, size_t out_bytes);

#endif
