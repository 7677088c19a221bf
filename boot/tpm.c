/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/tpm_priv.h"

#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

#define CC_CREATE_PRIMARY 0x131u
#define CC_FLUSH	  0x165u
#define CC_START_SESSION  0x176u
#define CC_PCR_READ	  0x17eu

#define ALG_AES	   0x0006u
#define ALG_CFB	   0x0043u
#define CURVE_P256 0x0003u
#define AES_BITS   128u

#define SE_POLICY   1u
#define SE_TRIAL    3u
#define NONCE_BYTES 16u

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

#define AUTHORISATION_BYTES 9u

static void put_session(struct tpm_out *out, uint32_t session)
{
	tpm_put(out, session, 4);
	tpm_put(out, TPM_EMPTY, 2);
	tpm_put(out, session == TPM_RS_PASSWORD ? 0 : 1, 1); /* continueSession */
	tpm_put(out, TPM_EMPTY, 2);
}

void tpm_put_authorisation(struct tpm_out *out, uint32_t session)
{
	tpm_put(out, AUTHORISATION_BYTES, 4);
	put_session(out, session);
}

void tpm_put_authorisations(struct tpm_out *out, uint32_t first, uint32_t second)
{
	tpm_put(out, 2 * AUTHORISATION_BYTES, 4);
	put_session(out, first);
	put_session(out, second);
}

static void put_zeros(struct tpm_out *out, size_t bytes)
{
	static const uint8_t zeros[TPM_SHA256_BYTES];

	CHECK(bytes <= sizeof(zeros));
	tpm_put(out, (uint32_t)bytes, 2);
	tpm_put_bytes(out, zeros, bytes);
}

/* Appends the public part (TPM2B_PUBLIC) that a key is to have. */
static void put_template(struct tpm_out *out, const struct tpm_template *template)
{
	const size_t start = out->used;
	struct tpm_out length = { out->to, start };

	tpm_put(out, 0, 2); /* its length, which is known at the end */
	tpm_put(out, TPM_ECC, 2);
	tpm_put(out, TPM_SHA256, 2);
	tpm_put(out, template->attributes, 4);
	tpm_put(out, template->policy != NULL ? TPM_SHA256_BYTES : TPM_EMPTY, 2);
	if (template->policy != NULL) {
		tpm_put_bytes(out, template->policy, TPM_SHA256_BYTES);
	}
	if (template->signs) {
		tpm_put(out, TPM_NULL, 2); /* symmetric */
		tpm_put(out, TPM_ECDSA, 2);
		tpm_put(out, TPM_SHA256, 2);
	} else {
		tpm_put(out, ALG_AES, 2);
		tpm_put(out, AES_BITS, 2);
		tpm_put(out, ALG_CFB, 2);
		tpm_put(out, TPM_NULL, 2); /* scheme */
	}
	tpm_put(out, CURVE_P256, 2);
	tpm_put(out, TPM_NULL, 2); /* key derivation */
	put_zeros(out, template->unique_bytes);
	put_zeros(out, template->unique_bytes);
	tpm_put(&length, (uint32_t)(out->used - start - 2), 2);
}

size_t tpm_put_create_primary(uint8_t command[TPM_COMMAND_MAX], const struct tpm_template *template)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_CREATE_PRIMARY);

	tpm_put(&out, template->hierarchy, 4);
	tpm_put_authorisation(&out, TPM_RS_PASSWORD);
	tpm_put(&out, 4, 2); /* inSensitive: neither a password nor data */
	tpm_put(&out, TPM_EMPTY, 2);
	tpm_put(&out, TPM_EMPTY, 2);
	put_template(&out, template);
	tpm_put(&out, TPM_EMPTY, 2); /* outsideInfo */
	tpm_put(&out, 0, 4);	     /* creationPCR */
	return tpm_end(&out);
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
		return ERR_IO; /* an error always has the tag TPM_NO_SESSIONS */
	}
	return seen == tag ? 0 : ERR_FORMAT;
}

bool tpm_get_sized(struct tpm_in *in, uint8_t *to, size_t max, size_t *bytes)
{
	const uint8_t *data;

	*bytes = tpm_get(in, 2);
	data = tpm_get_bytes(in, *bytes);
	if (data == NULL || *bytes == 0 || *bytes > max) {
		*bytes = 0;
		return false;
	}
	memcpy(to, data, *bytes);
	return true;
}

int tpm_get_handle(const uint8_t *reply, size_t bytes, uint32_t tag, uint32_t *handle)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, tag);

	if (err == 0) {
		*handle = tpm_get(&in, 4);
		err = in.short_of ? ERR_FORMAT : 0;
	}
	return err;
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
	/* A TPM without a SHA-256 bank selects no PCR in its reply. */
	good &= tpm_get(&in, 1) == TPM_SELECT_BYTES &&
		tpm_get(&in, TPM_SELECT_BYTES) == select_bits((uint32_t)BIT(pcr));
	good &= tpm_get(&in, 4) == 1 && tpm_get(&in, 2) == TPM_SHA256_BYTES;
	if (!good || in.short_of || in.left != TPM_SHA256_BYTES) {
		return ERR_FORMAT;
	}
	memcpy(value, in.at, TPM_SHA256_BYTES);
	return 0;
}

/*
 * The session is neither salted nor bound: only its policy is needed, and what goes over the TPM's
 * bus is not encrypted. The nonce is zero, because no HMAC is computed with it.
 */
size_t tpm_put_session(uint8_t command[TPM_COMMAND_MAX], bool trial)
{
	static const uint8_t nonce[NONCE_BYTES];
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_START_SESSION);

	tpm_put(&out, TPM_RH_NULL, 4); /* tpmKey */
	tpm_put(&out, TPM_RH_NULL, 4); /* bind */
	tpm_put(&out, NONCE_BYTES, 2);
	tpm_put_bytes(&out, nonce, sizeof(nonce));
	tpm_put(&out, TPM_EMPTY, 2); /* encryptedSalt */
	tpm_put(&out, trial ? SE_TRIAL : SE_POLICY, 1);
	tpm_put(&out, TPM_NULL, 2); /* symmetric */
	tpm_put(&out, TPM_SHA256, 2);
	return tpm_end(&out);
}

int tpm_get_session(const uint8_t *reply, size_t bytes, uint32_t *handle)
{
	return tpm_get_handle(reply, bytes, TPM_NO_SESSIONS, handle);
}

int tpm_get_nothing(const uint8_t *reply, size_t bytes)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_NO_SESSIONS);

	return err == 0 && in.left != 0 ? ERR_FORMAT : err;
}

size_t tpm_put_flush(uint8_t command[TPM_COMMAND_MAX], uint32_t handle)
{
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_FLUSH);

	tpm_put(&out, handle, 4);
	return tpm_end(&out);
}
