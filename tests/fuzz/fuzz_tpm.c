/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of a TPM with any content. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "boot/tpm.h"
#include "vmm/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t value[TPM_SHA256_BYTES], command[TPM_COMMAND_MAX];
	uint8_t *reply = malloc(bytes);
	int err;

	fake_reset();
	memcpy(reply, data, bytes);
	PROMISE(tpm_put_pcr_read(command, 11) <= sizeof(command));
	err = tpm_get_pcr_read(reply, bytes, 11, value);
	PROMISE(err == 0 || err == ERR_IO || err == ERR_FORMAT);
	PROMISE(err != 0 || (bytes == 62 && memcmp(value, data + 30, sizeof(value)) == 0));
	free(reply);
	return 0;
}
