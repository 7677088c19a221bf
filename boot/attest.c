/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/attest.h"

#include "boot/tpm_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

/* TCG EK Credential Profile: the index of the certificate for a key of template L-2. */
#define NV_CERTIFICATE 0x01c0000au
#define CODE_HANDLE    0x00bu /* the TPM's error if the index does not exist */

const uint8_t attest_pcrs[ATTEST_PCRS] = { 0, 1, 2, 3, 4, 5, 6, 7, 11, 12 };
_Static_assert(ATTEST_MASK == (0xffu | 1u << 11 | 1u << 12), "the same PCRs");

int attest_open(struct attest *attest)
{
	struct tpm_talk *tpm = &attest->tpm;
	const int err = TPM_CALL(tpm, "TPM2_CreatePrimary", tpm_put_attestation_key(tpm->command),
				 tpm_get_key, &attest->attestation_key);

	attest->has_attestation_key = err == 0;
	return err;
}

int attest_endorse(struct attest *attest)
{
	struct tpm_talk *tpm = &attest->tpm;
	const int err = TPM_CALL(tpm, "TPM2_CreatePrimary", tpm_put_endorsement_key(tpm->command),
				 tpm_get_key, &attest->endorsement_key);

	attest->has_endorsement_key = err == 0;
	return err;
}

int attest_quote(struct attest *attest, const uint8_t *nonce, size_t nonce_bytes,
		 uint8_t values[ATTEST_PCRS][TPM_SHA256_BYTES], struct tpm_quote *out)
{
	struct tpm_talk *tpm = &attest->tpm;

	for (size_t i = 0; i < ATTEST_PCRS; i++) {
		const int err = TPM_CALL(tpm, "TPM2_PCR_Read",
					 tpm_put_pcr_read(tpm->command, attest_pcrs[i]),
					 tpm_get_pcr_read, attest_pcrs[i], values[i]);

		if (err != 0) {
			return err;
		}
	}
	return TPM_CALL(tpm, "TPM2_Quote",
			tpm_put_quote(tpm->command, attest->attestation_key.handle, nonce,
				      nonce_bytes, ATTEST_MASK),
			tpm_get_quote, out);
}

int attest_activate(struct attest *attest, const uint8_t *credential, size_t credential_bytes,
		    uint8_t proof[TPM_PROOF_MAX], size_t *proof_bytes)
{
	struct tpm_talk *tpm = &attest->tpm;
	uint32_t session;
	int err = TPM_CALL(tpm, "TPM2_StartAuthSession", tpm_put_session(tpm->command, false),
			   tpm_get_session, &session);

	*proof_bytes = 0;
	if (err != 0) {
		return err;
	}
	err = TPM_CALL(tpm, "TPM2_PolicySecret", tpm_put_policy_secret(tpm->command, session),
		       tpm_get_policy_secret);
	if (err == 0) {
		err = TPM_CALL(tpm, "TPM2_ActivateCredential",
			       tpm_put_activate(tpm->command, attest->attestation_key.handle,
						attest->endorsement_key.handle, session, credential,
						credential_bytes),
			       tpm_get_activated, proof, proof_bytes);
	}
	tpm_flush(tpm, session);
	return err;
}

int attest_certificate(struct attest *attest, uint8_t *to, size_t max, size_t *bytes)
{
	struct tpm_talk *tpm = &attest->tpm;
	size_t length = 0;
	int err = TPM_CALL(tpm, "TPM2_NV_ReadPublic",
			   tpm_put_nv_public(tpm->command, NV_CERTIFICATE), tpm_get_nv_public,
			   &length);

	*bytes = 0;
	if (err == ERR_IO && tpm_has_refused(tpm, CODE_HANDLE)) {
		return ERR_NOTFOUND;
	}
	if (err == 0 && (length == 0 || length > max)) {
		return ERR_RANGE;
	}
	while (err == 0 && *bytes < length) {
		const size_t part = MIN(length - *bytes, TPM_NV_PART);

		err = TPM_CALL(tpm, "TPM2_NV_Read",
			       tpm_put_nv_read(tpm->command, NV_CERTIFICATE, *bytes, part),
			       tpm_get_nv_read, to + *bytes, part);
		*bytes += part;
	}
	return err;
}

void attest_end(struct attest *attest)
{
	if (attest->has_endorsement_key) {
		tpm_flush(&attest->tpm, attest->endorsement_key.handle);
	}
	if (attest->has_attestation_key) {
		tpm_flush(&attest->tpm, attest->attestation_key.handle);
	}
	attest->has_endorsement_key = attest->has_attestation_key = false;
}

/* --- The files of tpm2-tools --- */

#define CREDENTIAL_MAGIC   0xbadcc0deu
#define CREDENTIAL_VERSION 1u

const uint8_t *attest_credential(const uint8_t *file, size_t file_bytes, size_t *bytes)
{
	struct tpm_in in = { file, file_bytes, false };
	const uint8_t *credential;

	if (tpm_get(&in, 4) != CREDENTIAL_MAGIC || tpm_get(&in, 4) != CREDENTIAL_VERSION ||
	    in.left > TPM_CREDENTIAL_MAX) {
		return NULL;
	}
	credential = in.at;
	*bytes = in.left;
	(void)tpm_get_bytes(&in, tpm_get(&in, 2)); /* TPM2B_ID_OBJECT */
	(void)tpm_get_bytes(&in, tpm_get(&in, 2)); /* TPM2B_ENCRYPTED_SECRET */
	return in.short_of || in.left != 0 ? NULL : credential;
}

/*
 * tpm2_quote writes these structures as they lie in the memory of a little-endian machine: a
 * TPML_PCR_SELECTION with room for 16 banks, the number of lists, and each list, a TPML_DIGEST with
 * room for 8 values.
 */
#define SELECTION_BYTES (4u + 16 * 8)
#define LIST_PCRS	8u
#define VALUE_ROOM	64u
#define LIST_BYTES	(4u + LIST_PCRS * (2 + VALUE_ROOM))
#define LISTS		2u
_Static_assert(ATTEST_PCRS_BYTES == SELECTION_BYTES + 4 + LISTS * LIST_BYTES &&
		       ATTEST_PCRS <= LISTS * LIST_PCRS,
	       "the values have room");

void attest_pcrs_write(const uint8_t values[ATTEST_PCRS][TPM_SHA256_BYTES],
		       uint8_t file[ATTEST_PCRS_BYTES])
{
	uint8_t *list = file + SELECTION_BYTES + 4;

	memset(file, 0, ATTEST_PCRS_BYTES);
	file[0] = 1; /* one bank */
	file[4] = TPM_SHA256;
	file[6] = TPM_SELECT_BYTES;
	file[7] = ATTEST_MASK & 0xff;
	file[8] = ATTEST_MASK >> 8 & 0xff;
	file[9] = ATTEST_MASK >> 16 & 0xff;
	file[SELECTION_BYTES] = LISTS;
	for (size_t i = 0; i < ATTEST_PCRS; i++) {
		uint8_t *value;

		list += i == LIST_PCRS ? LIST_BYTES : 0;
		list[0]++; /* the list has one more value */
		value = list + 4 + i % LIST_PCRS * (2 + VALUE_ROOM);
		value[0] = TPM_SHA256_BYTES;
		memcpy(value + 2, values[i], TPM_SHA256_BYTES);
	}
}
