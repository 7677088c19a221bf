/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/efi_attest.c with a fake stick and a fake TPM: a report is written if there is a nonce, it
 * says what is missing, and nothing of an older one is left in it.
 */
#include <stdio.h>

#include "tests/unit/test.h"
#include "boot/attest.h"
#include "boot/efi_priv.h"
#include "crypto/verify.h"
#include "tests/unit/efi_stick.h"
#include "vmm/base/err.h"

/* The content of a file of the report, or NULL. */
static const char *content(const char *name)
{
	char path[VM_PATH_MAX];

	snprintf(path, sizeof(path), "\\umbra\\report\\%s", name);
	return fake_stick_content(path);
}

/* --- The TPM --- */

static int open_error, endorse_error, quote_error, activate_error, certificate_error;
static unsigned ended;

const uint8_t attest_pcrs[ATTEST_PCRS] = { 0, 1, 2, 3, 4, 5, 6, 7, 11, 12 };

int attest_open(struct attest *attest)
{
	attest->attestation_key.public_bytes = 2 + 88;
	memset(attest->attestation_key.public_part, 'a', 90);
	return open_error;
}

int attest_endorse(struct attest *attest)
{
	attest->endorsement_key.public_bytes = 2 + 122;
	memset(attest->endorsement_key.public_part, 'e', 124);
	return endorse_error;
}

int attest_quote(struct attest *attest, const uint8_t *nonce, size_t nonce_bytes,
		 uint8_t values[ATTEST_PCRS][TPM_SHA256_BYTES], struct tpm_quote *out)
{
	memset(values, 0x1f, (size_t)ATTEST_PCRS * TPM_SHA256_BYTES);
	memcpy(out->message, nonce, nonce_bytes);
	out->message_bytes = nonce_bytes;
	out->signature[0] = 's';
	out->signature_bytes = 1;
	return quote_error;
}

int attest_activate(struct attest *attest, const uint8_t *credential, size_t credential_bytes,
		    uint8_t proof[TPM_PROOF_MAX], size_t *proof_bytes)
{
	memcpy(proof, credential, credential_bytes);
	*proof_bytes = credential_bytes;
	return activate_error;
}

int attest_certificate(struct attest *attest, uint8_t *to, size_t max, size_t *bytes)
{
	to[0] = 'c';
	*bytes = 1;
	return certificate_error;
}

void attest_end(struct attest *attest)
{
	ended++;
}

const uint8_t *attest_credential(const uint8_t *file, size_t file_bytes, size_t *bytes)
{
	*bytes = file_bytes - 1;
	return file[0] == 'C' ? file + 1 : NULL;
}

void attest_pcrs_write(const uint8_t values[ATTEST_PCRS][TPM_SHA256_BYTES],
		       uint8_t file[ATTEST_PCRS_BYTES])
{
	file[0] = values[0][0];
}

void tpm_explain(const struct tpm_talk *tpm, int err, const char *whose, char *text, size_t max)
{
	snprintf(text, max, "explained %d of the %s", err, whose);
}

int verify_sha256(const void *data, size_t bytes, uint8_t hash[VERIFY_HASH_BYTES])
{
	memset(hash, (int)bytes, VERIFY_HASH_BYTES);
	return 0;
}

/* --- Tests --- */

#define NONCE "0123456789abcdef"

static int setup(void **state)
{
	fake_stick = (struct fake_stick){ 0 };
	fake_efi_tpm = (struct fake_efi_tpm){ .works = true, .log_bytes = 6, .log_count = 3 };
	open_error = endorse_error = quote_error = activate_error = certificate_error = 0;
	ended = 0;
	return fake_setup(state);
}

static void said(const char *what)
{
	if (strstr(fake_log_text(), what) == NULL) {
		fail_msg("the log lacks: %s", what);
	}
}

/* What a start does. */
static void attest_now(const char *why_not)
{
	if (efi_attest_is_asked()) {
		efi_attest("tme=none", why_not);
	}
}

/* The report has this line, and the log, too. */
static void reported(const char *what)
{
	char line[300];

	said(what);
	assert_non_null(content("report.txt"));
	snprintf(line, sizeof(line), "%s\n", what);
	if (strstr(content("report.txt"), line) == NULL) {
		fail_msg("the report lacks: %s", what);
	}
}

TEST(nobody_asks, setup, fake_teardown)
{
	fake_stick_put("\\umbra\\report\\quote.msg", "old", 3);
	attest_now(NULL);
	assert_string_equal(content("quote.msg"), "old");
	assert_null(content("report.txt"));
	assert_int_equal(ended, 0);
}

TEST(a_whole_report, setup, fake_teardown)
{
	fake_stick_put("\\umbra\\nonce", NONCE, 16);
	fake_stick_put("\\umbra\\credential", "Csecret", 7);
	fake_stick_put("\\umbra\\report\\quote.msg", "old", 3);
	attest_now(NULL);
	assert_string_equal(content("quote.msg"), NONCE);
	assert_string_equal(content("quote.sig"), "s");
	assert_string_equal(content("eventlog.bin"), "events");
	assert_string_equal(content("secret"), "secret");
	assert_string_equal(content("ek.crt"), "c");
	assert_int_equal(strlen(content("ak.pub")), 90);
	assert_int_equal(strlen(content("ek.pub")), 124);
	assert_int_equal(content("pcrs")[0], 0x1f);
	reported("the nonce is 30313233343536373839616263646566");
	reported("ak.pub has the name "
		 "000b5858585858585858585858585858585858585858585858585858585858585858");
	reported("PCR 12 is 1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f");
	reported("eventlog.bin has 3 entries");
	reported("nothing is missing");
	assert_non_null(strstr(content("report.txt"), "the state of the machine: tme=none\n"));
	assert_null(strstr(fake_log_text(), "error: "));
	assert_int_equal(ended, 1);
}

/* An older report's proof must not be taken for this one's. */
TEST(nothing_of_an_older_report_is_left, setup, fake_teardown)
{
	static const char *const names[] = { "ak.pub", "quote.msg", "quote.sig", "pcrs",
					     "secret", "ek.pub",    "ek.crt",	 "eventlog.bin" };
	char path[VM_PATH_MAX];

	fake_stick_put("\\umbra\\nonce", NONCE, 16);
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		snprintf(path, sizeof(path), "\\umbra\\report\\%s", names[i]);
		fake_stick_put(path, "old", 3);
	}
	attest_now("there is no TPM");
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		assert_null(content(names[i]));
	}
	reported("the quote: there is no TPM");
	assert_non_null(strstr(content("report.txt"), "MISSING: the quote"));
	fake_efi_tpm.works = false;
	attest_now(NULL);
	reported("the quote: the TPM did not take a measurement");
	assert_null(strstr(content("report.txt"), "nothing is missing"));
}

TEST(no_place_for_the_report, setup, fake_teardown)
{
	fake_stick_put("\\umbra\\nonce", NONCE, 16);
	fake_stick_put("\\umbra\\report\\secret", "old", 3);
	fake_stick.remove_fails = true;
	attest_now(NULL);
	assert_null(content("report.txt"));
	fake_stick.remove_fails = false;
	fake_stick.folder_fails = true;
	attest_now(NULL);
	assert_null(content("report.txt"));
	said("error: \\umbra\\nonce asks for a report: firmware could not make \\umbra\\report, or "
	     "remove an older report from it");
	assert_int_equal(ended, 0);
}

TEST(nonces_of_a_wrong_length, setup, fake_teardown)
{
	fake_stick_put("\\umbra\\nonce", NONCE, 15);
	attest_now(NULL);
	reported("\\umbra\\nonce: a nonce has 16 to 32 bytes");
	assert_null(content("quote.msg"));
	fake_stick_find("\\umbra\\nonce")->bytes = 33;
	attest_now(NULL);
	reported("\\umbra\\nonce: the file is too large");
	assert_null(content("quote.msg"));
	fake_stick_find("\\umbra\\nonce")->bytes = 32;
	attest_now(NULL);
	assert_non_null(content("quote.msg"));
}

/* What fails is named, and the rest is there. */
TEST(parts_that_are_missing, setup, fake_teardown)
{
	fake_stick_put("\\umbra\\nonce", NONCE, 16);
	fake_stick_put("\\umbra\\credential", "Csecret", 7);
	quote_error = ERR_FORMAT;
	activate_error = ERR_TAMPERED;
	certificate_error = ERR_RANGE;
	fake_efi_tpm.log_error = "firmware has cut its event log off";
	attest_now(NULL);
	reported("the quote: explained -7 of the endorsement hierarchy");
	reported("\\umbra\\credential: it was made for another TPM or another key");
	reported("ek.crt: it is empty, or longer than 4 KiB");
	reported("eventlog.bin: firmware has cut its event log off");
	assert_string_equal(content("eventlog.bin"), "events"); /* its beginning */
	assert_null(content("quote.msg"));
	assert_null(content("quote.sig"));
	assert_null(content("pcrs"));
	assert_null(content("secret"));
	assert_null(content("ek.crt"));
	assert_non_null(content("ek.pub"));
	assert_null(strstr(content("report.txt"), "nothing is missing"));
	assert_int_equal(ended, 1);
}

TEST(keys_that_the_tpm_does_not_make, setup, fake_teardown)
{
	fake_stick_put("\\umbra\\nonce", NONCE, 16);
	fake_stick_put("\\umbra\\credential", "Xsecret", 7);
	endorse_error = ERR_IO;
	attest_now(NULL);
	reported("ek.pub, the endorsement key: explained -8 of the endorsement hierarchy");
	assert_null(content("ek.pub"));
	assert_non_null(content("quote.msg"));
	endorse_error = 0;
	attest_now(NULL);
	reported("\\umbra\\credential: this is not what tpm2_makecredential writes");
	open_error = ERR_IO;
	attest_now(NULL);
	reported("ak.pub, the attestation key: explained -8 of the endorsement hierarchy");
	assert_null(content("ak.pub"));
	assert_null(content("quote.msg"));
}

TEST(a_file_that_is_not_written, setup, fake_teardown)
{
	fake_stick_put("\\umbra\\nonce", NONCE, 16);
	fake_stick.write_fails = "\\umbra\\report\\pcrs";
	certificate_error = ERR_NOTFOUND;
	fake_efi_tpm.log_bytes = 0;
	fake_efi_tpm.log_error = "firmware gives no event log";
	attest_now(NULL);
	reported("pcrs, the values of these PCRs: firmware could not write it");
	reported("eventlog.bin: firmware gives no event log");
	assert_null(content("eventlog.bin"));
	said("the TPM holds no certificate of an endorsement key on P-256");
	fake_stick.write_fails = "\\umbra\\report\\report.txt";
	attest_now(NULL);
	said("error: report: report.txt, this text: firmware could not write it");
}
