/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed files with any content, and a TPM that sends anything. The input is a file, after its
 * length in two bytes, and then the replies, each after its length in two bytes.
 */
#include "tests/fuzz/fuzz_tpm.h"
#include "boot/seal.h"

static void look(int err)
{
	PROMISE(err == 0 || err == ERR_IO || err == ERR_FORMAT || err == ERR_RIGHTS ||
		err == ERR_TAMPERED);
}

/* There are words for each error. */
static void explain(const struct seal *seal, int err, const struct seal_state *then,
		    const struct seal_state *now)
{
	static const char words[SEAL_STEPS_MAX][SEAL_WORDS_MAX];
	char text[64];

	look(err);
	if (err != 0) {
		seal_explain(seal, err, then, now, words, text, sizeof(text));
		PROMISE(strlen(text) < sizeof(text) && text[0] != '\0');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct seal_blob blob, made;
	struct seal seal = { .tpm = { .submit = submit, .wait = wait } };
	uint8_t secret[TPM_SECRET_MAX] = { 1 }, again[SEAL_BLOB_MAX];
	uint8_t *copy;
	size_t count;
	int err;

	begin(data, bytes);
	copy = next_copy(&count);
	memset(&blob, 0, sizeof(blob));
	memset(&made, 0, sizeof(made));
	if (seal_blob_read(copy, count, &blob)) {
		PROMISE(seal_blob_write(&blob, again) == count);
		PROMISE(memcmp(again, copy, count) == 0);
		err = seal_open(&seal, &blob.sealed, secret, &count);
		PROMISE(count <= sizeof(secret));
		if (err != 0) {
			look(seal_read_pcrs(&seal, &made.state));
		}
		explain(&seal, err, &blob.state, &made.state);
	}
	free(copy);
	err = seal_read_pcrs(&seal, &made.state);
	explain(&seal, err, &blob.state, &made.state);
	err = seal_make(&seal, secret, sizeof(secret), &made.sealed);
	explain(&seal, err, &blob.state, &made.state);
	PROMISE(err != 0 || seal_blob_write(&made, again) <= sizeof(again));
	seal_end(&seal);
	return 0;
}
