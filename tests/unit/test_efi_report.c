/* SPDX-License-Identifier: Apache-2.0 */
/* boot/efi_report.c with a fake stick and a fake TPM: what is written, and why not. */
#include <stdio.h>

#include "tests/unit/test.h"
#include "boot/efi_priv.h"
#include "crypto/verify.h"
#include "tests/unit/efi_stick.h"
#include "vmm/base/err.h"

/* --- The TPM --- */

static bool no_hash;
static char hashed[1024];
static int key_error, read_error;
static unsigned ended;

int seal_need_storage_key(struct seal *seal)
{
	memset(seal->storage_key.public_part, 0xab, TPM_PUBLIC_MAX);
	seal->storage_key.public_bytes = TPM_PUBLIC_MAX; /* the longest */
	return key_error;
}

int seal_read_pcrs(struct seal *seal, struct seal_state *state)
{
	for (size_t i = 0; i < SEAL_PCRS; i++) {
		memset(state->values[i], (int)(0x40 + i), TPM_SHA256_BYTES);
	}
	return read_error;
}

void seal_end(struct seal *seal)
{
	ended++;
}

void seal_explain(const struct seal *seal, int err, const struct seal_state *then,
		  const struct seal_state *now, const char (*words)[SEAL_WORDS_MAX], char *text,
		  size_t max)
{
	snprintf(text, max, "explained %d", err);
}

int verify_sha256(const void *data, size_t bytes, uint8_t hash[VERIFY_HASH_BYTES])
{
	assert_in_range(bytes, 1, sizeof(hashed) - 1);
	memcpy(hashed, data, bytes);
	hashed[bytes] = '\0';
	memset(hash, 0xcd, VERIFY_HASH_BYTES);
	return no_hash ? ERR_IO : 0;
}

/* --- Tests --- */

static struct config config;

static int setup(void **state)
{
	fake_stick = (struct fake_stick){ 0 };
	fake_efi_tpm = (struct fake_efi_tpm){ .works = true, .log_bytes = 6, .log_count = 1 };
	no_hash = false;
	key_error = read_error = 0;
	ended = 0;
	config.tpm = CONFIG_TPM_REPORT;
	return fake_setup(state);
}

static void check_text(void)
{
	const char *text = fake_stick_content("\\umbra\\report\\seal.txt");
	const char *at = text;

	assert_non_null(text);
	assert_ptr_equal(strstr(text, "umbra-report 1\nstate a=b c=d\npcr4 40404040"), text);
	at = strstr(text, "\npcr7 41414141");
	assert_non_null(at);
	assert_int_equal(strcspn(at + 1, "\n"), 5 + 64);
	at = strstr(text, "\nsrk abab");
	assert_non_null(at);
	assert_int_equal(strcspn(at + 1, "\n"), 4 + 2 * TPM_PUBLIC_MAX);
	assert_string_equal(at + 1 + 4 + 2 * TPM_PUBLIC_MAX, "\n");
}

TEST(a_report_is_written_and_replaced, setup, fake_teardown)
{
	efi_report(&config, "a=b c=d");
	efi_report(&config, "a=b c=d");
	check_text();
	assert_string_equal(fake_stick_content("\\umbra\\report\\seal.log"), "events");
	/* The hash in the log is that of all that the file has. */
	assert_string_equal(hashed, fake_stick_content("\\umbra\\report\\seal.txt"));
	assert_non_null(strstr(fake_log_text(), "TPM: the report has the SHA-256 cdcdcdcd"));
	assert_non_null(strstr(fake_log_text(), "\\umbra\\report\\seal.txt is written"));
	assert_int_equal(ended, 2);
}

TEST(nothing_is_written_unasked, setup, fake_teardown)
{
	config.tpm = CONFIG_TPM_OPEN;
	efi_report(&config, "a=b c=d");
	config.tpm = CONFIG_TPM_SEAL;
	efi_report(&config, "a=b c=d");
	assert_null(fake_stick_content("\\umbra\\report\\seal.txt"));
	assert_string_equal(fake_log_text(), "");
}

/* An older log must not stay beside it: it would lead to other values. */
TEST(without_an_event_log, setup, fake_teardown)
{
	efi_report(&config, "a=b c=d");
	fake_efi_tpm.log_error = "it is cut off";
	efi_report(&config, "a=b c=d");
	check_text();
	assert_null(fake_stick_content("\\umbra\\report\\seal.log"));
	assert_non_null(strstr(fake_log_text(),
			       "warning: [host] tpm = report: it is cut off; so keys "
			       "can be sealed only for the program that wrote this report"));
}

static void write_older(void)
{
	memset(fake_stick.files, 0, sizeof(fake_stick.files));
	fake_stick_put("\\umbra\\report\\seal.txt", "older", 5);
	fake_stick_put("\\umbra\\report\\seal.log", "older", 5);
}

/* Nor is there an older one, unless firmware does not remove it. */
static void no_report(const char *state, const char *why)
{
	fake_log_reset();
	write_older();
	efi_report(&config, state);
	assert_non_null(strstr(fake_log_text(), "error: [host] tpm = report: "));
	assert_non_null(strstr(fake_log_text(), why));
	assert_null(strstr(fake_log_text(), "is written"));
	assert_null(strstr(fake_log_text(), "SHA-256 cd"));
	assert_true(fake_stick.remove_fails ==
		    (fake_stick_content("\\umbra\\report\\seal.txt") != NULL));
}

TEST(why_there_is_none, setup, fake_teardown)
{
	no_report(NULL, "firmware offers no TPM 2.0");
	fake_efi_tpm.works = false;
	no_report("a", "the TPM did not take a measurement");
	fake_efi_tpm.works = true;
	key_error = ERR_IO;
	no_report("a", "explained -8");
	key_error = 0;
	read_error = ERR_FORMAT;
	no_report("a", "explained -7");
	read_error = 0;
	no_hash = true;
	no_report("a", "the report's SHA-256 cannot be computed");
	no_hash = false;
	fake_stick.folder_fails = true;
	no_report("a", "firmware could not write to \\umbra\\report");
	fake_stick.folder_fails = false;
	fake_stick.write_fails = "";
	no_report("a", "firmware could not write");
	fake_stick.write_fails = NULL;
	fake_stick.remove_fails = true;
	no_report("a", "firmware could not remove an older report");
	assert_int_equal(ended, 5); /* not without a TPM */
}
