/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/kdf.h"
#include "mbedtls/hkdf.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

#define SHA256_BYTES 32

int kdf_derive(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt, const char *label,
	       uint8_t *out, size_t out_bytes)
{
	const mbedtls_md_info_t *md = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
	int err = 0;

	if (out_bytes > 255 * SHA256_BYTES) {
		err = ERR_RANGE;
	} else if (mbedtls_hkdf(md, salt, salt != NULL ? KDF_SALT_BYTES : 0, secret, secret_bytes,
				(const uint8_t *)label, strlen(label), out, out_bytes) != 0) {
		err = ERR_NOMEM;
	}
	if (err != 0) {
		secure_zero(out, out_bytes);
	}
	return err;
}
