/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Umbra uses of mbedTLS 3.6: AES (XTS), CTR_DRBG, SHA-256/512, HMAC, HKDF and the check of
 * signatures of ECDSA on the curve P-256. mbedTLS' own
 * entropy, time, file and threading layers are left out: rng.c feeds the DRBG and holds the lock,
 * and mbedtls_port.c is the platform.
 */
#ifndef UMBRA_CRYPTO_MBEDTLS_CONFIG_H
#define UMBRA_CRYPTO_MBEDTLS_CONFIG_H

/*
 * mbedTLS' inline assembly uses AES-NI without intrinsics, so that -mgeneral-regs-only holds
 * everywhere.
 */
#define MBEDTLS_HAVE_ASM
#define MBEDTLS_AESNI_C

/*
 * The portable AES is for CPUs without AES-NI. Its tables are constants: if they were generated at
 * run time, CPUs would race to fill them.
 */
#define MBEDTLS_AES_C
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_CIPHER_MODE_XTS
#define MBEDTLS_CTR_DRBG_C

#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA512_C
#define MBEDTLS_MD_C
#define MBEDTLS_HKDF_C

/*
 * Signatures are only checked, never made, so nothing here is secret. A small window keeps each
 * table of points within a slot of mbedtls_port.c; a check takes some milliseconds.
 */
#define MBEDTLS_BIGNUM_C
#define MBEDTLS_NO_UDBL_DIVISION /* that is a function of libgcc */
#define MBEDTLS_ECP_C
#define MBEDTLS_ECP_DP_SECP256R1_ENABLED
#define MBEDTLS_ECP_NIST_OPTIM
#define MBEDTLS_ECP_WINDOW_SIZE	      2
#define MBEDTLS_ECP_FIXED_POINT_OPTIM 0
#define MBEDTLS_ECDSA_C
#define MBEDTLS_ASN1_PARSE_C
#define MBEDTLS_ASN1_WRITE_C

/* MD and the big numbers allocate memory; crypto/mbedtls_port.c has slots for it. */
#define MBEDTLS_PLATFORM_C
#define MBEDTLS_PLATFORM_MEMORY
#define MBEDTLS_PLATFORM_CALLOC_MACRO crypto_calloc
#define MBEDTLS_PLATFORM_FREE_MACRO   crypto_free
#define MBEDTLS_PLATFORM_ZEROIZE_ALT

#include <stddef.h>

void *crypto_calloc(size_t count, size_t bytes);
void crypto_free(void *p);

#endif
