/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/attest.c and boot/tpm_attest.c: the commands are those that a TPM has understood, its
 * replies are used, and whatever else comes is refused. Event logs of any kind are in
 * test_event_log.c.
 */
#include "tests/unit/test.h"
#include "boot/attest.h"
#include "tests/unit/tpm_attest_recorded.h"
#include "tests/unit/tpm_player.h"
#include "vmm/base/err.h"

#define CERTIFICATE_BYTES 520u /* what was recorded */

static struct attest attest;
static struct tpm_quote quote;
static uint8_t values[ATTEST_PCRS][TPM_SHA256_BYTES], nonce[TPM_NONCE_MAX], proof[TPM_PROOF_MAX];
static uint8_t certificate[CERTIFICATE_BYTES], file[ATTEST_CREDENTIAL_FILE_MAX + 1];
static size_t count;

static int setup(void **state)
{
	memset(&attest, 0, sizeof(attest));
	player_reset(&attest.tpm);
	for (size_t i = 0; i < sizeof(nonce); i++) {
		nonce[i] = (uint8_t)(0x40 + i);
	}
	return fake_setup(state);
}

static int keys(void)
{
	int err;

	PLAY(ak);
	err = attest_open(&attest);
	PLAY(ek);
	return err != 0 ? err : attest_endorse(&attest);
}

static int take_quote(void)
{
	PLAY(quote);
	return attest_quote(&attest, nonce, sizeof(nonce), values, &quote);
}

static int activate(const char *hex)
{
	const size_t bytes = bytes_of(hex, file);
	size_t length;
	const uint8_t *credential = attest_credential(file, bytes, &length);

	assert_non_null(credential);
	return attest_activate(&attest, credential, length, proof, &count);
}

static int certify(size_t max)
{
	return attest_certificate(&attest, certificate, max, &count);
}

TEST(the_tpm_quotes_and_opens_a_credential, setup, fake_teardown)
{
	assert_int_equal(keys(), 0);
	assert_int_equal(attest.attestation_key.public_bytes, 90);
	assert_int_equal(attest.endorsement_key.public_bytes, 124);
	assert_int_equal(take_quote(), 0);
	assert_int_equal(script_left, 0);
	assert_int_equal(quote.message_bytes, 145);
	assert_memory_equal(quote.message + 4 + 2 + 36 + 2, nonce, sizeof(nonce));
	assert_int_equal(quote.signature_bytes, 72);
	PLAY(activate);
	assert_int_equal(activate(credential_file), 0);
	assert_int_equal(script_left, 0); /* the session is flushed, too */
	assert_int_equal(count, 32);
	assert_int_equal(proof[0] << 8 | proof[31], 0x203f);
	PLAY(certificate);
	assert_int_equal(certify(sizeof(certificate)), 0);
	assert_int_equal(count, CERTIFICATE_BYTES);
	for (size_t i = 0; i < sizeof(certificate); i++) {
		assert_int_equal(certificate[i], (uint8_t)(i * 7 + 3));
	}
	PLAY(end);
	attest_end(&attest);
	assert_int_equal(script_left, 0);
	attest_end(&attest); /* nothing is left */
}

TEST(a_credential_for_another_key_stays_shut, setup, fake_teardown)
{
	assert_int_equal(keys(), 0);
	PLAY(other);
	assert_int_equal(activate(other_credential_file), ERR_TAMPERED);
	assert_int_equal(script_left, 0);
	assert_int_equal(count, 0);
}

TEST(a_tpm_without_or_with_a_long_certificate, setup, fake_teardown)
{
	PLAY(no_certificate);
	assert_int_equal(certify(sizeof(certificate)), ERR_NOTFOUND);
	PLAY(certificate);
	assert_int_equal(certify(sizeof(certificate) - 1), ERR_RANGE);
	assert_int_equal(script_left, 2); /* nothing was read */
	gone = true;
	assert_int_equal(certify(sizeof(certificate)), ERR_IO);
}

static int everything(void)
{
	int err = keys();

	err = err != 0 ? err : take_quote();
	PLAY(activate);
	err = err != 0 ? err : activate(credential_file);
	PLAY(certificate);
	return err != 0 ? err : certify(sizeof(certificate));
}

/* Whatever bit of a reply is wrong: no read beyond it, which ASan would see, and a known end. */
TEST(damaged_replies, setup, fake_teardown)
{
	for (damaged = 0; damaged < 900 * 8; damaged++) {
		const int err = everything();

		assert_true(err == 0 || err == ERR_IO || err == ERR_FORMAT || err == ERR_RIGHTS ||
			    err == ERR_TAMPERED || err == ERR_NOTFOUND || err == ERR_RANGE);
		assert_in_range(quote.message_bytes, 0, TPM_QUOTE_MAX);
		assert_in_range(quote.signature_bytes, 0, TPM_SIGNATURE_MAX);
		assert_in_range(attest.endorsement_key.public_bytes, 0, TPM_KEY_MAX);
		assert_in_range(count, 0, CERTIFICATE_BYTES);
	}
}

TEST(cut_replies, setup, fake_teardown)
{
	damaged = 1 << 30;		  /* commands are not compared */
	for (cut = 0; cut < 858; cut++) { /* the longest set, the quote with its PCRs */
		assert_int_not_equal(take_quote(), 0);
	}
	for (cut = 0; cut < 312; cut++) {
		assert_int_not_equal(keys(), 0);
	}
	cut = SIZE_MAX;
	assert_int_equal(keys(), 0);
	assert_int_equal(take_quote(), 0);
	for (cut = 0; cut < 135; cut++) {
		PLAY(activate);
		assert_int_not_equal(activate(credential_file), 0);
		PLAY(certificate);
		assert_int_not_equal(certify(sizeof(certificate)), 0);
	}
}

/* A key of another kind, and a quote that is none: what the TPM says itself has a mark. */
TEST(replies_of_another_kind, setup, fake_teardown)
{
	uint8_t reply[TPM_REPLY_MAX];
	struct tpm_key key;
	size_t bytes = bytes_of(recorded_ak[0].reply, reply);

	assert_int_equal(tpm_get_key(reply, bytes, &key), 0);
	for (size_t at = 20; at < 24; at++) { /* its type and the hash of its name */
		reply[at] ^= 1;
		assert_int_equal(tpm_get_key(reply, bytes, &key), ERR_FORMAT);
		reply[at] ^= 1;
	}
	bytes = bytes_of(recorded_quote[ATTEST_PCRS].reply, reply);
	assert_int_equal(tpm_get_quote(reply, bytes, &quote), 0);
	for (size_t at = 16; at < 22; at++) {
		reply[at] ^= 1;
		assert_int_equal(tpm_get_quote(reply, bytes, &quote), ERR_FORMAT);
		reply[at] ^= 1;
	}
	reply[16 + 145 + 1] ^= 1; /* the kind of the signature */
	assert_int_equal(tpm_get_quote(reply, bytes, &quote), ERR_FORMAT);
}

TEST(only_a_whole_credential_is_taken, setup, fake_teardown)
{
	const size_t bytes = bytes_of(credential_file, file);
	size_t length;

	for (size_t less = 0; less < bytes; less++) {
		uint8_t *copy = malloc(less);

		memcpy(copy, file, less);
		assert_null(attest_credential(copy, less, &length));
		free(copy);
	}
	assert_ptr_equal(attest_credential(file, bytes, &length), file + 8);
	assert_int_equal(length, bytes - 8);
	assert_null(attest_credential(file, bytes + 1, &length));
	for (size_t i = 0; i < 8; i++) { /* the mark and the version */
		file[i] ^= 1;
		assert_null(attest_credential(file, bytes, &length));
		file[i] ^= 1;
	}
	/* The longest, and one byte more. */
	memset(file + 8, 0, sizeof(file) - 8);
	file[8] = (TPM_CREDENTIAL_MAX - 4) >> 8;
	file[9] = (TPM_CREDENTIAL_MAX - 4) & 0xff;
	assert_non_null(attest_credential(file, 8 + TPM_CREDENTIAL_MAX, &length));
	file[9]++;
	assert_null(attest_credential(file, 8 + TPM_CREDENTIAL_MAX + 1, &length));
}

/* tpm2-tools reads the file in the case launch-attested. */
TEST(values_are_at_their_places, setup, fake_teardown)
{
	static uint8_t pcrs[ATTEST_PCRS_BYTES];
	uint32_t sum = 0;

	memset(values, 0, sizeof(values));
	for (size_t i = 0; i < ATTEST_PCRS; i++) {
		values[i][0] = (uint8_t)(i + 1);
	}
	attest_pcrs_write((const uint8_t(*)[TPM_SHA256_BYTES])values, pcrs);
	assert_memory_equal(pcrs + 4, ((uint8_t[]){ 0x0b, 0, 3, 0xff, 0x18, 0 }), 6);
	for (size_t i = 0; i < ATTEST_PCRS; i++) {
		assert_int_equal(pcrs[136 + i / 8 * 532 + 4 + i % 8 * 66 + 2], i + 1);
	}
	assert_int_equal(pcrs[136] << 8 | pcrs[136 + 532], 8 << 8 | 2);
	for (size_t i = 0; i < sizeof(pcrs); i++) {
		sum += pcrs[i];
	}
	/* One bank, its identity and selection; two lists; their counts; lengths; values. */
	assert_int_equal(sum, 1 + 0x0b + 3 + 0xff + 0x18 + 2 + 10 + 10 * 32 + 55);
}
