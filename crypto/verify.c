/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/verify.h"

#include "crypto/mbedtls_config.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <mbedtls/sha256.h>

#define NUMBER_BYTES 32
#define UNCOMPRESSED 4 /* SEC 1, 2.3.3: the octet before x and y */

int verify_sha256(const void *data, size_t bytes, uint8_t hash[VERIFY_HASH_BYTES])
{
	return mbedtls_sha256(data, bytes, hash, 0) == 0 ? 0 : ERR_SELFTEST;
}

int verify_p256(const uint8_t point[VERIFY_POINT_BYTES], const uint8_t hash[VERIFY_HASH_BYTES],
		const uint8_t signature[VERIFY_SIGNATURE_BYTES])
{
	uint8_t octets[1 + VERIFY_POINT_BYTES] = { UNCOMPRESSED };
	mbedtls_ecp_group group;
	mbedtls_ecp_point key;
	mbedtls_mpi r, s;
	int err;

	memcpy(octets + 1, point, VERIFY_POINT_BYTES);
	mbedtls_ecp_group_init(&group);
	mbedtls_ecp_point_init(&key);
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	err = mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP256R1);
	err = err != 0 ? err : mbedtls_ecp_point_read_binary(&group, &key, octets, sizeof(octets));
	err = err != 0 ? err : mbedtls_ecp_check_pubkey(&group, &key);
	err = err != 0 ? err : mbedtls_mpi_read_binary(&r, signature, NUMBER_BYTES);
	err = err != 0 ? err : mbedtls_mpi_read_binary(&s, signature + NUMBER_BYTES, NUMBER_BYTES);
	err = err != 0 ? err : mbedtls_ecdsa_verify(&group, hash, VERIFY_HASH_BYTES, &key, &r, &s);
	mbedtls_mpi_free(&s);
	mbedtls_mpi_free(&r);
	mbedtls_ecp_point_free(&key);
	mbedtls_ecp_group_free(&group);
	return err == 0 ? 0 : ERR_FORMAT;
}
