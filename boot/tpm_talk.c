/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/tpm_talk.h"

#include "boot/tpm_seal.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

/* The pauses between tries double: 2.5 s in all, enough for the self-test of a TPM. */
#define TRIES	      8u
#define FIRST_WAIT_MS 20u

/* The errors of format 1 have their number in the low six bits. */
#define CODE_FORMAT_1	 0x080u
#define CODE_NUMBER	 0x03fu
#define CODE_ASYMMETRIC	 0x001u
#define CODE_VALUE	 0x004u
#define CODE_POLICY_FAIL 0x01du
#define CODE_INTEGRITY	 0x01fu
#define CODE_BAD_AUTH	 0x022u
#define CODE_CURVE	 0x026u
#define CODE_LOCKOUT	 0x921u
/* The TPM asks to send the command again. */
#define CODE_YIELDED 0x908u
#define CODE_TESTING 0x90au
#define CODE_RETRY   0x922u

bool tpm_has_refused(const struct tpm_talk *tpm, uint32_t number)
{
	return (tpm->code & CODE_FORMAT_1) != 0 && (tpm->code & CODE_NUMBER) == number;
}

int tpm_send(struct tpm_talk *tpm, const char *name, size_t bytes, size_t *reply_bytes)
{
	int err = 0;

	tpm->command_name = name;
	for (unsigned i = 0; i < TRIES; i++) {
		if (i != 0) {
			tpm->wait(FIRST_WAIT_MS << (i - 1));
		}
		tpm->code = 0;
		*reply_bytes = 0;
		err = tpm->submit(tpm->command, bytes, tpm->reply, reply_bytes);
		if (err == 0 && *reply_bytes <= TPM_REPLY_MAX) {
			tpm->code = tpm_reply_code(tpm->reply, *reply_bytes);
		}
		if (tpm->code != CODE_YIELDED && tpm->code != CODE_TESTING &&
		    tpm->code != CODE_RETRY) {
			break;
		}
	}
	return err != 0 ? ERR_IO : *reply_bytes > TPM_REPLY_MAX ? ERR_FORMAT : 0;
}

int tpm_meaning(const struct tpm_talk *tpm, int err)
{
	if (err == ERR_IO && tpm_has_refused(tpm, CODE_POLICY_FAIL)) {
		return ERR_RIGHTS;
	}
	return err == ERR_IO && tpm_has_refused(tpm, CODE_INTEGRITY) ? ERR_TAMPERED : err;
}

void tpm_flush(struct tpm_talk *tpm, uint32_t handle)
{
	const char *name = tpm->command_name;
	const uint32_t code = tpm->code;

	/* If that fails, the TPM forgets the object at its next reset. */
	(void)TPM_CALL(tpm, "TPM2_FlushContext", tpm_put_flush(tpm->command, handle),
		       tpm_get_nothing);
	tpm->command_name = name;
	tpm->code = code;
}

/*
 * Whether TPM2_CreatePrimary, which makes all keys of Umbra, has failed for lack of the curve: an
 * old TPM may have no elliptic curves.
 */
static bool lacks_curve(const struct tpm_talk *tpm)
{
	return strcmp(tpm->command_name, "TPM2_CreatePrimary") == 0 &&
	       (tpm_has_refused(tpm, CODE_CURVE) || tpm_has_refused(tpm, CODE_VALUE) ||
		tpm_has_refused(tpm, CODE_ASYMMETRIC));
}

void tpm_explain(const struct tpm_talk *tpm, int err, const char *whose, char *text, size_t max)
{
	if (err == ERR_FORMAT && strcmp(tpm->command_name, "TPM2_PCR_Read") == 0) {
		/* A TPM without a SHA-256 bank replies without values. */
		(void)str_copy(text, max,
			       "the TPM gives no SHA-256 values of PCRs: switch on its SHA-256 "
			       "bank in firmware's set-up");
	} else if (err == ERR_FORMAT) {
		(void)str_printf(text, max, "the TPM's reply to %s makes no sense",
				 tpm->command_name);
	} else if (tpm_has_refused(tpm, CODE_BAD_AUTH)) {
		(void)str_printf(text, max,
				 "the TPM's %s has a password, which Umbra does not know: clear it "
				 "in firmware's set-up",
				 whose);
	} else if (lacks_curve(tpm)) {
		(void)str_printf(text, max,
				 "the TPM makes no key on the curve P-256 (code %x), which TCG's "
				 "profile for PCs demands: ask its maker for newer firmware",
				 tpm->code);
	} else if (tpm->code == CODE_LOCKOUT) {
		(void)str_copy(text, max,
			       "the TPM is in lock-out after wrong passwords: wait, or "
			       "clear it");
	} else if (tpm->code != 0) {
		(void)str_printf(text, max, "the TPM refuses %s with code %x", tpm->command_name,
				 tpm->code);
	} else {
		(void)str_printf(text, max, "the TPM does not answer to %s", tpm->command_name);
	}
}
