/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/selftest.h"

#include "crypto/aes_xts.h"
#include "crypto/kat_vectors.h"
#include "crypto/simd.h"
#include "mbedtls/ctr_drbg.h"
#include "mbedtls/hkdf.h"
#include "mbedtls/sha256.h"
#include "mbedtls/sha512.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

#define XTS_UNIT 512

struct xts_vector {
	const uint8_t *key;
	size_t key_bytes;
	const uint8_t *tweak;
	const uint8_t *cipher;
};

static bool xts_matches(const struct xts_vector *v)
{
	struct aes_xts_key key;
	uint8_t plain[XTS_UNIT];
	uint8_t buf[XTS_UNIT];
	bool good;
	size_t i;

	for (i = 0; i < sizeof(plain); i++) {
		plain[i] = (uint8_t)i;
	}
	good = aes_xts_set_key(&key, v->key, v->key_bytes) == 0 &&
	       aes_xts_encrypt(&key, v->tweak, plain, buf, sizeof(buf)) == 0 &&
	       ct_equal(buf, v->cipher, sizeof(buf)) &&
	       aes_xts_decrypt(&key, v->tweak, buf, buf, sizeof(buf)) == 0 &&
	       ct_equal(buf, plain, sizeof(buf));
	secure_zero(&key, sizeof(key));
	return good;
}

static bool test_xts_128(void)
{
	static const struct xts_vector v = {
		.key = kat_xts128_key,
		.key_bytes = sizeof(kat_xts128_key),
		.tweak = kat_xts128_tweak,
		.cipher = kat_xts128_cipher,
	};

	return xts_matches(&v);
}

static bool test_xts_256(void)
{
	static const struct xts_vector v = {
		.key = kat_xts256_key,
		.key_bytes = sizeof(kat_xts256_key),
		.tweak = kat_xts256_tweak,
		.cipher = kat_xts256_cipher,
	};

	return xts_matches(&v);
}

static int give_kat_entropy(void *unused, unsigned char *out, size_t bytes)
{
	if (bytes != sizeof(kat_drbg_entropy)) {
		return ERR_INVAL;
	}
	memcpy(out, kat_drbg_entropy, bytes);
	return 0;
}

/* The vector has two outputs, and its expected value is the second. */
static bool test_ctr_drbg(void)
{
	mbedtls_ctr_drbg_context drbg;
	struct simd_save save;
	uint8_t out[sizeof(kat_drbg_out)];
	bool good;

	mbedtls_ctr_drbg_init(&drbg);
	mbedtls_ctr_drbg_set_entropy_len(&drbg, sizeof(kat_drbg_entropy));
	simd_begin(&save);
	good = mbedtls_ctr_drbg_set_nonce_len(&drbg, 0) == 0 &&
	       mbedtls_ctr_drbg_seed(&drbg, give_kat_entropy, NULL, kat_drbg_nonce_perso,
				     sizeof(kat_drbg_nonce_perso)) == 0 &&
	       mbedtls_ctr_drbg_random_with_add(&drbg, out, sizeof(out), kat_drbg_add1,
						sizeof(kat_drbg_add1)) == 0 &&
	       mbedtls_ctr_drbg_random_with_add(&drbg, out, sizeof(out), kat_drbg_add2,
						sizeof(kat_drbg_add2)) == 0;
	simd_end(&save);
	mbedtls_ctr_drbg_free(&drbg);
	return good && ct_equal(out, kat_drbg_out, sizeof(out));
}

static bool test_sha_256(void)
{
	uint8_t digest[sizeof(kat_sha256_digest)];

	return mbedtls_sha256((const uint8_t *)kat_sha256_text, sizeof(kat_sha256_text) - 1, digest,
			      0) == 0 &&
	       ct_equal(digest, kat_sha256_digest, sizeof(digest));
}

static bool test_sha_512(void)
{
	uint8_t digest[sizeof(kat_sha512_digest)];

	return mbedtls_sha512((const uint8_t *)kat_sha512_text, sizeof(kat_sha512_text) - 1, digest,
			      0) == 0 &&
	       ct_equal(digest, kat_sha512_digest, sizeof(digest));
}

static bool test_hkdf(void)
{
	const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
	uint8_t okm[sizeof(kat_hkdf_okm)];

	return mbedtls_hkdf(sha256, kat_hkdf_salt, sizeof(kat_hkdf_salt), kat_hkdf_ikm,
			    sizeof(kat_hkdf_ikm), kat_hkdf_info, sizeof(kat_hkdf_info), okm,
			    sizeof(okm)) == 0 &&
	       ct_equal(okm, kat_hkdf_okm, sizeof(okm));
}

static const struct {
	const char *name;
	bool (*run)(void);
} known_answers[] = {
	{ "AES-128-XTS", test_xts_128 }, { "AES-256-XTS", test_xts_256 },
	{ "CTR_DRBG", test_ctr_drbg },	 { "SHA-256", test_sha_256 },
	{ "SHA-512", test_sha_512 },	 { "HKDF-SHA-256", test_hkdf },
};

int crypto_selftest(void)
{
	char names[96] = "";
	size_t used = 0;
	size_t i;

	for (i = 0; i < ARRAY_COUNT(known_answers); i++) {
		if (!known_answers[i].run()) {
			log_error("crypto: self-test failed: %s does not give the published "
				  "answer; this CPU or this image is broken",
				  known_answers[i].name);
			return ERR_SELFTEST;
		}
		used += str_printf(names + used, sizeof(names) - used, "%s%s", i != 0 ? ", " : "",
				   known_answers[i].name);
	}
	log_info("crypto: self-test passed (%s); AES by %s", names,
		 aes_has_hardware() ? "AES-NI" : "tables");
	if (!aes_has_hardware()) {
		log_warn("crypto: this CPU has no AES-NI; the portable AES is slow, and its timing "
			 "depends on keys through the cache");
	}
	return 0;
}
