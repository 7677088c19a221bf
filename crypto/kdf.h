/* SPDX-License-Identifier: Apache-2.0 */
/* HKDF with SHA-256 (RFC 5869): several keys from one secret, each by its own label. */
#ifndef UMBRA_CRYPTO_KDF_H
#define UMBRA_CRYPTO_KDF_H

#include "vmm/base/types.h"

#define KDF_SECRET_BYTES 32
#define KDF_SALT_BYTES	 32

/*
 * Extract and expand: fills out from the secret. The salt has KDF_SALT_BYTES and need not be
 * secret, or is NULL; label is the "info" of the RFC, without its zero. Other salts and other
 * labels give independent keys. ERR_NOMEM when mbedTLS has no room for its contexts, ERR_RANGE
 * beyond 255 * 32 bytes; out is zero then. Any CPU, no locks.
 */
int kdf_derive(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt, const char *label,
	       uint8_t *out, size_t out_bytes);

#endif
