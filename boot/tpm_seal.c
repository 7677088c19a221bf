/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/tpm_seal.h"

#include "boot/tpm_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

/* TPM 2.0 Library, part 2: commands, handles, algorithms. */
#define CC_CREATE_PRIMARY 0x131u
#define CC_CREATE	  0x153u
#define CC_LOAD		  0x157u
#define CC_UNSEAL	  0x15eu
#define CC_FLUSH	  0x165u
#define CC_START_SESSION  0x176u
#define CC_POLICY_PCR	  0x17fu
#define CC_POLICY_DIGEST  0x189u
#define CC_HASH		  0x17du

#define RH_OWNER    0x40000001u
#define RH_NULL	    0x40000007u
#define RS_PASSWORD 0x40000009u

#define ALG_AES	    0x0006u
#define ALG_KEYED   0x0008u
#define ALG_NULL    0x0010u
#define ALG_ECC	    0x0023u
#define ALG_CFB	    0x0043u
#define CURVE_P256  0x0003u
#define AES_BITS    128u
#define SE_POLICY   1u
#define SE_TRIAL    3u
#define NONCE_BYTES 16u
#define SCRUB_BYTES 256u
#define EMPTY	    0u /* the length of nothing, as two bytes */

/*
 * Attributes of objects. The storage key: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth,
 * noDA, restricted, decrypt. The sealed object: fixedTPM, fixedParent; without userWithAuth only
 * the policy opens it.
 */
#define SRK_ATTRIBUTES	  0x00030472u
#define SEALED_ATTRIBUTES 0x00000012u

/* The area of authorisations, with one: a session, without nonce and HMAC. */
static void put_authorisation(struct tpm_out *out, uint32_t session)
{
	tpm_put(out, 9, 4); /* its length */
	tpm_put(out, session, 4);
	tpm_put(out, EMPTY, 2);
	tpm_put(out, session == RS_PASSWORD ? 0 : 1, 1); /* a policy session may go on */
	tpm_put(out, EMPTY, 2);
}

size_t tpm_put_primary(uint8_t command[TPM_COMMAND_MAX])
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_CREATE_PRIMARY);

	tpm_put(&out, RH_OWNER, 4);
	put_authorisation(&out, RS_PASSWORD);
	tpm_put(&out, 4, 2); /* inSensitive: neither a password nor data */
	tpm_put(&out, EMPTY, 2);
	tpm_put(&out, EMPTY, 2);
	tpm_put(&out, 26, 2); /* inPublic */
	tpm_put(&out, ALG_ECC, 2);
	tpm_put(&out, TPM_SHA256, 2);
	tpm_put(&out, SRK_ATTRIBUTES, 4);
	tpm_put(&out, EMPTY, 2); /* policy */
	tpm_put(&out, ALG_AES, 2);
	tpm_put(&out, AES_BITS, 2);
	tpm_put(&out, ALG_CFB, 2);
	tpm_put(&out, ALG_NULL, 2); /* scheme */
	tpm_put(&out, CURVE_P256, 2);
	tpm_put(&out, ALG_NULL, 2); /* key derivation */
	tpm_put(&out, EMPTY, 2);    /* x and y */
	tpm_put(&out, EMPTY, 2);
	tpm_put(&out, EMPTY, 2); /* outsideInfo */
	tpm_put(&out, 0, 4);	 /* creationPCR */
	return tpm_end(&out);
}

/* Of a reply with a handle before its parameters; what follows is not needed. */
static int get_handle(const uint8_t *reply, size_t bytes, uint32_t tag, uint32_t *handle)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, tag);

	if (err == 0) {
		*handle = tpm_get(&in, 4);
		err = in.short_of ? ERR_FORMAT : 0;
	}
	return err;
}

int tpm_get_primary(const uint8_t *reply, size_t bytes, uint32_t *handle)
{
	return get_handle(reply, bytes, TPM_SESSIONS, handle);
}

/*
 * Neither salted nor bound: the policy alone counts, and what goes over the TPM's bus is not
 * encrypted. The nonce is zero, because no HMAC is computed with it.
 */
size_t tpm_put_session(uint8_t command[TPM_COMMAND_MAX], bool trial)
{
	static const uint8_t nonce[NONCE_BYTES];
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_START_SESSION);

	tpm_put(&out, RH_NULL, 4); /* tpmKey */
	tpm_put(&out, RH_NULL, 4); /* bind */
	tpm_put(&out, NONCE_BYTES, 2);
	tpm_put_bytes(&out, nonce, sizeof(nonce));
	tpm_put(&out, EMPTY, 2); /* encryptedSalt */
	tpm_put(&out, trial ? SE_TRIAL : SE_POLICY, 1);
	tpm_put(&out, ALG_NULL, 2); /* symmetric */
	tpm_put(&out, TPM_SHA256, 2);
	return tpm_end(&out);
}

int tpm_get_session(const uint8_t *reply, size_t bytes, uint32_t *handle)
{
	return get_handle(reply, bytes, TPM_NO_SESSIONS, handle);
}

size_t tpm_put_policy_pcr(uint8_t command[TPM_COMMAND_MAX], uint32_t session, uint32_t mask)
{
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_POLICY_PCR);

	tpm_put(&out, session, 4);
	tpm_put(&out, EMPTY, 2); /* pcrDigest: the TPM computes it */
	tpm_put_selection(&out, mask);
	return tpm_end(&out);
}

int tpm_get_nothing(const uint8_t *reply, size_t bytes)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_NO_SESSIONS);

	return err == 0 && in.left != 0 ? ERR_FORMAT : err;
}

size_t tpm_put_policy_digest(uint8_t command[TPM_COMMAND_MAX], uint32_t session)
{
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_POLICY_DIGEST);

	tpm_put(&out, session, 4);
	return tpm_end(&out);
}

int tpm_get_policy_digest(const uint8_t *reply, size_t bytes, uint8_t digest[TPM_SHA256_BYTES])
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_NO_SESSIONS);

	if (err != 0) {
		return err;
	}
	if (tpm_get(&in, 2) != TPM_SHA256_BYTES || in.left != TPM_SHA256_BYTES) {
		return ERR_FORMAT;
	}
	memcpy(digest, in.at, TPM_SHA256_BYTES);
	return 0;
}

size_t tpm_put_create(uint8_t command[TPM_COMMAND_MAX], uint32_t parent, const uint8_t *secret,
		      size_t bytes, const uint8_t policy[TPM_SHA256_BYTES])
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_CREATE);

	CHECK(bytes <= TPM_SECRET_MAX);
	tpm_put(&out, parent, 4);
	put_authorisation(&out, RS_PASSWORD);
	tpm_put(&out, 4 + (uint32_t)bytes, 2); /* inSensitive: no password, the secret */
	tpm_put(&out, EMPTY, 2);
	tpm_put(&out, (uint32_t)bytes, 2);
	tpm_put_bytes(&out, secret, bytes);
	tpm_put(&out, 14 + TPM_SHA256_BYTES, 2); /* inPublic */
	tpm_put(&out, ALG_KEYED, 2);
	tpm_put(&out, TPM_SHA256, 2);
	tpm_put(&out, SEALED_ATTRIBUTES, 4);
	tpm_put(&out, TPM_SHA256_BYTES, 2);
	tpm_put_bytes(&out, policy, TPM_SHA256_BYTES);
	tpm_put(&out, ALG_NULL, 2); /* scheme */
	tpm_put(&out, EMPTY, 2);    /* unique */
	tpm_put(&out, EMPTY, 2);    /* outsideInfo */
	tpm_put(&out, 0, 4);	    /* creationPCR */
	return tpm_end(&out);
}

/* A length of two bytes, and so many bytes, at most max. */
static bool get_sized(struct tpm_in *in, uint8_t *to, size_t max, size_t *bytes)
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

int tpm_get_created(const uint8_t *reply, size_t bytes, struct tpm_sealed *out)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_SESSIONS);

	if (err != 0) {
		return err;
	}
	(void)tpm_get(&in, 4); /* parameterSize: each part has its own */
	if (!get_sized(&in, out->private_part, sizeof(out->private_part), &out->private_bytes) ||
	    !get_sized(&in, out->public_part, sizeof(out->public_part), &out->public_bytes)) {
		return ERR_FORMAT;
	}
	return 0; /* how it was created follows, which nobody needs */
}

size_t tpm_put_load(uint8_t command[TPM_COMMAND_MAX], uint32_t parent,
		    const struct tpm_sealed *sealed)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_LOAD);

	CHECK(sealed->private_bytes <= TPM_PRIVATE_MAX && sealed->public_bytes <= TPM_PUBLIC_MAX);
	tpm_put(&out, parent, 4);
	put_authorisation(&out, RS_PASSWORD);
	tpm_put(&out, (uint32_t)sealed->private_bytes, 2);
	tpm_put_bytes(&out, sealed->private_part, sealed->private_bytes);
	tpm_put(&out, (uint32_t)sealed->public_bytes, 2);
	tpm_put_bytes(&out, sealed->public_part, sealed->public_bytes);
	return tpm_end(&out);
}

int tpm_get_loaded(const uint8_t *reply, size_t bytes, uint32_t *handle)
{
	return get_handle(reply, bytes, TPM_SESSIONS, handle);
}

size_t tpm_put_unseal(uint8_t command[TPM_COMMAND_MAX], uint32_t object, uint32_t session)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_UNSEAL);

	tpm_put(&out, object, 4);
	put_authorisation(&out, session);
	return tpm_end(&out);
}

int tpm_get_unsealed(const uint8_t *reply, size_t bytes, uint8_t secret[TPM_SECRET_MAX],
		     size_t *secret_bytes)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_SESSIONS);

	if (err != 0) {
		return err;
	}
	(void)tpm_get(&in, 4); /* parameterSize */
	return get_sized(&in, secret, TPM_SECRET_MAX, secret_bytes) ? 0 : ERR_FORMAT;
}

size_t tpm_put_scrub(uint8_t command[TPM_COMMAND_MAX])
{
	static const uint8_t zeros[SCRUB_BYTES];
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_HASH);

	tpm_put(&out, SCRUB_BYTES, 2);
	tpm_put_bytes(&out, zeros, sizeof(zeros));
	tpm_put(&out, TPM_SHA256, 2);
	tpm_put(&out, RH_NULL, 4); /* hierarchy: of a ticket that nobody needs */
	return tpm_end(&out);
}

size_t tpm_put_flush(uint8_t command[TPM_COMMAND_MAX], uint32_t handle)
{
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_FLUSH);

	tpm_put(&out, handle, 4);
	return tpm_end(&out);
}
