/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret sealed to this TPM and to the values of PCRs, and the file that holds it. Pure C, which
 * reaches the TPM through a function of its caller. Neither the TPM nor the file is trusted.
 */
#ifndef UMBRA_BOOT_SEAL_H
#define UMBRA_BOOT_SEAL_H

#include "boot/tpm_seal.h"
#include "boot/tpm_talk.h"

/*
 * The PCRs: 4 the program, 7 Secure Boot, 11 files, 12 the configuration and the state of the
 * machine.
 */
#define SEAL_MASK      0x00001890u
#define SEAL_PCRS      4u
#define SEAL_OWN_MAX   96u /* steps of Umbra's own PCRs, together */
#define SEAL_PCR_MAX   24u /* steps of each of firmware's PCRs */
#define SEAL_STEPS_MAX (SEAL_OWN_MAX + 2 * SEAL_PCR_MAX)
/*
 * The words of one event, cut off if longer. The longest that must not be cut is the state of the
 * machine, with 82 characters.
 */
#define SEAL_WORDS_MAX 96u

extern const uint8_t seal_pcrs[SEAL_PCRS]; /* their numbers, ascending */

/* A PCR after one event: the beginning of its value. */
struct seal_step {
	uint8_t pcr;
	uint8_t value[7];
};

/* What a launch has measured, up to the moment when keys are sealed or opened. */
struct seal_state {
	uint8_t values[SEAL_PCRS][TPM_SHA256_BYTES];
	/*
	 * The first SEAL_OWN_MAX steps of Umbra's PCRs. For each of firmware's PCRs either all
	 * steps, or none if there are more than SEAL_PCR_MAX or firmware's log does not show all.
	 */
	struct seal_step steps[SEAL_STEPS_MAX];
	size_t step_count;
};

/* --- The file --- */

#define SEAL_BLOB_MAX 2048u /* bytes */

struct seal_blob {
	struct seal_state state;
	struct tpm_sealed sealed;
};

/* Writes the file's bytes. Returns their number. */
size_t seal_blob_write(const struct seal_blob *blob, uint8_t data[SEAL_BLOB_MAX]);
/* Returns false if the bytes are not such a file. */
bool seal_blob_read(const uint8_t *data, size_t bytes, struct seal_blob *out);

/* --- The TPM --- */

/* Work with the TPM; the caller sets the functions of tpm and zeroes the rest. */
struct seal {
	struct tpm_talk tpm;
	bool has_storage_key;
	struct tpm_storage_key storage_key;
};

/*
 * Reads the values of the PCRs. This function and those below that return int return 0, or one of:
 * ERR_RIGHTS, PCRs have other values than those that the secret was sealed to; ERR_TAMPERED, the
 * secret was not sealed by or for this TPM, or the sealed file was changed; ERR_IO, the TPM could
 * not be reached, or reports another error (seal->tpm.code); ERR_FORMAT, the reply makes no sense.
 */
int seal_read_pcrs(struct seal *seal, struct seal_state *state);
/* Makes seal->storage_key, under which secrets are sealed, if it does not exist yet. */
int seal_need_storage_key(struct seal *seal);
/* Seals a secret of at most TPM_SECRET_MAX bytes to the PCRs' present values. */
int seal_make(struct seal *seal, const uint8_t *secret, size_t bytes, struct tpm_sealed *out);
int seal_open(struct seal *seal, const struct tpm_sealed *sealed, uint8_t secret[TPM_SECRET_MAX],
	      size_t *bytes);
/* Frees what is left in the TPM, and wipes the buffers. */
void seal_end(struct seal *seal);

/* --- Words --- */

#define SEAL_WHY_MAX 512u /* characters: for a clause of each PCR */

/*
 * Says why a secret was not opened, as a clause of at most max - 1 characters, or as one for each
 * PCR that differs, with '\n' between them. err: the error of a function above. then: what was
 * measured when the secret was sealed. now: what this launch has measured. words: a text for each
 * step of now.
 */
void seal_explain(const struct seal *seal, int err, const struct seal_state *then,
		  const struct seal_state *now, const char (*words)[SEAL_WORDS_MAX], char *text,
		  size_t max);

#endif
