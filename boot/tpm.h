/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands to a TPM 2.0 and its replies, as bytes (TPM 2.0 Library, part 3). Pure C. A reply is not
 * trusted: the TPM, or an attacker on its bus, may send anything.
 */
#ifndef UMBRA_BOOT_TPM_H
#define UMBRA_BOOT_TPM_H

#include "vmm/base/types.h"

#define TPM_PCR_COUNT	 24u
#define TPM_COMMAND_MAX	 1024u
#define TPM_SHA256_BYTES 32u
#define TPM_REPLY_MAX	 2048u
#define TPM_HEADER_BYTES 10u /* of a reply: tag, length of all of it, code */

/* The code of a reply (part 2, 6.6): 0 for success, and also if there are too few bytes. */
uint32_t tpm_reply_code(const uint8_t *reply, size_t bytes);

/*
 * Writes the command TPM2_PCR_Read for the SHA-256 value of one PCR. pcr < TPM_PCR_COUNT. Returns
 * the length of the command.
 */
size_t tpm_put_pcr_read(uint8_t command[TPM_COMMAND_MAX], uint32_t pcr);
/*
 * Takes the value of the PCR from the TPM's reply to this command. Returns 0, ERR_IO if the TPM
 * reports an error, or ERR_FORMAT if the bytes are not a reply to this command.
 */
int tpm_get_pcr_read(const uint8_t *reply, size_t bytes, uint32_t pcr,
		     uint8_t value[TPM_SHA256_BYTES]);

/*
 * The commands and replies from here on, and of the other tpm_....h: each tpm_put_... writes a
 * command and returns its length. Each tpm_get_... returns 0, ERR_IO if the TPM reports an error,
 * or ERR_FORMAT if the bytes are no reply to this command.
 */

/* TPM2_StartAuthSession: for a policy, or a trial, which only computes what a policy would be. */
size_t tpm_put_session(uint8_t command[TPM_COMMAND_MAX], bool trial);
int tpm_get_session(const uint8_t *reply, size_t bytes, uint32_t *handle);
/* TPM2_FlushContext. */
size_t tpm_put_flush(uint8_t command[TPM_COMMAND_MAX], uint32_t handle);
/* Of a command whose reply has no content. */
int tpm_get_nothing(const uint8_t *reply, size_t bytes);

#endif
