/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What seal.py needs to seal keys for this machine elsewhere: the public part of the TPM's storage
 * key, PCR 4 and 7, the state of the machine, and firmware's event log. From the log seal.py
 * computes the value that PCR 4 will have when another program is started. All of it is public, and
 * Umbra itself reads none of it.
 */
#include "boot/efi_priv.h"

#include "crypto/verify.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

#define FOLDER "\\umbra\\report"
#define TEXT   FOLDER "\\seal.txt"
#define EVENTS FOLDER "\\seal.log"

static struct seal seal = { .tpm = { .submit = efi_tpm_submit, .wait = efi_tpm_wait } };
static char text[1024]; /* of the file: at most 640 characters */
static size_t text_bytes;

static void add_hex(const char *name, const uint8_t *data, size_t bytes)
{
	text_bytes += str_printf(text + text_bytes, sizeof(text) - text_bytes, "%s ", name);
	for (size_t i = 0; i < bytes; i++) {
		text_bytes += str_printf(text + text_bytes, sizeof(text) - text_bytes, "%02x",
					 data[i]);
	}
	text_bytes += str_printf(text + text_bytes, sizeof(text) - text_bytes, "\n");
}

/* Asks the TPM, and fills text. Returns NULL, or why that is not possible. */
static const char *ask(const char *state)
{
	static char why[240];
	static struct seal_state now;
	const char(*words)[SEAL_WORDS_MAX];
	int err = seal_need_storage_key(&seal);

	if (err == 0) {
		err = seal_read_pcrs(&seal, &now);
	}
	if (err != 0) {
		seal_explain(&seal, err, &now, efi_tpm_steps(&words), words, why, sizeof(why));
		return why;
	}
	text_bytes = str_printf(text, sizeof(text), "umbra-report 1\nstate %s\n", state);
	add_hex("pcr4", now.values[0], sizeof(now.values[0]));
	add_hex("pcr7", now.values[1], sizeof(now.values[1]));
	add_hex("srk", seal.storage_key.public_part, seal.storage_key.public_bytes);
	return NULL;
}
_Static_assert(sizeof("umbra-report 1\nstate \npcr4 \npcr7 \nsrk \n") + LAUNCH_WORDS_MAX +
			       2 * (2 * TPM_SHA256_BYTES + TPM_PUBLIC_MAX) <=
		       sizeof(text),
	       "it fits");

static const char *write_files(void)
{
	const uint8_t *log;
	size_t bytes = 0, count;
	const char *error = efi_tpm_event_log(&log, &bytes, &count);

	/*
	 * The log is written only if it is complete. Without it seal.py takes PCR 4 as the report
	 * gives it.
	 */
	if (efi_file_make_folder(FOLDER) != 0 ||
	    (error == NULL && efi_file_write_new(EVENTS, log, bytes) != 0) ||
	    efi_file_write_new(TEXT, text, text_bytes) != 0) {
		return "firmware could not write to " FOLDER;
	}
	if (error != NULL) {
		log_warn("[host] tpm = report: %s; so keys can be sealed only for the program "
			 "that wrote this report",
			 error);
	}
	return NULL;
}

/* Returns NULL, or why there is no report. */
static const char *make(const char *state)
{
	uint8_t hash[VERIFY_HASH_BYTES];
	char digits[2 * VERIFY_HASH_BYTES + 1];
	const char *error;

	/* Whatever fails below: an older report must not be taken for the one of this start. */
	if (efi_file_remove(TEXT) != 0 || efi_file_remove(EVENTS) != 0) {
		return "firmware could not remove an older report from " FOLDER;
	}
	if (state == NULL || !efi_tpm_works()) {
		return "firmware offers no TPM 2.0, or the TPM did not take a measurement";
	}
	error = ask(state);
	seal_end(&seal);
	if (error == NULL && verify_sha256(text, text_bytes, hash) != 0) {
		error = "the report's SHA-256 cannot be computed"; /* a user could not check it */
	}
	error = error == NULL ? write_files() : error;
	if (error != NULL) {
		return error;
	}
	for (size_t i = 0; i < sizeof(hash); i++) {
		(void)str_printf(digits + 2 * i, 3, "%02x", hash[i]); /* two digits fit */
	}
	/*
	 * Users compare this hash with the one that seal.py prints: an attacker could change the
	 * report on its way, and so decide what opens a key.
	 */
	log_info("TPM: the report has the SHA-256 %s", digits);
	return NULL;
}

void efi_report(const struct config *config, const char *state)
{
	const char *error;

	if (config->tpm != CONFIG_TPM_REPORT) {
		return;
	}
	error = make(state);
	if (error != NULL) {
		log_error("[host] tpm = report: %s; there is no new report", error);
	} else {
		log_info("[host] tpm = report: " TEXT " is written, for make seal");
	}
}
