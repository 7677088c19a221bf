/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A manifest with any content, as if its key's owner had signed it, and files of any name. The
 * input: whether the signature is good, the length of a path, the path, the text.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "boot/manifest.h"
#include "vmm/base/err.h"

/* In place of crypto/verify.c: every file has this hash, and a byte says who signed. */
int verify_sha256(const void *data, size_t bytes, uint8_t hash[VERIFY_HASH_BYTES])
{
	memset(hash, 0xab, VERIFY_HASH_BYTES);
	return 0;
}

int verify_p256(const uint8_t point[VERIFY_POINT_BYTES], const uint8_t hash[VERIFY_HASH_BYTES],
		const uint8_t signature[VERIFY_SIGNATURE_BYTES])
{
	return signature[0] == 0 ? 0 : ERR_FORMAT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const uint8_t point[VERIFY_POINT_BYTES];
	uint8_t signature[VERIFY_SIGNATURE_BYTES] = { 0 };
	struct manifest manifest;
	const char *why;
	size_t path_bytes;
	char *text, *path;

	fake_reset();
	if (bytes < 2) {
		return 0;
	}
	signature[0] = data[0];
	path_bytes = MIN((size_t)data[1], bytes - 2);
	/* copies of the exact size, so that ASan detects a read beyond them */
	path = malloc(path_bytes);
	memcpy(path, data + 2, path_bytes);
	bytes -= 2 + path_bytes;
	text = malloc(bytes);
	memcpy(text, data + 2 + path_bytes, bytes);
	why = manifest_open(point, text, bytes, signature, sizeof(signature), &manifest);
	PROMISE((why == NULL) == (manifest.text != NULL));
	PROMISE(signature[0] == 0 || why != NULL);
	if (why == NULL) {
		PROMISE(manifest.version >= 1 && manifest.version <= 999999999);
		PROMISE(manifest.bytes == bytes && bytes > 0 && text[bytes - 1] == '\n');
		why = manifest_check(&manifest, path, path_bytes, "", 0);
		PROMISE(why != NULL || (path_bytes > 1 && path[0] == '\\'));
	}
	free(text);
	free(path);
	return 0;
}
