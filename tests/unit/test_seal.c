/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/seal.c and boot/tpm_seal.c: the commands are those that a TPM has understood, its replies
 * are used, whatever else comes is refused, and nothing stays behind in the TPM.
 */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "boot/seal.h"
#include "tests/unit/tpm_player.h"
#include "tests/unit/tpm_recorded.h"
#include "vmm/base/err.h"

static struct seal seal;
static struct seal_blob blob;
static uint8_t secret[TPM_SECRET_MAX], opened[TPM_SECRET_MAX];
static size_t opened_bytes;

static int setup(void **state)
{
	memset(&seal, 0, sizeof(seal));
	memset(&blob, 0, sizeof(blob));
	player_reset(&seal.tpm);
	for (size_t i = 0; i < sizeof(secret); i++) {
		secret[i] = (uint8_t)(0x40 + i); /* what was recorded */
	}
	memset(opened, 0, sizeof(opened));
	return fake_setup(state);
}

static int make(void)
{
	int err;

	PLAY(make);
	err = seal_read_pcrs(&seal, &blob.state);
	return err != 0 ? err : seal_make(&seal, secret, sizeof(secret), &blob.sealed);
}

static int open(void)
{
	return seal_open(&seal, &blob.sealed, opened, &opened_bytes);
}

static bool holds_secret(const void *buffer, size_t bytes)
{
	for (size_t at = 0; at + 16 <= bytes; at++) {
		if (memcmp((const uint8_t *)buffer + at, secret, 16) == 0) {
			return true;
		}
	}
	return false;
}

TEST(a_secret_is_sealed_and_opened, setup, fake_teardown)
{
	busy = 4; /* the TPM is in its self-test, say */
	assert_int_equal(make(), 0);
	assert_int_equal(wait_count, 4);
	assert_memory_equal(waits, ((unsigned[]){ 20, 40, 80, 160 }), 4 * sizeof(waits[0]));
	assert_int_equal(script_left, 0);
	assert_false(holds_secret(&seal, sizeof(seal)));
	assert_int_equal(blob.sealed.private_bytes, 190);
	assert_int_equal(blob.sealed.public_bytes, 78);
	assert_false(holds_secret(&blob, sizeof(blob)));
	PLAY(open);
	assert_int_equal(open(), 0);
	assert_int_equal(script_left, 0);
	assert_int_equal(opened_bytes, sizeof(secret));
	assert_memory_equal(opened, secret, sizeof(secret));
	assert_false(holds_secret(&seal, sizeof(seal)));
}

/* Its buffers for commands and replies may be apart: both are overwritten. */
TEST(the_tpm_keeps_no_secret_in_its_buffers, setup, fake_teardown)
{
	assert_int_equal(make(), 0);
	assert_true(holds_secret(kept_command, sizeof(kept_command)));
	PLAY(end);
	seal_end(&seal);
	assert_false(seal.has_storage_key);
	assert_int_equal(script_left, 0);
	assert_false(holds_secret(kept_command, sizeof(kept_command)));
	assert_int_equal(make(), 0);
	PLAY(open);
	assert_int_equal(open(), 0);
	assert_true(holds_secret(kept_reply, sizeof(kept_reply)));
	PLAY(end);
	seal_end(&seal);
	assert_false(holds_secret(kept_command, sizeof(kept_command)));
	assert_false(holds_secret(kept_reply, sizeof(kept_reply)));
}

/* With "make" the primary key exists already, as with a second key. */
TEST(other_values_and_other_tpms_open_nothing, setup, fake_teardown)
{
	static const uint8_t nothing[TPM_SECRET_MAX];

	assert_int_equal(make(), 0);
	PLAY(shut);
	assert_int_equal(open(), ERR_RIGHTS);
	assert_int_equal(script_left, 0); /* session and object are flushed, too */
	assert_int_equal(seal.tpm.code, 0x99d);
	assert_string_equal(seal.tpm.command_name, "TPM2_Unseal");
	assert_memory_equal(opened, nothing, sizeof(nothing));
	blob.sealed.private_part[50] ^= 1;
	PLAY(other);
	assert_int_equal(open(), ERR_TAMPERED);
	assert_int_equal(opened_bytes, 0);
}

/* With the file that seal.py has made for this TPM. */
TEST(a_secret_that_was_sealed_elsewhere, setup, fake_teardown)
{
	static uint8_t data[SEAL_BLOB_MAX], again[SEAL_BLOB_MAX];
	const size_t bytes = bytes_of(recorded_file, data);

	assert_int_equal(make(), 0);
	assert_true(seal_blob_read(data, bytes, &blob));
	assert_int_equal(seal_blob_write(&blob, again), bytes);
	assert_memory_equal(again, data, bytes);
	assert_false(holds_secret(data, bytes));
	PLAY(import);
	assert_int_equal(open(), 0);
	assert_int_equal(script_left, 0);
	assert_int_equal(opened_bytes, sizeof(secret));
	assert_memory_equal(opened, secret, sizeof(secret));
	assert_false(holds_secret(&seal, sizeof(seal)));
	for (damaged = 0; damaged < 182 * 8; damaged++) { /* the TPM's reply to TPM2_Import */
		int err;

		PLAY(import);
		err = open();
		assert_true(err == 0 || err == ERR_IO || err == ERR_FORMAT || err == ERR_TAMPERED);
		assert_in_range(opened_bytes, 0, TPM_SECRET_MAX);
	}
	damaged = -1;
	blob.sealed.private_part[50] ^= 1;
	PLAY(import_other);
	assert_int_equal(open(), ERR_TAMPERED);
	assert_int_equal(script_left, 0);
	assert_int_equal(opened_bytes, 0);
}

/* Whatever bit of a reply is wrong: no read beyond it, which ASan would see, and a known end. */
TEST(damaged_replies, setup, fake_teardown)
{
	for (damaged = 0; damaged < 1100 * 8; damaged += 1 + damaged % 7) {
		int err;

		seal.has_storage_key = false;
		err = make();
		assert_true(err == 0 || err == ERR_IO || err == ERR_FORMAT || err == ERR_RIGHTS ||
			    err == ERR_TAMPERED);
		assert_in_range(blob.sealed.private_bytes, 0, TPM_PRIVATE_MAX);
		assert_in_range(blob.sealed.public_bytes, 0, TPM_PUBLIC_MAX);
	}
	damaged = -1;
	seal.has_storage_key = false;
	assert_int_equal(make(), 0);
	for (damaged = 0; damaged < 212 * 8; damaged++) {
		int err;

		PLAY(open);
		err = open();
		assert_true(err == 0 || err == ERR_IO || err == ERR_FORMAT || err == ERR_RIGHTS ||
			    err == ERR_TAMPERED);
		assert_in_range(opened_bytes, 0, TPM_SECRET_MAX);
	}
}

TEST(cut_replies, setup, fake_teardown)
{
	damaged = 1 << 30; /* commands are not compared */
	for (cut = 0; cut < 1000; cut += 1 + cut % 5) {
		seal.has_storage_key = false;
		assert_int_not_equal(make(), 0);
	}
	cut = SIZE_MAX;
	seal.has_storage_key = false;
	assert_int_equal(make(), 0);
	for (cut = 0; cut < 200; cut++) {
		PLAY(open);
		assert_int_not_equal(open(), 0);
	}
}

/* Sessions and objects that were made are flushed, whichever command fails after that. */
TEST(a_failure_leaves_nothing_in_the_tpm, setup, fake_teardown)
{
	static const struct {
		uint8_t refused;
		bool opens;
		unsigned flushes;
	} rows[] = {
		{ 0x76, false, 0 }, /* TPM2_StartAuthSession */
		{ 0x7f, false, 1 }, /* TPM2_PolicyPCR */
		{ 0x89, false, 1 }, /* TPM2_PolicyGetDigest */
		{ 0x53, false, 1 }, /* TPM2_Create */
		{ 0x57, true, 0 },  /* TPM2_Load */
		{ 0x76, true, 1 },  { 0x7f, true, 2 }, { 0x5e, true, 2 }, /* TPM2_Unseal */
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		refused = 0;
		seal.has_storage_key = false;
		assert_int_equal(make(), 0);
		flushes = 0;
		refused = rows[i].refused;
		if (rows[i].opens) {
			PLAY(open);
			assert_int_equal(open(), ERR_IO);
		} else {
			seal.has_storage_key = false;
			assert_int_equal(make(), ERR_IO);
		}
		assert_int_equal(flushes, rows[i].flushes);
	}
}

TEST(a_tpm_that_always_asks_again_is_given_up, setup, fake_teardown)
{
	char text[240];

	busy = 1000;
	assert_int_equal(make(), ERR_IO);
	assert_in_range(busy, 900, 999);
	assert_int_equal(wait_count, 1000 - busy - 1); /* none after the last */
	assert_in_range(waits[wait_count - 1], 1000, 2000);
	seal_explain(&seal, ERR_IO, &blob.state, &blob.state, NULL, text, sizeof(text));
	assert_string_equal(text, "the TPM refuses TPM2_PCR_Read with code 922");
	gone = true;
	assert_int_equal(make(), ERR_IO);
	seal_explain(&seal, ERR_IO, &blob.state, &blob.state, NULL, text, sizeof(text));
	assert_string_equal(text, "the TPM does not answer to TPM2_PCR_Read");
}

/* --- The file --- */

/* No length but its own is taken. */
static void check_lengths(const uint8_t *data, size_t bytes)
{
	static struct seal_blob read;

	for (size_t less = 0; less < bytes; less++) {
		uint8_t *copy = malloc(less);

		memcpy(copy, data, less);
		assert_false(seal_blob_read(copy, less, &read));
		free(copy);
	}
	assert_true(seal_blob_read(data, bytes, &read));
	assert_memory_equal(&read, &blob, sizeof(blob));
	assert_false(seal_blob_read(data, bytes + 1, &read));
}

TEST(the_file_holds_all, setup, fake_teardown)
{
	static uint8_t data[SEAL_BLOB_MAX];
	static struct seal_blob read;
	uint8_t *steps_end;
	size_t bytes;

	assert_int_equal(make(), 0);
	blob.state.step_count = SEAL_STEPS_MAX;
	memset(blob.state.steps, 0x5a, sizeof(blob.state.steps));
	check_lengths(data, seal_blob_write(&blob, data));
	/* A seed of no bytes, and the file of an object that this TPM has sealed. */
	blob.sealed.seed_bytes = 1;
	bytes = seal_blob_write(&blob, data);
	data[bytes - 2] = 0; /* its length, before its only byte */
	assert_false(seal_blob_read(data, bytes - 1, &read));
	blob.sealed.seed_bytes = TPM_SEED_MAX;
	memset(blob.sealed.seed, 0x5b, TPM_SEED_MAX);
	bytes = seal_blob_write(&blob, data);
	check_lengths(data, bytes);
	for (size_t i = 0; i < 16; i++) { /* the mark and the PCRs */
		data[i] ^= 1;
		assert_false(seal_blob_read(data, bytes, &read));
		data[i] ^= 1;
	}
	/* One step more than there may be. */
	steps_end = data + 18 + SEAL_PCRS * TPM_SHA256_BYTES + sizeof(blob.state.steps);
	memmove(steps_end + sizeof(struct seal_step), steps_end,
		(size_t)(data + bytes - steps_end));
	data[17 + SEAL_PCRS * TPM_SHA256_BYTES]++;
	assert_false(seal_blob_read(data, bytes + sizeof(struct seal_step), &read));
}

/* --- Why a key was not opened --- */

static const char words[SEAL_STEPS_MAX][SEAL_WORDS_MAX] = { "\\umbra.conf", "\\k1", "\\k2",
							    "state" };

static void add_step(struct seal_state *state, uint8_t pcr, uint8_t value)
{
	struct seal_step *step = &state->steps[state->step_count++];

	step->pcr = pcr;
	memset(step->value, value, sizeof(step->value));
	for (size_t i = 0; i < SEAL_PCRS; i++) {
		if (seal_pcrs[i] == pcr) {
			memset(state->values[i], value, TPM_SHA256_BYTES);
		}
	}
}

static struct seal_state launch(uint8_t conf, uint8_t k1, uint8_t k2, uint8_t state)
{
	struct seal_state made = { .step_count = 0 };

	add_step(&made, 12, conf);
	add_step(&made, 11, k1);
	if (k2 != 0) {
		add_step(&made, 11, k2);
	}
	add_step(&made, 12, state);
	return made;
}

static const char *reason(const struct seal_state *then, const struct seal_state *now)
{
	static char text[SEAL_WHY_MAX];

	seal_explain(&seal, ERR_RIGHTS, then, now, words, text, sizeof(text));
	return text;
}

TEST(the_first_event_that_differs_is_named, setup, fake_teardown)
{
	const struct seal_state then = launch(1, 2, 3, 4);
	struct seal_state now = launch(1, 2, 9, 4), other;
	char little[20];

	assert_string_equal(reason(&then, &now), "PCR 11 differs (first in: \\k2)");
	now = launch(1, 9, 8, 4);
	assert_string_equal(reason(&then, &now), "PCR 11 differs (first in: \\k1)");
	now = launch(1, 2, 3, 9);
	assert_string_equal(reason(&then, &now), "PCR 12 differs (first in: state)");
	now = launch(9, 2, 7, 8);
	assert_string_equal(reason(&then, &now), "PCR 11 differs (first in: \\k2)\nPCR 12 differs "
						 "(first in: \\umbra.conf)");
	seal_explain(&seal, ERR_RIGHTS, &then, &now, words, little, sizeof(little));
	assert_string_equal(little, "PCR 11 differs (fir");
	now = launch(1, 2, 0, 4); /* \k2 is not read any more */
	assert_string_equal(reason(&then, &now), "PCR 11 differs (fewer measurements: a kernel, an "
						 "initrd or the image of a disk)");
	assert_string_equal(reason(&now, &then), "PCR 11 differs (first in: \\k2)");
	now = then;
	now.values[0][0] ^= 1;
	now.values[1][31] ^= 1;
	assert_string_equal(
		reason(&then, &now),
		"PCR 4 differs (this program, or how firmware has started it)\nPCR 7 "
		"differs (Secure Boot is switched on or off, or its keys have changed)");
	assert_string_equal(
		reason(&then, &then),
		"the TPM refuses the PCRs, although they have the values that the file names");
	/* More events than are kept: the PCR is named, but no event that may be wrong. */
	now = launch(1, 2, 3, 4);
	while (now.step_count < SEAL_OWN_MAX) {
		add_step(&now, 12, 5);
	}
	memcpy(now.values, then.values, sizeof(now.values));
	now.values[2][0] ^= 1;
	assert_string_equal(reason(&now, &then), "PCR 11 differs (fewer measurements: a kernel, an "
						 "initrd or the image of a disk)");
	assert_non_null(strstr(reason(&then, &now), "PCR 11 differs"));
	/* One more kernel than there was room for then: it may not be the one that differs. */
	other = launch(1, 2, 3, 4);
	add_step(&other, 11, 5);
	memcpy(now.values, other.values, sizeof(now.values));
	now.values[2][0] ^= 1;
	assert_string_equal(reason(&now, &other), "PCR 11 differs (a kernel, an initrd or the "
						  "image of a disk)");
}

/* Firmware's events are in its log. A key may have been sealed without, or with other events. */
TEST(firmware_events_that_differ_are_named, setup, fake_teardown)
{
	static const char of_firmware[SEAL_STEPS_MAX][SEAL_WORDS_MAX] = {
		[4] = "variable SecureBoot", [5] = "variable dbx", [6] = "program \\a"
	};
	static const uint8_t rows[][3] = { { 1, 2, 3 }, { 9, 8, 3 }, { 1, 8, 3 }, { 1, 2, 7 } };
	static const char *const named[] = {
		"the TPM refuses the PCRs, although they have the values that the file names",
		"PCR 7 differs (first in: variable SecureBoot)",
		"PCR 7 differs (first in: variable dbx)",
		"PCR 4 differs (first in: program \\a)",
	};
	struct seal_state then, now;
	char text[240];

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		then = now = launch(1, 2, 3, 4);
		for (size_t n = 0; n < 3; n++) {
			add_step(&then, n == 2 ? 4 : 7, rows[0][n]);
			add_step(&now, n == 2 ? 4 : 7, rows[i][n]);
		}
		seal_explain(&seal, ERR_RIGHTS, &then, &now, of_firmware, text, sizeof(text));
		assert_string_equal(text, named[i]);
	}
	/* One more event of firmware's than then: it is named. One less: that is said. */
	add_step(&then, 4, 8);
	seal_explain(&seal, ERR_RIGHTS, &now, &then, of_firmware, text, sizeof(text));
	assert_string_equal(text, "PCR 4 differs (first in: program \\a)");
	memcpy(now.values, then.values, sizeof(now.values));
	now.step_count--; /* nothing of PCR 4 is known: a log that was not of use */
	now.values[0][0] ^= 1;
	for (size_t i = 0; i < 2; i++) {
		seal_explain(&seal, ERR_RIGHTS, i == 0 ? &now : &then, i == 0 ? &then : &now,
			     of_firmware, text, sizeof(text));
		assert_string_equal(text, "PCR 4 differs (this program, or how firmware has "
					  "started it)");
	}
}

TEST(errors_in_words, setup, fake_teardown)
{
	static const struct {
		int err;
		uint32_t code;
		const char *text;
	} rows[] = {
		{ ERR_TAMPERED, 0x1df, "not sealed by or for this TPM" },
		{ ERR_FORMAT, 0, "the TPM's reply to TPM2_Load makes no sense" },
		{ ERR_IO, 0x9a2, "the TPM's owner has a password" },
		{ ERR_IO, 0x921, "in lock-out" },
		{ ERR_IO, 0x101, "refuses TPM2_Load with code 101" },
	};
	char text[240];

	seal.tpm.command_name = "TPM2_PCR_Read"; /* the reply of a TPM without that bank */
	seal_explain(&seal, ERR_FORMAT, &blob.state, &blob.state, words, text, sizeof(text));
	assert_non_null(strstr(text, "switch on its SHA-256 bank"));
	seal.tpm.command_name = "TPM2_CreatePrimary"; /* of a TPM without elliptic curves */
	seal.tpm.code = 0x2c4;
	seal_explain(&seal, ERR_IO, &blob.state, &blob.state, words, text, sizeof(text));
	assert_non_null(strstr(text, "no key on the curve P-256 (code 2c4)"));
	seal.tpm.command_name = "TPM2_Load";
	seal_explain(&seal, ERR_IO, &blob.state, &blob.state, words, text, sizeof(text));
	assert_non_null(strstr(text, "refuses TPM2_Load with code 2c4"));
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		seal.tpm.code = rows[i].code;
		seal_explain(&seal, rows[i].err, &blob.state, &blob.state, words, text,
			     sizeof(text));
		assert_non_null(strstr(text, rows[i].text));
	}
}
