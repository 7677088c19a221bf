/* SPDX-License-Identifier: Apache-2.0 */
/* boot/manifest.c and crypto/verify.c: what is accepted, and each way in which it is not. */
#include <stdlib.h>

#include <mbedtls/ecdsa.h>

#include "tests/unit/test.h"
#include "boot/manifest.h"
#include "vmm/base/err.h"

static uint8_t point[VERIFY_POINT_BYTES];
static mbedtls_ecdsa_context owner;

/* Not random: the key is for this test alone. */
static int draw(void *state, unsigned char *out, size_t bytes)
{
	static uint8_t at;

	for (size_t i = 0; i < bytes; i++) {
		out[i] = (uint8_t)(at++ * 37 + 11);
	}
	return 0;
}

static void sign_hash(const uint8_t *hash, uint8_t signature[VERIFY_SIGNATURE_BYTES])
{
	mbedtls_mpi r, s;

	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	assert_int_equal(mbedtls_ecdsa_sign(&owner.private_grp, &r, &s, &owner.private_d, hash,
					    VERIFY_HASH_BYTES, draw, NULL),
			 0);
	assert_int_equal(mbedtls_mpi_write_binary(&r, signature, 32), 0);
	assert_int_equal(mbedtls_mpi_write_binary(&s, signature + 32, 32), 0);
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&s);
}

static int setup(void **state)
{
	uint8_t octets[65];
	size_t bytes;
	int err = fake_setup(state);

	mbedtls_ecdsa_init(&owner);
	assert_int_equal(mbedtls_ecdsa_genkey(&owner, MBEDTLS_ECP_DP_SECP256R1, draw, NULL), 0);
	assert_int_equal(mbedtls_ecp_point_write_binary(&owner.private_grp, &owner.private_Q,
							MBEDTLS_ECP_PF_UNCOMPRESSED, &bytes, octets,
							sizeof(octets)),
			 0);
	memcpy(point, octets + 1, sizeof(point));
	return err;
}

static int teardown(void **state)
{
	mbedtls_ecdsa_free(&owner);
	return fake_teardown(state);
}

/* RFC 6979, A.2.5: P-256, SHA-256, "sample". */
TEST(the_published_signature_is_accepted, setup, teardown)
{
	static const uint8_t key[] = {
		0x60, 0xfe, 0xd4, 0xba, 0x25, 0x5a, 0x9d, 0x31, 0xc9, 0x61, 0xeb, 0x74, 0xc6,
		0x35, 0x6d, 0x68, 0xc0, 0x49, 0xb8, 0x92, 0x3b, 0x61, 0xfa, 0x6c, 0xe6, 0x69,
		0x62, 0x2e, 0x60, 0xf2, 0x9f, 0xb6, 0x79, 0x03, 0xfe, 0x10, 0x08, 0xb8, 0xbc,
		0x99, 0xa4, 0x1a, 0xe9, 0xe9, 0x56, 0x28, 0xbc, 0x64, 0xf2, 0xf1, 0xb2, 0x0c,
		0x2d, 0x7e, 0x9f, 0x51, 0x77, 0xa3, 0xc2, 0x94, 0xd4, 0x46, 0x22, 0x99,
	};
	static const uint8_t signature[] = {
		0xef, 0xd4, 0x8b, 0x2a, 0xac, 0xb6, 0xa8, 0xfd, 0x11, 0x40, 0xdd, 0x9c, 0xd4,
		0x5e, 0x81, 0xd6, 0x9d, 0x2c, 0x87, 0x7b, 0x56, 0xaa, 0xf9, 0x91, 0xc3, 0x4d,
		0x0e, 0xa8, 0x4e, 0xaf, 0x37, 0x16, 0xf7, 0xcb, 0x1c, 0x94, 0x2d, 0x65, 0x7c,
		0x41, 0xd4, 0x36, 0xc7, 0xa1, 0xb6, 0xe2, 0x9f, 0x65, 0xf3, 0xe9, 0x00, 0xdb,
		0xb9, 0xaf, 0xf4, 0x06, 0x4d, 0xc4, 0xab, 0x2f, 0x84, 0x3a, 0xcd, 0xa8,
	};
	uint8_t hash[VERIFY_HASH_BYTES], wrong[VERIFY_SIGNATURE_BYTES];

	assert_int_equal(verify_sha256("sample", 6, hash), 0);
	assert_int_equal(verify_p256(key, hash, signature), 0);
	for (size_t i = 0; i < sizeof(signature); i += 9) {
		memcpy(wrong, signature, sizeof(wrong));
		wrong[i] ^= 1;
		assert_int_equal(verify_p256(key, hash, wrong), ERR_FORMAT);
		memcpy(wrong, key, sizeof(wrong));
		wrong[i] ^= 1; /* no longer on the curve */
		assert_int_equal(verify_p256(wrong, hash, signature), ERR_FORMAT);
	}
	hash[0] ^= 1;
	assert_int_equal(verify_p256(key, hash, signature), ERR_FORMAT);
}

/* Numbers for which every hash would fit if the range of r and s were not checked. */
TEST(zero_and_the_order_are_no_signature, setup, teardown)
{
	static const uint8_t order[32] = {
		0xff, 0xff, 0xff, 0xff, 0,    0,    0,	  0,	0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
		0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
	};
	const uint8_t hash[VERIFY_HASH_BYTES] = { 0 };
	uint8_t signature[VERIFY_SIGNATURE_BYTES] = { 0 };

	assert_int_equal(verify_p256(point, hash, signature), ERR_FORMAT);
	memcpy(signature, order, sizeof(order));
	memcpy(signature + 32, order, sizeof(order));
	assert_int_equal(verify_p256(point, hash, signature), ERR_FORMAT);
}

/* Opens a manifest that its owner has signed; a copy, so that ASan detects a read beyond it. */
static const char *open_signed(const char *text, struct manifest *out, char **copy)
{
	const size_t bytes = strlen(text);
	uint8_t hash[VERIFY_HASH_BYTES], signature[VERIFY_SIGNATURE_BYTES];

	*copy = malloc(bytes);
	memcpy(*copy, text, bytes);
	assert_int_equal(verify_sha256(text, bytes, hash), 0);
	sign_hash(hash, signature);
	return manifest_open(point, *copy, bytes, signature, sizeof(signature), out);
}

#define HASH_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define GOOD                            \
	"umbra-manifest 1\nversion 7\n" \
	"sha256 " HASH_OF_ABC " \\umbra\\kernel\n"

TEST(a_file_is_compared_with_its_line, setup, teardown)
{
	struct manifest manifest;
	char *copy;

	assert_null(open_signed(GOOD, &manifest, &copy));
	assert_int_equal(manifest.version, 7);
	assert_null(manifest_check(&manifest, "\\umbra\\kernel", 13, "abc", 3));
	assert_null(manifest_check(&manifest, "\\UMBRA\\Kernel,\\more", 13, "abc", 3));
	assert_non_null(strstr(manifest_check(&manifest, "\\umbra\\kernel", 13, "abd", 3),
			       "not the file that was signed"));
	assert_non_null(manifest_check(&manifest, "\\umbra\\kernel", 13, "abc", 2));
	assert_string_equal(manifest_check(&manifest, "\\umbra\\kerne", 12, "abc", 3),
			    "the manifest does not name it");
	assert_non_null(manifest_check(&manifest, "\\umbra\\kernel2", 14, "abc", 3));
	free(copy);
}

TEST(another_key_and_other_text_are_refused, setup, teardown)
{
	const size_t bytes = strlen(GOOD);
	uint8_t hash[VERIFY_HASH_BYTES], signature[VERIFY_SIGNATURE_BYTES];
	struct manifest manifest;
	char text[sizeof(GOOD)] = GOOD;

	assert_int_equal(verify_sha256(text, bytes, hash), 0);
	sign_hash(hash, signature);
	assert_null(manifest_open(point, text, bytes, signature, sizeof(signature), &manifest));
	assert_non_null(manifest_open(point, text, bytes, signature, 63, &manifest));
	assert_non_null(manifest_open(point, text, bytes - 1, signature, 64, &manifest));
	assert_null(manifest.text);
	text[bytes - 2] ^= 1;
	assert_non_null(strstr(manifest_open(point, text, bytes, signature, 64, &manifest),
			       "not made with the key of this image"));
	text[bytes - 2] ^= 1;
	mbedtls_ecdsa_free(&owner);
	(void)setup(state);
	assert_non_null(manifest_open(point, text, bytes, signature, 64, &manifest));
}

TEST(lines_that_are_not_the_format, setup, teardown)
{
	static const char *const wrong[] = {
		"umbra-manifest 2\nversion 7\n",
		"umbra-manifest 1 \nversion 7\n",
		"umbra-manifest 1\n",
		"umbra-manifest 1\nversion 0\n",
		"umbra-manifest 1\nversion 07\n",
		"umbra-manifest 1\nversion 1000000000\n",
		"umbra-manifest 1\nversion 7x\n",
		"umbra-manifest 1\nversion 7",
		GOOD "sha256 " HASH_OF_ABC " \\cut",
		GOOD "sha256 " HASH_OF_ABC " no-root\n",
		GOOD "sha256 " HASH_OF_ABC "\n",
		GOOD "sha256 " HASH_OF_ABC " \\\x7f\n",
		GOOD
		"sha256 Aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad \\a\n",
		GOOD "sha256 ba7816bf \\a\n",
		GOOD "sha512 " HASH_OF_ABC " \\a\n",
		GOOD "\n",
	};
	struct manifest manifest;
	char *copy;

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		assert_non_null(open_signed(wrong[i], &manifest, &copy));
		assert_null(manifest.text);
		free(copy);
	}
	copy = calloc(1, MANIFEST_MAX + 1);
	assert_string_equal(manifest_open(point, copy, MANIFEST_MAX + 1, point, 64, &manifest),
			    "it is longer than 256 KiB");
	free(copy);
}
