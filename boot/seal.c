/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/seal.h"

#include "vmm/base/err.h"
#include "vmm/base/str.h"

const uint8_t seal_pcrs[SEAL_PCRS] = { 4, 7, 11, 12 };
_Static_assert(SEAL_MASK == (1u << 4 | 1u << 7 | 1u << 11 | 1u << 12), "the same PCRs");

/* --- The file: big-endian numbers, as in the TPM's own structures --- */

/* The file's first line says who has sealed the secret. */
static const char mark_own[] = "umbra-tpm 1\n";	   /* this TPM; both without their final zero */
static const char mark_import[] = "umbra-tpm 2\n"; /* another machine, for this TPM: with a seed */
#define MARK_BYTES (sizeof(mark_own) - 1)
_Static_assert(sizeof(mark_import) == sizeof(mark_own), "one length");

_Static_assert(MARK_BYTES + 4 + SEAL_PCRS * TPM_SHA256_BYTES + 2 +
			       SEAL_STEPS_MAX * sizeof(struct seal_step) + 2 + TPM_PRIVATE_MAX + 2 +
			       TPM_PUBLIC_MAX + 2 + TPM_SEED_MAX <=
		       SEAL_BLOB_MAX,
	       "the longest file");

static uint8_t *put(uint8_t *to, uint32_t value, unsigned bytes)
{
	while (bytes-- != 0) {
		*to++ = (uint8_t)(value >> 8 * bytes);
	}
	return to;
}

static uint8_t *put_bytes(uint8_t *to, const void *data, size_t bytes)
{
	memcpy(to, data, bytes);
	return to + bytes;
}

static uint8_t *put_sized(uint8_t *to, const uint8_t *data, size_t bytes)
{
	return put_bytes(put(to, (uint32_t)bytes, 2), data, bytes);
}

size_t seal_blob_write(const struct seal_blob *blob, uint8_t data[SEAL_BLOB_MAX])
{
	const struct seal_state *state = &blob->state;
	const struct tpm_sealed *sealed = &blob->sealed;
	uint8_t *to = put_bytes(data, sealed->seed_bytes != 0 ? mark_import : mark_own, MARK_BYTES);

	to = put(to, SEAL_MASK, 4);
	to = put_bytes(to, state->values, sizeof(state->values));
	to = put(to, (uint32_t)state->step_count, 2);
	to = put_bytes(to, state->steps, state->step_count * sizeof(state->steps[0]));
	to = put_sized(to, sealed->private_part, sealed->private_bytes);
	to = put_sized(to, sealed->public_part, sealed->public_bytes);
	if (sealed->seed_bytes != 0) {
		to = put_sized(to, sealed->seed, sealed->seed_bytes);
	}
	return (size_t)(to - data);
}

/* The bytes that were not read yet. */
struct rest {
	const uint8_t *at;
	size_t bytes;
};

static bool take(struct rest *rest, void *to, size_t bytes)
{
	if (rest->bytes < bytes) {
		return false;
	}
	memcpy(to, rest->at, bytes);
	rest->at += bytes;
	rest->bytes -= bytes;
	return true;
}

/* A number of two bytes that is at most max. */
static bool take_count(struct rest *rest, size_t max, size_t *count)
{
	uint8_t bytes[2];

	if (!take(rest, bytes, sizeof(bytes))) {
		return false;
	}
	*count = (size_t)bytes[0] << 8 | bytes[1];
	return *count <= max;
}

/* At least one byte and at most max bytes, after their number. */
static bool take_sized(struct rest *rest, uint8_t *to, size_t max, size_t *bytes)
{
	return take_count(rest, max, bytes) && *bytes != 0 && take(rest, to, *bytes);
}

bool seal_blob_read(const uint8_t *data, size_t bytes, struct seal_blob *out)
{
	static const uint8_t mask[4] = { SEAL_MASK >> 24, SEAL_MASK >> 16, SEAL_MASK >> 8 & 0xff,
					 SEAL_MASK & 0xff };
	struct seal_state *state = &out->state;
	struct tpm_sealed *sealed = &out->sealed;
	struct rest rest = { data, bytes };
	uint8_t start[MARK_BYTES + sizeof(mask)];
	bool imported;

	if (!take(&rest, start, sizeof(start)) ||
	    memcmp(start + MARK_BYTES, mask, sizeof(mask)) != 0) {
		return false;
	}
	imported = memcmp(start, mark_import, MARK_BYTES) == 0;
	if (!imported && memcmp(start, mark_own, MARK_BYTES) != 0) {
		return false;
	}
	sealed->seed_bytes = 0;
	return take(&rest, state->values, sizeof(state->values)) &&
	       take_count(&rest, SEAL_STEPS_MAX, &state->step_count) &&
	       take(&rest, state->steps, state->step_count * sizeof(state->steps[0])) &&
	       take_sized(&rest, sealed->private_part, sizeof(sealed->private_part),
			  &sealed->private_bytes) &&
	       take_sized(&rest, sealed->public_part, sizeof(sealed->public_part),
			  &sealed->public_bytes) &&
	       (!imported ||
		take_sized(&rest, sealed->seed, sizeof(sealed->seed), &sealed->seed_bytes)) &&
	       rest.bytes == 0;
}

/* --- The TPM --- */

int seal_need_storage_key(struct seal *seal)
{
	int err;

	if (seal->has_storage_key) {
		return 0;
	}
	err = TPM_CALL(&seal->tpm, "TPM2_CreatePrimary", tpm_put_primary(seal->tpm.command),
		       tpm_get_primary, &seal->storage_key);
	seal->has_storage_key = err == 0;
	return err;
}

/* Begins a session with the policy that the PCRs must have their present values. */
static int begin_policy(struct seal *seal, bool trial, uint32_t *session)
{
	int err = TPM_CALL(&seal->tpm, "TPM2_StartAuthSession",
			   tpm_put_session(seal->tpm.command, trial), tpm_get_session, session);

	if (err != 0) {
		return err;
	}
	err = TPM_CALL(&seal->tpm, "TPM2_PolicyPCR",
		       tpm_put_policy_pcr(seal->tpm.command, *session, SEAL_MASK), tpm_get_nothing);
	if (err != 0) {
		tpm_flush(&seal->tpm, *session);
	}
	return err;
}

int seal_read_pcrs(struct seal *seal, struct seal_state *state)
{
	int err = 0;

	for (size_t i = 0; i < SEAL_PCRS && err == 0; i++) {
		err = TPM_CALL(&seal->tpm, "TPM2_PCR_Read",
			       tpm_put_pcr_read(seal->tpm.command, seal_pcrs[i]), tpm_get_pcr_read,
			       seal_pcrs[i], state->values[i]);
	}
	return err;
}

int seal_make(struct seal *seal, const uint8_t *secret, size_t bytes, struct tpm_sealed *out)
{
	uint8_t policy[TPM_SHA256_BYTES];
	uint32_t session;
	int err = seal_need_storage_key(seal);

	if (err == 0) {
		err = begin_policy(seal, true, &session);
	}
	if (err != 0) {
		return err;
	}
	err = TPM_CALL(&seal->tpm, "TPM2_PolicyGetDigest",
		       tpm_put_policy_digest(seal->tpm.command, session), tpm_get_policy_digest,
		       policy);
	tpm_flush(&seal->tpm, session);
	if (err == 0) {
		err = TPM_CALL(&seal->tpm, "TPM2_Create",
			       tpm_put_create(seal->tpm.command, seal->storage_key.handle, secret,
					      bytes, policy),
			       tpm_get_created, out);
		secure_zero(seal->tpm.command, sizeof(seal->tpm.command));
	}
	return err;
}

/* Turns an object that was made elsewhere into one of this TPM. */
static int import(struct seal *seal, const struct tpm_sealed *sealed, struct tpm_sealed *out)
{
	*out = *sealed;
	return TPM_CALL(&seal->tpm, "TPM2_Import",
			tpm_put_import(seal->tpm.command, seal->storage_key.handle, sealed),
			tpm_get_imported, out->private_part, &out->private_bytes);
}

int seal_open(struct seal *seal, const struct tpm_sealed *sealed, uint8_t secret[TPM_SECRET_MAX],
	      size_t *bytes)
{
	struct tpm_sealed imported;
	uint32_t object, session;
	int err = seal_need_storage_key(seal);

	*bytes = 0;
	if (err != 0) {
		return err;
	}
	if (sealed->seed_bytes != 0) {
		err = import(seal, sealed, &imported);
		if (err != 0) {
			return err;
		}
		sealed = &imported;
	}
	err = TPM_CALL(&seal->tpm, "TPM2_Load",
		       tpm_put_load(seal->tpm.command, seal->storage_key.handle, sealed),
		       tpm_get_loaded, &object);
	if (err != 0) {
		return err;
	}
	err = begin_policy(seal, false, &session);
	if (err == 0) {
		err = TPM_CALL(&seal->tpm, "TPM2_Unseal",
			       tpm_put_unseal(seal->tpm.command, object, session), tpm_get_unsealed,
			       secret, bytes);
		secure_zero(seal->tpm.reply, sizeof(seal->tpm.reply));
		tpm_flush(&seal->tpm, session);
	}
	tpm_flush(&seal->tpm, object);
	return err;
}

/*
 * After a shorter command, the end of the TPM's buffer for commands still holds what was there
 * before, such as a secret that was sealed. In the same way a buffer for replies, which may be
 * another one, can hold a secret that was opened. So this sends a command with a long reply, and a
 * long command.
 */
static void scrub(struct seal *seal)
{
	size_t bytes;

	/* nothing more can be done if one fails */
	(void)tpm_send(&seal->tpm, "TPM2_ReadPublic",
		       tpm_put_read_public(seal->tpm.command, seal->storage_key.handle), &bytes);
	(void)tpm_send(&seal->tpm, "TPM2_Hash", tpm_put_scrub(seal->tpm.command), &bytes);
}

void seal_end(struct seal *seal)
{
	if (seal->has_storage_key) {
		scrub(seal);
		tpm_flush(&seal->tpm, seal->storage_key.handle);
		seal->has_storage_key = false;
	}
	secure_zero(seal->tpm.command, sizeof(seal->tpm.command));
	secure_zero(seal->tpm.reply, sizeof(seal->tpm.reply));
}

/* --- Words --- */

/* What a PCR that differs means, without the event. */
static const char *const meanings[SEAL_PCRS] = {
	"this program, or how firmware has started it",
	"Secure Boot is switched on or off, or its keys have changed",
	"a kernel, an initrd or the image of a disk",
	"umbra.conf, the manifest or the state of the machine",
};

/* Whether Umbra measures into this PCR, and not firmware. */
static bool is_ours(uint8_t pcr)
{
	return pcr > 8;
}

/* Whether all steps of the PCR are known. */
static bool has_all(const struct seal_state *state, uint8_t pcr)
{
	size_t ours = 0, of_pcr = 0;

	for (size_t i = 0; i < state->step_count; i++) {
		ours += is_ours(state->steps[i].pcr);
		of_pcr += state->steps[i].pcr == pcr;
	}
	return is_ours(pcr) ? ours < SEAL_OWN_MAX : of_pcr != 0;
}

/*
 * Compares the steps of a PCR whose values differ. Returns the index in `now` of the first step
 * that differs from the step at the same place in `then`. Returns now->step_count if `then` only
 * has more steps, or -1 if steps are missing, so that the difference is not known.
 */
static long first_difference(const struct seal_state *then, const struct seal_state *now,
			     uint8_t pcr)
{
	size_t at = 0;

	for (size_t i = 0; i < now->step_count; i++) {
		if (now->steps[i].pcr != pcr) {
			continue;
		}
		while (at < then->step_count && then->steps[at].pcr != pcr) {
			at++;
		}
		if (at == then->step_count) {
			return has_all(then, pcr) ? (long)i : -1;
		}
		if (memcmp(&then->steps[at], &now->steps[i], sizeof(then->steps[at])) != 0) {
			return (long)i;
		}
		at++;
	}
	return has_all(now, pcr) ? (long)now->step_count : -1;
}

_Static_assert(SEAL_PCRS *(sizeof("PCR 12 differs (first in: )\n") + SEAL_WORDS_MAX) <=
		       SEAL_WHY_MAX,
	       "it fits");

static void explain_pcrs(const struct seal_state *then, const struct seal_state *now,
			 const char (*words)[SEAL_WORDS_MAX], char *text, size_t max)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < SEAL_PCRS && used + 1 < max; i++) {
		long step;

		if (memcmp(then->values[i], now->values[i], sizeof(then->values[i])) == 0) {
			continue;
		}
		step = first_difference(then, now, seal_pcrs[i]);
		used += str_printf(text + used, max - used, "%sPCR %u differs (%s%s)",
				   used != 0 ? "\n" : "", seal_pcrs[i],
				   step < 0			    ? ""
				   : (size_t)step < now->step_count ? "first in: "
								    : "fewer measurements: ",
				   step >= 0 && (size_t)step < now->step_count ? words[step]
									       : meanings[i]);
	}
	if (used == 0) {
		(void)str_copy(text, max,
			       "the TPM refuses the PCRs, although they have the values that the "
			       "file names");
	}
}

void seal_explain(const struct seal *seal, int err, const struct seal_state *then,
		  const struct seal_state *now, const char (*words)[SEAL_WORDS_MAX], char *text,
		  size_t max)
{
	if (err == ERR_RIGHTS) {
		explain_pcrs(then, now, words, text, max);
	} else if (err == ERR_TAMPERED) {
		(void)str_copy(text, max,
			       "it was not sealed by or for this TPM, or it was changed");
	} else {
		tpm_explain(&seal->tpm, err, "owner", text, max);
	}
}
