/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of a launch for a user elsewhere: what the TPM attests, in files of the stick that
 * tpm2-tools read, and in words. A nonce asks for it. Umbra itself reads nothing of the report.
 */
#include "boot/efi_priv.h"

#include "boot/attest.h"
#include "crypto/verify.h"
#include "vmm/base/err.h"
#include "vmm/console/log.h"
#include "vmm/base/str.h"

#define FOLDER	   "\\umbra\\report"
#define NONCE	   "\\umbra\\nonce"
#define CREDENTIAL "\\umbra\\credential"

#define NAME_BYTES	(2 + VERIFY_HASH_BYTES) /* of a key: the hash's identity, and the hash */
#define LINE_MAX	240u
#define TEXT_MAX	8192u
#define CERTIFICATE_MAX 4096u

static struct attest attest = { .tpm = { .submit = efi_tpm_submit, .wait = efi_tpm_wait } };
static char text[TEXT_MAX]; /* report.txt */
static size_t text_bytes;
static unsigned missing; /* parts of the report */

static struct vm_file nonce_file;
static uint8_t nonce[TPM_NONCE_MAX];
static uint64_t nonce_bytes;

/* Adds a line to report.txt and to the log. An error means that a part of the report is missing. */
static void say(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

static void say(enum log_level level, const char *format, ...)
{
	char line[LINE_MAX];
	__builtin_va_list args;

	__builtin_va_start(args, format);
	(void)str_vprintf(line, sizeof(line), format, args); /* a longer line is cut */
	__builtin_va_end(args);
	log_printf(level, "report: %s", line);
	text_bytes += str_printf(text + text_bytes, sizeof(text) - text_bytes, "%s%s\n",
				 level == LOG_ERROR ? "MISSING: " : "", line);
	missing += level == LOG_ERROR ? 1 : 0;
}

/* Says which part of the report is missing, and why: by err and the TPM's last answer. */
static void say_refused(const char *what, int err)
{
	char why[160];

	if (err == ERR_TAMPERED) {
		(void)str_copy(why, sizeof(why), "it was made for another TPM or another key");
	} else if (err == ERR_RANGE) {
		(void)str_copy(why, sizeof(why), "it is empty, or longer than 4 KiB");
	} else {
		tpm_explain(&attest.tpm, err, "endorsement hierarchy", why, sizeof(why));
	}
	say(LOG_ERROR, "%s: %s", what, why);
}

/* `to` has room for two digits for each byte, and a final zero. */
static const char *hex(const uint8_t *data, size_t bytes, char *to)
{
	to[0] = '\0';
	for (size_t i = 0; i < bytes; i++) {
		(void)str_printf(to + 2 * i, 3, "%02x", data[i]); /* two digits fit */
	}
	return to;
}

/* Writes a file of the report. */
static void keep(const char *name, const char *what, const void *data, size_t bytes)
{
	char path[VM_PATH_MAX];

	(void)str_printf(path, sizeof(path), "%s\\%s", FOLDER, name); /* it fits */
	if (efi_file_write_new(path, data, bytes) != 0) {
		say(LOG_ERROR, "%s, %s: firmware could not write it", name, what);
	} else {
		say(LOG_INFO, "%s: %s, %lu bytes", name, what, bytes);
	}
}

static void keep_key(const char *name, const char *what, const struct tpm_key *key)
{
	uint8_t key_name[NAME_BYTES] = { 0x00, 0x0b }; /* SHA-256 */
	char digits[2 * NAME_BYTES + 1];

	keep(name, what, key->public_part, key->public_bytes);
	/* A key's name is the hash of its public part, without the length at the start. */
	if (verify_sha256(key->public_part + 2, key->public_bytes - 2, key_name + 2) == 0) {
		say(LOG_INFO, "%s has the name %s", name, hex(key_name, sizeof(key_name), digits));
	}
}

static void report_quote(void)
{
	static uint8_t values[ATTEST_PCRS][TPM_SHA256_BYTES];
	static uint8_t file[ATTEST_PCRS_BYTES];
	static struct tpm_quote quote;
	char digits[2 * TPM_SHA256_BYTES + 1];
	const int err = attest_quote(&attest, nonce, nonce_bytes, values, &quote);

	if (err != 0) {
		say_refused("the quote", err);
		return;
	}
	keep("quote.msg", "the quote: the TPM's statement about its PCRs", quote.message,
	     quote.message_bytes);
	keep("quote.sig", "its signature by ak.pub", quote.signature, quote.signature_bytes);
	attest_pcrs_write((const uint8_t(*)[TPM_SHA256_BYTES])values, file);
	keep("pcrs", "the values of these PCRs", file, sizeof(file));
	for (size_t i = 0; i < ATTEST_PCRS; i++) {
		say(LOG_INFO, "PCR %u is %s", attest_pcrs[i],
		    hex(values[i], sizeof(values[i]), digits));
	}
}

static void report_events(void)
{
	const uint8_t *log;
	size_t bytes = 0, count;
	const char *error = efi_tpm_event_log(&log, &bytes, &count);

	if (bytes != 0) {
		keep("eventlog.bin", "firmware's log of all events, Umbra's among them", log,
		     bytes);
		say(LOG_INFO, "eventlog.bin has %lu entries", count);
	}
	if (error != NULL) {
		say(LOG_ERROR, "eventlog.bin: %s", error);
	}
}

static void report_certificate(void)
{
	static uint8_t certificate[CERTIFICATE_MAX];
	size_t bytes;
	const int err = attest_certificate(&attest, certificate, sizeof(certificate), &bytes);

	if (err == ERR_NOTFOUND) {
		say(LOG_INFO, "the TPM holds no certificate of an endorsement key on P-256. So "
			      "whoever enrols this machine has to check in another way that "
			      "ek.pub belongs to it");
	} else if (err != 0) {
		say_refused("ek.crt", err);
	} else {
		keep("ek.crt", "the maker's certificate of an endorsement key, as the TPM holds it",
		     certificate, bytes);
	}
}

static void report_credential(void)
{
	static uint8_t file[ATTEST_CREDENTIAL_FILE_MAX], proof[TPM_PROOF_MAX];
	struct vm_file of = { .path = CREDENTIAL };
	const uint8_t *credential;
	uint64_t bytes;
	size_t count;
	int err = efi_file_read_small(&of, file, sizeof(file), &bytes);

	if (err == ERR_NOTFOUND) {
		return; /* no user enrols this machine now */
	}
	if (err != 0) {
		say(LOG_ERROR, "%s: %s", of.path, of.error);
		return;
	}
	credential = attest_credential(file, bytes, &count);
	if (credential == NULL) {
		say(LOG_ERROR, "%s: this is not what tpm2_makecredential writes", of.path);
		return;
	}
	err = attest_activate(&attest, credential, count, proof, &count);
	if (err != 0) {
		say_refused(CREDENTIAL, err);
		return;
	}
	keep("secret", "the credential's secret, which shows that ak.pub and ek.pub are of one TPM",
	     proof, count);
}

static void report_endorsement(void)
{
	const int err = attest_endorse(&attest);

	if (err != 0) {
		say_refused("ek.pub, the endorsement key", err);
		return;
	}
	keep_key("ek.pub", "the endorsement key", &attest.endorsement_key);
	report_certificate();
	report_credential();
}

static void report(void)
{
	const int err = attest_open(&attest);

	if (err != 0) {
		say_refused("ak.pub, the attestation key", err);
		return;
	}
	keep_key("ak.pub", "the attestation key", &attest.attestation_key);
	report_quote();
	report_events();
	report_endorsement();
	attest_end(&attest);
}

/*
 * Makes the folder, and removes an older report from it, which must not be mixed with this one.
 * Returns false on failure.
 */
static bool make_room(void)
{
	static const char *const names[] = { "ak.pub", "quote.msg",    "quote.sig",
					     "pcrs",   "eventlog.bin", "ek.pub",
					     "ek.crt", "secret",       "report.txt" };
	char path[VM_PATH_MAX];
	bool good = efi_file_make_folder(FOLDER) == 0;

	for (size_t i = 0; i < ARRAY_COUNT(names) && good; i++) {
		(void)str_printf(path, sizeof(path), "%s\\%s", FOLDER, names[i]); /* it fits */
		good = efi_file_remove(path) == 0;
	}
	return good;
}

bool efi_attest_is_asked(void)
{
	int err;

	memset(&nonce_file, 0, sizeof(nonce_file));
	(void)str_copy(nonce_file.path, sizeof(nonce_file.path), NONCE); /* it fits */
	err = efi_file_read_small(&nonce_file, nonce, sizeof(nonce), &nonce_bytes);
	if (err == 0 && nonce_bytes < ATTEST_NONCE_MIN) {
		nonce_file.error = "a nonce has 16 to 32 bytes";
	}
	return err != ERR_NOTFOUND;
}

void efi_attest(const char *state, const char *why_not)
{
	char digits[2 * TPM_NONCE_MAX + 1];

	text_bytes = missing = 0;
	if (!make_room()) {
		log_error("%s asks for a report: firmware could not make %s, or remove an older "
			  "report from it",
			  NONCE, FOLDER);
		return;
	}
	if (why_not == NULL && !efi_tpm_works()) {
		why_not = "the TPM did not take a measurement";
	}
	say(LOG_INFO, "Umbra %s; the state of the machine: %s", UMBRA_VERSION, state);
	if (nonce_file.error != NULL) {
		say(LOG_ERROR, "%s: %s", NONCE, nonce_file.error);
	} else if (why_not != NULL) {
		say(LOG_ERROR, "the quote: %s", why_not);
	} else {
		say(LOG_INFO, "the nonce is %s", hex(nonce, nonce_bytes, digits));
		report();
	}
	if (missing == 0) {
		say(LOG_INFO, "nothing is missing");
	}
	keep("report.txt", "this text", text, text_bytes);
}
