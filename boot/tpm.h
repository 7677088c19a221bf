/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of a TPM 2.0 and its replies, as bytes (TPM 2.0 Library, part 3). Pure C. A reply is not
 * trusted: a TPM on a bus, or who sits on the bus, may send anything.
 */
#ifndef UMBRA_BOOT_TPM_H
#define UMBRA_BOOT_TPM_H

#include "vmm/base/types.h"

#define TPM_PCR_COUNT	 24u
#define TPM_COMMAND_MAX	 64u
#define TPM_SHA256_BYTES 32u
#define TPM_REPLY_MAX	 256u

/* Writes TPM2_PCR_Read of one PCR's SHA-256 value. pcr < TPM_PCR_COUNT. Returns its bytes. */
size_t tpm_put_pcr_read(uint8_t command[TPM_COMMAND_MAX], uint32_t pcr);
/*
 * Takes the value from the reply to it. Returns 0, ERR_IO if the TPM reports an error, ERR_FORMAT
 * if the reply is not one to this command.
 */
int tpm_get_pcr_read(const uint8_t *reply, size_t bytes, uint32_t pcr,
		     uint8_t value[TPM_SHA256_BYTES]);

#endif
