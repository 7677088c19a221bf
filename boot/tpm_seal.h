/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands with which a TPM 2.0 seals a secret to values of its PCRs, and their replies, as
 * bytes (TPM 2.0 Library, part 3; the storage key is that of TCG's EK and SRK templates). Pure C.
 * Each tpm_put_... writes a command and returns its length. Each tpm_get_... returns 0, ERR_IO if
 * the TPM reports an error, or ERR_FORMAT if the bytes are no reply to this command.
 */
#ifndef UMBRA_BOOT_TPM_SEAL_H
#define UMBRA_BOOT_TPM_SEAL_H

#include "boot/tpm.h"

#define TPM_SECRET_MAX	64u
#define TPM_PRIVATE_MAX 384u
#define TPM_PUBLIC_MAX	128u
#define TPM_SEED_MAX	128u

/*
 * A sealed object outside of the TPM: its encrypted and its public part, and an encrypted seed; all
 * without their lengths. With a seed, it was made elsewhere for the TPM's storage key (part 1,
 * 23.3), and the TPM must import it first. Without one (seed_bytes is 0), the TPM has made it.
 */
struct tpm_sealed {
	uint8_t private_part[TPM_PRIVATE_MAX];
	size_t private_bytes;
	uint8_t public_part[TPM_PUBLIC_MAX];
	size_t public_bytes;
	uint8_t seed[TPM_SEED_MAX];
	size_t seed_bytes;
};

/* The storage key: its handle and its public part (TPMT_PUBLIC). */
struct tpm_storage_key {
	uint32_t handle;
	uint8_t public_part[TPM_PUBLIC_MAX];
	size_t public_bytes;
};

/* TPM2_CreatePrimary: the storage key on P-256 of the owner, the same one at each boot. */
size_t tpm_put_primary(uint8_t command[TPM_COMMAND_MAX]);
int tpm_get_primary(const uint8_t *reply, size_t bytes, struct tpm_storage_key *out);

/* TPM2_PolicyPCR, with the values that the PCRs have now. Its reply has no content. */
size_t tpm_put_policy_pcr(uint8_t command[TPM_COMMAND_MAX], uint32_t session, uint32_t mask);
/* TPM2_PolicyGetDigest. */
size_t tpm_put_policy_digest(uint8_t command[TPM_COMMAND_MAX], uint32_t session);
int tpm_get_policy_digest(const uint8_t *reply, size_t bytes, uint8_t digest[TPM_SHA256_BYTES]);

/* TPM2_Create: seals at most TPM_SECRET_MAX bytes; only the policy opens them. */
size_t tpm_put_create(uint8_t command[TPM_COMMAND_MAX], uint32_t parent, const uint8_t *secret,
		      size_t bytes, const uint8_t policy[TPM_SHA256_BYTES]);
int tpm_get_created(const uint8_t *reply, size_t bytes, struct tpm_sealed *out);

/* TPM2_Import of an object with a seed: its private part for TPM2_Load. */
size_t tpm_put_import(uint8_t command[TPM_COMMAND_MAX], uint32_t parent,
		      const struct tpm_sealed *sealed);
int tpm_get_imported(const uint8_t *reply, size_t bytes, uint8_t private_part[TPM_PRIVATE_MAX],
		     size_t *private_bytes);

/* TPM2_Load, and TPM2_Unseal with a policy session. */
size_t tpm_put_load(uint8_t command[TPM_COMMAND_MAX], uint32_t parent,
		    const struct tpm_sealed *sealed);
int tpm_get_loaded(const uint8_t *reply, size_t bytes, uint32_t *handle);
size_t tpm_put_unseal(uint8_t command[TPM_COMMAND_MAX], uint32_t object, uint32_t session);
int tpm_get_unsealed(const uint8_t *reply, size_t bytes, uint8_t secret[TPM_SECRET_MAX],
		     size_t *secret_bytes);

/*
 * Two commands that overwrite secrets in the TPM's buffers. TPM2_ReadPublic: for the storage key
 * its reply has 174 bytes (public part and two names), more than the 85 of the longest reply of
 * TPM2_Unseal.
 */
size_t tpm_put_read_public(uint8_t command[TPM_COMMAND_MAX], uint32_t object);
/* TPM2_Hash of zeros: a command that is longer than any with a secret. Its reply is short. */
size_t tpm_put_scrub(uint8_t command[TPM_COMMAND_MAX]);

#endif
