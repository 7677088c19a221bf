/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of a TPM with any content. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "boot/tpm_seal.h"
#include "vmm/base/err.h"

/* As the replies to the commands that seal and open. */
static void take_sealed(const uint8_t *reply, size_t bytes)
{
	struct tpm_sealed sealed;
	uint8_t command[TPM_COMMAND_MAX], secret[TPM_SECRET_MAX], digest[TPM_SHA256_BYTES];
	size_t count;
	uint32_t handle;
	struct tpm_storage_key key;

	PROMISE(tpm_get_primary(reply, bytes, &key) != 0 ||
		(key.public_bytes >= 1 && key.public_bytes <= TPM_PUBLIC_MAX));
	PROMISE(tpm_get_imported(reply, bytes, sealed.private_part, &sealed.private_bytes) != 0 ||
		(sealed.private_bytes >= 1 && sealed.private_bytes <= TPM_PRIVATE_MAX));
	if (tpm_get_created(reply, bytes, &sealed) == 0) {
		PROMISE(tpm_put_load(command, 1, &sealed) ==
			31 + sealed.private_bytes + sealed.public_bytes);
		memset(sealed.seed, 's', TPM_SEED_MAX);
		sealed.seed_bytes = bytes % (TPM_SEED_MAX + 1);
		PROMISE(tpm_put_import(command, 1, &sealed) ==
			37 + sealed.private_bytes + sealed.public_bytes + sealed.seed_bytes);
	}
	PROMISE(tpm_get_unsealed(reply, bytes, secret, &count) != 0 ||
		(count >= 1 && count <= TPM_SECRET_MAX));
	PROMISE(tpm_get_policy_digest(reply, bytes, digest) != 0 || bytes == 44);
	PROMISE(tpm_get_nothing(reply, bytes) != 0 || bytes == TPM_HEADER_BYTES);
	PROMISE(tpm_get_session(reply, bytes, &handle) != 0 || bytes >= 14);
	PROMISE(tpm_get_loaded(reply, bytes, &handle) != 0 || bytes >= 14);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t value[TPM_SHA256_BYTES], command[TPM_COMMAND_MAX];
	uint8_t *reply = malloc(bytes);
	int err;

	fake_reset();
	memcpy(reply, data, bytes);
	PROMISE(tpm_put_pcr_read(command, 11) == 20 && tpm_put_primary(command) == 67 &&
		tpm_put_session(command, true) == 43 && tpm_put_flush(command, 1) == 14);
	err = tpm_get_pcr_read(reply, bytes, 11, value);
	PROMISE(err == 0 || err == ERR_IO || err == ERR_FORMAT);
	PROMISE(err != 0 || (bytes == 62 && memcmp(value, data + 30, sizeof(value)) == 0));
	PROMISE(tpm_reply_code(reply, bytes) == 0 || bytes >= TPM_HEADER_BYTES);
	take_sealed(reply, bytes);
	free(reply);
	return 0;
}
