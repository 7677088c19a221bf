/* SPDX-License-Identifier: Apache-2.0 */
/* Files that `key =` in umbra.conf names (raw keys and passphrase files), with any content. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "boot/key_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct vm_key_source raw = { .kind = VM_KEY_FILE }, typed = raw;
	uint8_t *copy = malloc(bytes);
	const char *error;

	fake_reset();
	memcpy(copy, data, bytes);
	error = key_file_take_raw(copy, bytes, &raw);
	PROMISE((error == NULL) == (raw.secret_bytes != 0));
	PROMISE(error != NULL ||
		(raw.secret_bytes == bytes && memcmp(raw.secret, data, bytes) == 0));
	error = key_file_take_passphrase((const char *)copy, bytes, &typed);
	PROMISE((error == NULL) == typed.locked);
	PROMISE(error != NULL || (typed.passphrase.iterations >= PASSPHRASE_ITERATIONS_MIN &&
				  typed.passphrase.iterations <= PASSPHRASE_ITERATIONS_MAX));
	free(copy);
	return 0;
}
