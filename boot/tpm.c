/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/tpm_priv.h"

#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

#define CC_PCR_READ  0x17eu
#define HEADER_BYTES 10u

void tpm_put(struct tpm_out *out, uint32_t value, unsigned bytes)
{
	CHECK(out->used + bytes <= TPM_COMMAND_MAX);
	while (bytes-- != 0) {
		out->to[out->used++] = (uint8_t)(value >> 8 * bytes);
	}
}

void tpm_put_bytes(struct tpm_out *out, const void *data, size_t bytes)
{
	CHECK(bytes <= TPM_COMMAND_MAX - out->used);
	memcpy(out->to + out->used, data, bytes);
	out->used += bytes;
}

struct tpm_out tpm_begin(uint8_t command[TPM_COMMAND_MAX], uint32_t tag, uint32_t code)
{
	struct tpm_out out = { command, 0 };

	tpm_put(&out, tag, 2);
	tpm_put(&out, 0, 4); /* the length, which tpm_end knows */
	tpm_put(&out, code, 4);
	return out;
}

size_t tpm_end(struct tpm_out *out)
{
	struct tpm_out length = { out->to, 2 };

	tpm_put(&length, (uint32_t)out->used, 4);
	return out->used;
}

/*
 * Bit n of byte m selects PCR 8 m + n. Returns the bytes for a mask as one big-endian number.
 */
static uint32_t select_bits(uint32_t mask)
{
	return (mask & 0xff) << 16 | (mask & 0xff00) | (mask >> 16 & 0xff);
}
_Static_assert(TPM_SELECT_BYTES == 3, "three bytes");

void tpm_put_selection(struct tpm_out *out, uint32_t mask)
{
	tpm_put(out, 1, 4); /* one selection */
	tpm_put(out, TPM_SHA256, 2);
	tpm_put(out, TPM_SELECT_BYTES, 1);
	tpm_put(out, select_bits(mask), TPM_SELECT_BYTES);
}

uint32_t tpm_get(struct tpm_in *in, unsigned bytes)
{
	uint32_t value = 0;

	if (in->left < bytes) {
		in->short_of = true;
		in->left = 0;
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++) {
		value = value << 8 | in->at[i];
	}
	in->at += bytes;
	in->left -= bytes;
	return value;
}

const uint8_t *tpm_get_bytes(struct tpm_in *in, size_t bytes)
{
	const uint8_t *at = in->at;

	if (in->left < bytes) {
		in->short_of = true;
		in->left = 0;
		return NULL;
	}
	in->at += bytes;
	in->left -= bytes;
	return at;
}

int tpm_open(struct tpm_in *in, const uint8_t *reply, size_t bytes, uint32_t tag)
{
	uint32_t seen, length, code;

	*in = (struct tpm_in){ reply, bytes, false };
	seen = tpm_get(in, 2);
	length = tpm_get(in, 4);
	code = tpm_get(in, 4);
	if (in->short_of || length != bytes) {
		return ERR_FORMAT;
	}
	if (code != 0) {
		return ERR_IO; /* its tag is always that of a reply without sessions */
	}
	return seen == tag ? 0 : ERR_FORMAT;
}

uint32_t tpm_reply_code(const uint8_t *reply, size_t bytes)
{
	struct tpm_in in = { reply, bytes, false };

	(void)tpm_get(&in, 2);
	(void)tpm_get(&in, 4);
	return tpm_get(&in, 4);
}

size_t tpm_put_pcr_read(uint8_t command[TPM_COMMAND_MAX], uint32_t pcr)
{
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_PCR_READ);

	CHECK(pcr < TPM_PCR_COUNT);
	tpm_put_selection(&out, (uint32_t)BIT(pcr));
	return tpm_end(&out);
}

int tpm_get_pcr_read(const uint8_t *reply, size_t bytes, uint32_t pcr,
		     uint8_t value[TPM_SHA256_BYTES])
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_NO_SESSIONS);
	bool good;

	if (err != 0) {
		return err;
	}
	(void)tpm_get(&in, 4); /* pcrUpdateCounter: not needed */
	good = tpm_get(&in, 4) == 1 && tpm_get(&in, 2) == TPM_SHA256;
	/* The TPM selects no PCR in its reply if it has no SHA-256 bank. */
	good &= tpm_get(&in, 1) == TPM_SELECT_BYTES &&
		tpm_get(&in, TPM_SELECT_BYTES) == select_bits((uint32_t)BIT(pcr));
	good &= tpm_get(&in, 4) == 1 && tpm_get(&in, 2) == TPM_SHA256_BYTES;
	if (!good || in.short_of || in.left != TPM_SHA256_BYTES) {
		return ERR_FORMAT;
	}
	memcpy(value, in.at, TPM_SHA256_BYTES);
	return 0;
}
