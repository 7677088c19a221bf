/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands with which a TPM 2.0 attests what was measured, and their replies, as bytes (TPM 2.0
 * Library, part 3; the endorsement key is that of TCG's EK Credential Profile, template L-2). Pure
 * C. Functions as those of boot/tpm.h.
 */
#ifndef UMBRA_BOOT_TPM_ATTEST_H
#define UMBRA_BOOT_TPM_ATTEST_H

#include "boot/tpm.h"

#define TPM_NONCE_MAX	   32u /* every TPM takes so many */
#define TPM_KEY_MAX	   160u
#define TPM_QUOTE_MAX	   256u
#define TPM_SIGNATURE_MAX  80u
#define TPM_CREDENTIAL_MAX 512u
#define TPM_PROOF_MAX	   64u
#define TPM_NV_PART	   512u /* every TPM gives so many bytes of an index at once */

/* A key in the TPM, and its public part with its length (TPM2B_PUBLIC). */
struct tpm_key {
	uint32_t handle;
	uint8_t public_part[TPM_KEY_MAX];
	size_t public_bytes;
};

/* What the TPM says of its PCRs (TPMS_ATTEST), and its signature (TPMT_SIGNATURE). */
struct tpm_quote {
	uint8_t message[TPM_QUOTE_MAX];
	size_t message_bytes;
	uint8_t signature[TPM_SIGNATURE_MAX];
	size_t signature_bytes;
};

/*
 * TPM2_CreatePrimary, from the seed of the endorsement hierarchy: the attestation key, which signs
 * nothing but what the TPM itself says; and the endorsement key, which the maker may have
 * certified.
 */
size_t tpm_put_attestation_key(uint8_t command[TPM_COMMAND_MAX]);
size_t tpm_put_endorsement_key(uint8_t command[TPM_COMMAND_MAX]);
int tpm_get_key(const uint8_t *reply, size_t bytes, struct tpm_key *out);

/* TPM2_Quote: the SHA-256 values of PCRs, and a nonce of at most TPM_NONCE_MAX bytes. */
size_t tpm_put_quote(uint8_t command[TPM_COMMAND_MAX], uint32_t key, const uint8_t *nonce,
		     size_t nonce_bytes, uint32_t mask);
int tpm_get_quote(const uint8_t *reply, size_t bytes, struct tpm_quote *out);

/* TPM2_PolicySecret: a policy session may use the endorsement key. */
size_t tpm_put_policy_secret(uint8_t command[TPM_COMMAND_MAX], uint32_t session);
int tpm_get_policy_secret(const uint8_t *reply, size_t bytes);
/*
 * TPM2_ActivateCredential: the secret of a credential that was made for both keys. The credential
 * is TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, in all at most TPM_CREDENTIAL_MAX bytes.
 */
size_t tpm_put_activate(uint8_t command[TPM_COMMAND_MAX], uint32_t attestation_key,
			uint32_t endorsement_key, uint32_t session, const uint8_t *credential,
			size_t credential_bytes);
int tpm_get_activated(const uint8_t *reply, size_t bytes, uint8_t proof[TPM_PROOF_MAX],
		      size_t *proof_bytes);

/* TPM2_NV_ReadPublic: the length of what an index holds. */
size_t tpm_put_nv_public(uint8_t command[TPM_COMMAND_MAX], uint32_t index);
int tpm_get_nv_public(const uint8_t *reply, size_t bytes, size_t *length);
/* TPM2_NV_Read of at most TPM_NV_PART bytes; the index has an empty password. */
size_t tpm_put_nv_read(uint8_t command[TPM_COMMAND_MAX], uint32_t index, size_t offset,
		       size_t count);
int tpm_get_nv_read(const uint8_t *reply, size_t bytes, uint8_t *to, size_t count);

#endif
