/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A firmware's event log and a credential with any content, and a TPM that sends anything. The
 * input is the log, after its length in two bytes; the place of its last entry, in two bytes; the
 * credential, after its length; and then the replies, each after its length.
 */
#include "tests/fuzz/fuzz_tpm.h"
#include "boot/attest.h"
#include "boot/event_log.h"

/* Checks that the text of all events is printable, and that each lies within the log. */
static void look_at_events(const uint8_t *log, size_t bytes)
{
	static struct event_log_event events[8];

	for (uint32_t pcr = 0; pcr < 24; pcr++) {
		const size_t max = (pcr & 1) != 0 ? ARRAY_COUNT(events) : 2;
		size_t count = event_log_of_pcr(log, bytes, pcr, events, max);

		PROMISE(count <= max);
		while (count-- != 0) {
			PROMISE(events[count].sha256 >= log &&
				events[count].sha256 + 32 <= log + bytes);
			PROMISE(strlen(events[count].words) < EVENT_LOG_WORDS_MAX);
			for (const char *c = events[count].words; *c != '\0'; c++) {
				PROMISE(*c >= 0x20 && *c < 0x7f);
			}
		}
	}
}

static void measure_log(void)
{
	size_t bytes, length, last = 0, count;
	uint8_t *log = next_copy(&bytes);

	if (end - at >= 2) {
		last = (size_t)at[0] << 8 | at[1];
		at += 2;
	}
	length = event_log_bytes(log, last, bytes, &count);
	PROMISE(length == 0 || (length > last && length <= bytes && count >= 1));
	PROMISE(length == 0 || event_log_bytes(log, last, length, &count) == length);
	look_at_events(log, length != 0 ? length : bytes);
	free(log);
}

static void look(const struct attest *attest, int err)
{
	char text[64];

	PROMISE(err == 0 || err == ERR_IO || err == ERR_FORMAT || err == ERR_RIGHTS ||
		err == ERR_TAMPERED || err == ERR_NOTFOUND || err == ERR_RANGE);
	if (err == ERR_IO || err == ERR_FORMAT || err == ERR_RIGHTS) {
		tpm_explain(&attest->tpm, err, "hierarchy", text, sizeof(text));
		PROMISE(strlen(text) < sizeof(text) && text[0] != '\0');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static uint8_t values[ATTEST_PCRS][TPM_SHA256_BYTES], pcrs[ATTEST_PCRS_BYTES];
	static struct tpm_quote quote;
	struct attest attest = { .tpm = { .submit = submit, .wait = wait } };
	uint8_t nonce[TPM_NONCE_MAX] = { 1 }, proof[TPM_PROOF_MAX], certificate[600];
	const uint8_t *credential;
	uint8_t *file;
	size_t count;
	int err;

	begin(data, bytes);
	measure_log();
	file = next_copy(&count);
	credential = attest_credential(file, count, &count);
	look(&attest, attest_open(&attest));
	PROMISE(attest.attestation_key.public_bytes <= TPM_KEY_MAX);
	err = attest_quote(&attest, nonce, sizeof(nonce), values, &quote);
	look(&attest, err);
	PROMISE(err != 0 || (quote.message_bytes > 6 && quote.message_bytes <= TPM_QUOTE_MAX &&
			     quote.signature_bytes <= TPM_SIGNATURE_MAX));
	attest_pcrs_write((const uint8_t(*)[TPM_SHA256_BYTES])values, pcrs);
	look(&attest, attest_endorse(&attest));
	if (credential != NULL) {
		err = attest_activate(&attest, credential, count, proof, &count);
		look(&attest, err);
		PROMISE(count <= sizeof(proof) && (err != 0 || count != 0));
	}
	err = attest_certificate(&attest, certificate, sizeof(certificate), &count);
	look(&attest, err);
	PROMISE(count <= sizeof(certificate) && (err != 0 || count != 0));
	attest_end(&attest);
	free(file);
	return 0;
}
