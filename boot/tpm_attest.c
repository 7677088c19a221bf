/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/tpm_attest.h"

#include "boot/tpm_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

/* TPM 2.0 Library, part 2: commands, and the mark of structures that the TPM has made itself. */
#define CC_ACTIVATE	 0x147u
#define CC_NV_READ	 0x14eu
#define CC_POLICY_SECRET 0x151u
#define CC_QUOTE	 0x158u
#define CC_NV_PUBLIC	 0x169u

#define GENERATED    0xff544347u
#define ATTEST_QUOTE 0x8018u
#define ECDSA_BYTES  32u /* of r and of s on P-256, at most */

/*
 * Attributes of objects. Both: fixedTPM, fixedParent, sensitiveDataOrigin, restricted. The
 * attestation key: userWithAuth, noDA, sign. The endorsement key: adminWithPolicy, decrypt.
 */
#define AK_ATTRIBUTES 0x00050472u
#define EK_ATTRIBUTES 0x000300b2u

/* PolicyA of TCG's EK Credential Profile: TPM2_PolicySecret(TPM_RH_ENDORSEMENT). */
static const uint8_t endorsement_policy[TPM_SHA256_BYTES] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
	0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
	0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};

size_t tpm_put_attestation_key(uint8_t command[TPM_COMMAND_MAX])
{
	static const struct tpm_template template = { .hierarchy = TPM_RH_ENDORSEMENT,
						      .attributes = AK_ATTRIBUTES,
						      .signs = true };

	return tpm_put_create_primary(command, &template);
}

size_t tpm_put_endorsement_key(uint8_t command[TPM_COMMAND_MAX])
{
	static const struct tpm_template template = { .hierarchy = TPM_RH_ENDORSEMENT,
						      .attributes = EK_ATTRIBUTES,
						      .policy = endorsement_policy,
						      .unique_bytes = TPM_SHA256_BYTES };

	return tpm_put_create_primary(command, &template);
}

int tpm_get_key(const uint8_t *reply, size_t bytes, struct tpm_key *out)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_SESSIONS);
	size_t length;

	if (err != 0) {
		return err;
	}
	out->handle = tpm_get(&in, 4);
	(void)tpm_get(&in, 4); /* parameterSize: the public part has its own */
	if (!tpm_get_sized(&in, out->public_part + 2, sizeof(out->public_part) - 2, &length)) {
		return ERR_FORMAT;
	}
	out->public_part[0] = (uint8_t)(length >> 8);
	out->public_part[1] = (uint8_t)length;
	out->public_bytes = 2 + length;
	/* The kind of key, and the hash for its name, must be those of the template. */
	in = (struct tpm_in){ out->public_part + 2, length, false };
	return tpm_get(&in, 2) == TPM_ECC && tpm_get(&in, 2) == TPM_SHA256 ? 0 : ERR_FORMAT;
}

size_t tpm_put_quote(uint8_t command[TPM_COMMAND_MAX], uint32_t key, const uint8_t *nonce,
		     size_t nonce_bytes, uint32_t mask)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_QUOTE);

	CHECK(nonce_bytes <= TPM_NONCE_MAX);
	tpm_put(&out, key, 4);
	tpm_put_authorisation(&out, TPM_RS_PASSWORD);
	tpm_put(&out, (uint32_t)nonce_bytes, 2); /* qualifyingData */
	tpm_put_bytes(&out, nonce, nonce_bytes);
	tpm_put(&out, TPM_NULL, 2); /* inScheme: the key has its own */
	tpm_put_selection(&out, mask);
	return tpm_end(&out);
}

/* Takes a TPMT_SIGNATURE of ECDSA. */
static int get_signature(struct tpm_in *in, struct tpm_quote *out)
{
	const uint8_t *start = in->at;
	uint8_t number[ECDSA_BYTES];
	size_t bytes;

	if (tpm_get(in, 2) != TPM_ECDSA || tpm_get(in, 2) != TPM_SHA256 ||
	    !tpm_get_sized(in, number, sizeof(number), &bytes) ||
	    !tpm_get_sized(in, number, sizeof(number), &bytes)) {
		return ERR_FORMAT;
	}
	out->signature_bytes = (size_t)(in->at - start);
	memcpy(out->signature, start, out->signature_bytes);
	return 0;
}
_Static_assert(TPM_SIGNATURE_MAX >= 4 + 2 * (2 + ECDSA_BYTES), "it fits");

int tpm_get_quote(const uint8_t *reply, size_t bytes, struct tpm_quote *out)
{
	struct tpm_in in, message;
	int err = tpm_open(&in, reply, bytes, TPM_SESSIONS);

	if (err != 0) {
		return err;
	}
	(void)tpm_get(&in, 4); /* parameterSize: both parts have their own */
	if (!tpm_get_sized(&in, out->message, sizeof(out->message), &out->message_bytes)) {
		return ERR_FORMAT;
	}
	message = (struct tpm_in){ out->message, out->message_bytes, false };
	if (tpm_get(&message, 4) != GENERATED || tpm_get(&message, 2) != ATTEST_QUOTE) {
		return ERR_FORMAT;
	}
	return get_signature(&in, out);
}

size_t tpm_put_policy_secret(uint8_t command[TPM_COMMAND_MAX], uint32_t session)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_POLICY_SECRET);

	tpm_put(&out, TPM_RH_ENDORSEMENT, 4);
	tpm_put(&out, session, 4);
	tpm_put_authorisation(&out, TPM_RS_PASSWORD);
	tpm_put(&out, TPM_EMPTY, 2); /* nonceTPM */
	tpm_put(&out, TPM_EMPTY, 2); /* cpHashA */
	tpm_put(&out, TPM_EMPTY, 2); /* policyRef */
	tpm_put(&out, 0, 4);	     /* expiration */
	return tpm_end(&out);
}

int tpm_get_policy_secret(const uint8_t *reply, size_t bytes)
{
	struct tpm_in in;

	return tpm_open(&in, reply, bytes, TPM_SESSIONS); /* the rest, a ticket, is not needed */
}

size_t tpm_put_activate(uint8_t command[TPM_COMMAND_MAX], uint32_t attestation_key,
			uint32_t endorsement_key, uint32_t session, const uint8_t *credential,
			size_t credential_bytes)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_ACTIVATE);

	CHECK(credential_bytes <= TPM_CREDENTIAL_MAX);
	tpm_put(&out, attestation_key, 4);
	tpm_put(&out, endorsement_key, 4);
	tpm_put_authorisations(&out, TPM_RS_PASSWORD, session);
	tpm_put_bytes(&out, credential, credential_bytes);
	return tpm_end(&out);
}

int tpm_get_activated(const uint8_t *reply, size_t bytes, uint8_t proof[TPM_PROOF_MAX],
		      size_t *proof_bytes)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_SESSIONS);

	if (err != 0) {
		return err;
	}
	(void)tpm_get(&in, 4); /* parameterSize */
	return tpm_get_sized(&in, proof, TPM_PROOF_MAX, proof_bytes) ? 0 : ERR_FORMAT;
}

size_t tpm_put_nv_public(uint8_t command[TPM_COMMAND_MAX], uint32_t index)
{
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_NV_PUBLIC);

	tpm_put(&out, index, 4);
	return tpm_end(&out);
}

int tpm_get_nv_public(const uint8_t *reply, size_t bytes, size_t *length)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_NO_SESSIONS);

	if (err != 0) {
		return err;
	}
	(void)tpm_get(&in, 2);			   /* the length of all of it */
	(void)tpm_get(&in, 4);			   /* nvIndex */
	(void)tpm_get(&in, 2);			   /* nameAlg */
	(void)tpm_get(&in, 4);			   /* attributes */
	(void)tpm_get_bytes(&in, tpm_get(&in, 2)); /* authPolicy */
	*length = tpm_get(&in, 2);
	return in.short_of ? ERR_FORMAT : 0;
}

size_t tpm_put_nv_read(uint8_t command[TPM_COMMAND_MAX], uint32_t index, size_t offset,
		       size_t count)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_NV_READ);

	CHECK(count <= TPM_NV_PART);
	tpm_put(&out, index, 4); /* whose password it is */
	tpm_put(&out, index, 4);
	tpm_put_authorisation(&out, TPM_RS_PASSWORD);
	tpm_put(&out, (uint32_t)count, 2);
	tpm_put(&out, (uint32_t)offset, 2);
	return tpm_end(&out);
}

int tpm_get_nv_read(const uint8_t *reply, size_t bytes, uint8_t *to, size_t count)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_SESSIONS);
	size_t got;

	if (err != 0) {
		return err;
	}
	(void)tpm_get(&in, 4); /* parameterSize */
	return tpm_get_sized(&in, to, count, &got) && got == count ? 0 : ERR_FORMAT;
}
