/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the TPM attests: a quote of the PCRs, and that its keys belong together. Pure C, which
 * reaches the TPM through a function of its caller. Neither the TPM nor a credential is trusted: it
 * is the tenant who checks the report.
 */
#ifndef UMBRA_BOOT_ATTEST_H
#define UMBRA_BOOT_ATTEST_H

#include "boot/tpm_attest.h"
#include "boot/tpm_talk.h"

/*
 * The PCRs: 0 to 7, what firmware measures, the program and Secure Boot's keys included; 11 and 12,
 * what Umbra measures. The others belong to loaders and systems that do not start Umbra.
 */
#define ATTEST_MASK	 0x000018ffu
#define ATTEST_PCRS	 10u
#define ATTEST_NONCE_MIN 16u /* bytes */

extern const uint8_t attest_pcrs[ATTEST_PCRS]; /* their numbers, ascending */

/* Work with the TPM; the caller sets the functions of tpm and zeroes the rest. */
struct attest {
	struct tpm_talk tpm;
	bool has_attestation_key, has_endorsement_key;
	struct tpm_key attestation_key, endorsement_key;
};

/*
 * attest_open makes the attestation key; attest_endorse makes the endorsement key, which only
 * attest_activate needs. These functions and those below that return int return 0, an error of
 * TPM_CALL (boot/tpm_talk.h), or an error that their comment names.
 */
int attest_open(struct attest *attest);
int attest_endorse(struct attest *attest);
/* Reads the PCRs, and has the TPM sign them with a nonce of at most TPM_NONCE_MAX bytes. */
int attest_quote(struct attest *attest, const uint8_t *nonce, size_t nonce_bytes,
		 uint8_t values[ATTEST_PCRS][TPM_SHA256_BYTES], struct tpm_quote *out);
/* Opens a credential. ERR_TAMPERED: it was made for other keys than these two. */
int attest_activate(struct attest *attest, const uint8_t *credential, size_t credential_bytes,
		    uint8_t proof[TPM_PROOF_MAX], size_t *proof_bytes);
/*
 * Reads the certificate of the endorsement key, which the maker may have left in the TPM.
 * ERR_NOTFOUND: there is none; ERR_RANGE: it is empty or longer than max.
 */
int attest_certificate(struct attest *attest, uint8_t *to, size_t max, size_t *bytes);
/* Frees the keys in the TPM. */
void attest_end(struct attest *attest);

/* --- The files of tpm2-tools --- */

#define ATTEST_CREDENTIAL_FILE_MAX (8u + TPM_CREDENTIAL_MAX)
#define ATTEST_PCRS_BYTES	   1200u

/* What tpm2_makecredential writes: returns the credential and its length, or NULL. */
const uint8_t *attest_credential(const uint8_t *file, size_t file_bytes, size_t *bytes);
/* Writes the values as tpm2_quote does, and tpm2_checkquote reads them. */
void attest_pcrs_write(const uint8_t values[ATTEST_PCRS][TPM_SHA256_BYTES],
		       uint8_t file[ATTEST_PCRS_BYTES]);

#endif
