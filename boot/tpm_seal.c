/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/tpm_seal.h"

#include "boot/tpm_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

/* TPM 2.0 Library, part 2: commands, handles, algorithms. */
#define CC_CREATE	 0x153u
#define CC_IMPORT	 0x156u
#define CC_LOAD		 0x157u
#define CC_UNSEAL	 0x15eu
#define CC_POLICY_PCR	 0x17fu
#define CC_POLICY_DIGEST 0x189u
#define CC_READ_PUBLIC	 0x173u
#define CC_HASH		 0x17du

#define ALG_KEYED   0x0008u
#define SCRUB_BYTES 256u

/*
 * Attributes of objects. The storage key: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth,
 * noDA, restricted, decrypt. The sealed object: fixedTPM, fixedParent; without userWithAuth only
 * the policy opens it.
 */
#define SRK_ATTRIBUTES	  0x00030472u
#define SEALED_ATTRIBUTES 0x00000012u

size_t tpm_put_primary(uint8_t command[TPM_COMMAND_MAX])
{
	static const struct tpm_template template = { .hierarchy = TPM_RH_OWNER,
						      .attributes = SRK_ATTRIBUTES };

	return tpm_put_create_primary(command, &template);
}

int tpm_get_primary(const uint8_t *reply, size_t bytes, struct tpm_storage_key *out)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_SESSIONS);

	if (err != 0) {
		return err;
	}
	out->handle = tpm_get(&in, 4);
	(void)tpm_get(&in, 4); /* parameterSize */
	return tpm_get_sized(&in, out->public_part, sizeof(out->public_part), &out->public_bytes)
		       ? 0
		       : ERR_FORMAT; /* the rest, on how it was created, is not needed */
}

size_t tpm_put_policy_pcr(uint8_t command[TPM_COMMAND_MAX], uint32_t session, uint32_t mask)
{
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_POLICY_PCR);

	tpm_put(&out, session, 4);
	tpm_put(&out, TPM_EMPTY, 2); /* pcrDigest: the TPM computes it */
	tpm_put_selection(&out, mask);
	return tpm_end(&out);
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
	tpm_put_authorisation(&out, TPM_RS_PASSWORD);
	tpm_put(&out, 4 + (uint32_t)bytes, 2); /* inSensitive: no password, the secret */
	tpm_put(&out, TPM_EMPTY, 2);
	tpm_put(&out, (uint32_t)bytes, 2);
	tpm_put_bytes(&out, secret, bytes);
	tpm_put(&out, 14 + TPM_SHA256_BYTES, 2); /* inPublic */
	tpm_put(&out, ALG_KEYED, 2);
	tpm_put(&out, TPM_SHA256, 2);
	tpm_put(&out, SEALED_ATTRIBUTES, 4);
	tpm_put(&out, TPM_SHA256_BYTES, 2);
	tpm_put_bytes(&out, policy, TPM_SHA256_BYTES);
	tpm_put(&out, TPM_NULL, 2);  /* scheme */
	tpm_put(&out, TPM_EMPTY, 2); /* unique */
	tpm_put(&out, TPM_EMPTY, 2); /* outsideInfo */
	tpm_put(&out, 0, 4);	     /* creationPCR */
	return tpm_end(&out);
}

int tpm_get_created(const uint8_t *reply, size_t bytes, struct tpm_sealed *out)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_SESSIONS);

	if (err != 0) {
		return err;
	}
	(void)tpm_get(&in, 4); /* parameterSize: each part has its own */
	if (!tpm_get_sized(&in, out->private_part, sizeof(out->private_part),
			   &out->private_bytes) ||
	    !tpm_get_sized(&in, out->public_part, sizeof(out->public_part), &out->public_bytes)) {
		return ERR_FORMAT;
	}
	return 0; /* the rest, on how it was created, is not needed */
}

static void put_sized(struct tpm_out *out, const uint8_t *data, size_t bytes)
{
	tpm_put(out, (uint32_t)bytes, 2);
	tpm_put_bytes(out, data, bytes);
}

size_t tpm_put_import(uint8_t command[TPM_COMMAND_MAX], uint32_t parent,
		      const struct tpm_sealed *sealed)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_IMPORT);

	CHECK(sealed->private_bytes <= TPM_PRIVATE_MAX && sealed->public_bytes <= TPM_PUBLIC_MAX &&
	      sealed->seed_bytes <= TPM_SEED_MAX);
	tpm_put(&out, parent, 4);
	tpm_put_authorisation(&out, TPM_RS_PASSWORD);
	tpm_put(&out, TPM_EMPTY, 2); /* encryptionKey: there is no inner wrapper */
	put_sized(&out, sealed->public_part, sealed->public_bytes);
	put_sized(&out, sealed->private_part, sealed->private_bytes);
	put_sized(&out, sealed->seed, sealed->seed_bytes);
	tpm_put(&out, TPM_NULL, 2); /* symmetricAlg: of the inner wrapper */
	return tpm_end(&out);
}

int tpm_get_imported(const uint8_t *reply, size_t bytes, uint8_t private_part[TPM_PRIVATE_MAX],
		     size_t *private_bytes)
{
	struct tpm_in in;
	int err = tpm_open(&in, reply, bytes, TPM_SESSIONS);

	if (err != 0) {
		return err;
	}
	(void)tpm_get(&in, 4); /* parameterSize */
	return tpm_get_sized(&in, private_part, TPM_PRIVATE_MAX, private_bytes) ? 0 : ERR_FORMAT;
}

size_t tpm_put_load(uint8_t command[TPM_COMMAND_MAX], uint32_t parent,
		    const struct tpm_sealed *sealed)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_LOAD);

	CHECK(sealed->private_bytes <= TPM_PRIVATE_MAX && sealed->public_bytes <= TPM_PUBLIC_MAX);
	tpm_put(&out, parent, 4);
	tpm_put_authorisation(&out, TPM_RS_PASSWORD);
	put_sized(&out, sealed->private_part, sealed->private_bytes);
	put_sized(&out, sealed->public_part, sealed->public_bytes);
	return tpm_end(&out);
}

int tpm_get_loaded(const uint8_t *reply, size_t bytes, uint32_t *handle)
{
	return tpm_get_handle(reply, bytes, TPM_SESSIONS, handle);
}

size_t tpm_put_unseal(uint8_t command[TPM_COMMAND_MAX], uint32_t object, uint32_t session)
{
	struct tpm_out out = tpm_begin(command, TPM_SESSIONS, CC_UNSEAL);

	tpm_put(&out, object, 4);
	tpm_put_authorisation(&out, session);
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
	return tpm_get_sized(&in, secret, TPM_SECRET_MAX, secret_bytes) ? 0 : ERR_FORMAT;
}

size_t tpm_put_read_public(uint8_t command[TPM_COMMAND_MAX], uint32_t object)
{
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_READ_PUBLIC);

	tpm_put(&out, object, 4);
	return tpm_end(&out);
}

size_t tpm_put_scrub(uint8_t command[TPM_COMMAND_MAX])
{
	static const uint8_t zeros[SCRUB_BYTES];
	struct tpm_out out = tpm_begin(command, TPM_NO_SESSIONS, CC_HASH);

	tpm_put(&out, SCRUB_BYTES, 2);
	tpm_put_bytes(&out, zeros, sizeof(zeros));
	tpm_put(&out, TPM_SHA256, 2);
	tpm_put(&out, TPM_RH_NULL, 4); /* hierarchy: of a ticket that nobody needs */
	return tpm_end(&out);
}
