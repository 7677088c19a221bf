/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aes_xts.h"
#include "crypto/simd.h"
#include "mbedtls/aes.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"

struct xts_contexts {
	mbedtls_aes_xts_context enc;
	mbedtls_aes_xts_context dec;
};
_Static_assert(sizeof(struct xts_contexts) <= sizeof(struct aes_xts_key), "opaque is too small");
_Static_assert(_Alignof(struct xts_contexts) <= _Alignof(struct aes_xts_key), "alignment");

/* mbedTLS declares its contexts as not const, but only reads the round keys in them. */
static struct xts_contexts *contexts_of(const struct aes_xts_key *key)
{
	return (struct xts_contexts *)(uintptr_t)key->opaque;
}

static int crypt_unit(mbedtls_aes_xts_context *ctx, int mode, const uint8_t *tweak, const void *in,
		      void *out, size_t bytes)
{
	struct simd_save save;
	int ret;

	simd_begin(&save);
	ret = mbedtls_aes_crypt_xts(ctx, mode, bytes, tweak, in, out);
	simd_end(&save);
	return ret == 0 ? 0 : ERR_INVAL;
}

int aes_xts_set_key(struct aes_xts_key *out, const uint8_t *key, size_t key_bytes)
{
	struct xts_contexts *contexts = contexts_of(out);
	struct simd_save save;
	int ret;

	secure_zero(out, sizeof(*out));
	if ((key_bytes != 32 && key_bytes != 64) ||
	    ct_equal(key, key + key_bytes / 2, key_bytes / 2)) {
		return ERR_INVAL;
	}
	mbedtls_aes_xts_init(&contexts->enc);
	mbedtls_aes_xts_init(&contexts->dec);
	simd_begin(&save);
	ret = mbedtls_aes_xts_setkey_enc(&contexts->enc, key, (unsigned)key_bytes * 8);
	if (ret == 0) {
		ret = mbedtls_aes_xts_setkey_dec(&contexts->dec, key, (unsigned)key_bytes * 8);
	}
	simd_end(&save);
	if (ret != 0) {
		secure_zero(out, sizeof(*out));
		return ERR_INVAL;
	}
	return 0;
}

int aes_xts_encrypt(const struct aes_xts_key *key, const uint8_t tweak[AES_XTS_TWEAK_BYTES],
		    const void *in, void *out, size_t bytes)
{
	return crypt_unit(&contexts_of(key)->enc, MBEDTLS_AES_ENCRYPT, tweak, in, out, bytes);
}

int aes_xts_decrypt(const struct aes_xts_key *key, const uint8_t tweak[AES_XTS_TWEAK_BYTES],
		    const void *in, void *out, size_t bytes)
{
	return crypt_unit(&contexts_of(key)->dec, MBEDTLS_AES_DECRYPT, tweak, in, out, bytes);
}

/*
 * mbedTLS stores round keys as the AES instructions take them. page_cipher_init checks this at
 * boot.
 */
static const uint8_t *round_keys(const mbedtls_aes_context *aes)
{
	return (const uint8_t *)(aes->MBEDTLS_PRIVATE(buf) + aes->MBEDTLS_PRIVATE(rk_offset));
}

struct aes_xts_schedule aes_xts_schedule(const struct aes_xts_key *key, bool encrypt)
{
	const struct xts_contexts *contexts = contexts_of(key);
	const mbedtls_aes_xts_context *xts = encrypt ? &contexts->enc : &contexts->dec;
	const mbedtls_aes_context *data = &xts->MBEDTLS_PRIVATE(crypt);

	return (struct aes_xts_schedule){
		.data = round_keys(data),
		.tweak = round_keys(&xts->MBEDTLS_PRIVATE(tweak)),
		.rounds = (unsigned)data->MBEDTLS_PRIVATE(nr),
	};
}

bool aes_has_hardware(void)
{
	return (cpu_cpuid(1, 0).ecx & CPUID_1_ECX_AESNI) != 0;
}
