/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/tpm.h"

#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

#define ST_NO_SESSIONS 0x8001u
#define CC_PCR_READ    0x17eu
#define ALG_SHA256     0x000bu
#define SELECT_BYTES   (TPM_PCR_COUNT / 8)
#define HEADER_BYTES   10u

/* A command that is being written. Its numbers are big-endian. */
struct out {
	uint8_t *to;
	size_t used;
};

static void put(struct out *out, uint32_t value, unsigned bytes)
{
	CHECK(out->used + bytes <= TPM_COMMAND_MAX);
	while (bytes-- != 0) {
		out->to[out->used++] = (uint8_t)(value >> 8 * bytes);
	}
}

/* The part of a reply that was not read yet. After a read beyond its end, all reads return 0. */
struct in {
	const uint8_t *at;
	size_t left;
	bool short_of;
};

static uint32_t get(struct in *in, unsigned bytes)
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

static uint32_t select_bits(uint32_t pcr)
{
	/* Bit n of byte m selects PCR 8 m + n. The bytes are returned as one big-endian number. */
	return (uint32_t)BIT(pcr % 8) << 8 * (SELECT_BYTES - 1 - pcr / 8);
}

size_t tpm_put_pcr_read(uint8_t command[TPM_COMMAND_MAX], uint32_t pcr)
{
	struct out out = { command, 0 };

	CHECK(pcr < TPM_PCR_COUNT);
	put(&out, ST_NO_SESSIONS, 2);
	put(&out, HEADER_BYTES + 4 + 2 + 1 + SELECT_BYTES, 4);
	put(&out, CC_PCR_READ, 4);
	put(&out, 1, 4); /* one selection */
	put(&out, ALG_SHA256, 2);
	put(&out, SELECT_BYTES, 1);
	put(&out, select_bits(pcr), SELECT_BYTES);
	return out.used;
}

int tpm_get_pcr_read(const uint8_t *reply, size_t bytes, uint32_t pcr,
		     uint8_t value[TPM_SHA256_BYTES])
{
	struct in in = { reply, bytes, false };
	bool good = get(&in, 2) == ST_NO_SESSIONS;

	good &= get(&in, 4) == bytes;
	if (get(&in, 4) != 0) {
		return in.short_of ? ERR_FORMAT : ERR_IO;
	}
	(void)get(&in, 4); /* pcrUpdateCounter: not needed */
	good &= get(&in, 4) == 1 && get(&in, 2) == ALG_SHA256;
	/* The TPM selects no PCR in its reply if it has no SHA-256 bank. */
	good &= get(&in, 1) == SELECT_BYTES && get(&in, SELECT_BYTES) == select_bits(pcr);
	good &= get(&in, 4) == 1 && get(&in, 2) == TPM_SHA256_BYTES;
	if (!good || in.short_of || in.left != TPM_SHA256_BYTES) {
		return ERR_FORMAT;
	}
	memcpy(value, in.at, TPM_SHA256_BYTES);
	return 0;
}
