/* SPDX-License-Identifier: Apache-2.0 */
/* boot/efi_tpm.c with a fake EFI_TCG2_PROTOCOL: what old and new firmware makes of our calls. */
#include "tests/unit/test.h"
#include "boot/efi_priv.h"

#include "boot/tpm.h"
#include "crypto/verify.h"
#include "vmm/base/err.h"

EFI_SYSTEM_TABLE *efi_system;
EFI_HANDLE efi_image;

static UINT16 reply_max;
static EFI_STATUS extends;	 /* what firmware answers */
static bool extends_for_nothing; /* the PCR stays as it was */
static unsigned extended;
static uint8_t pcrs[24][TPM_SHA256_BYTES];
static uint8_t event_log[1024];
static size_t log_bytes, log_last;
static BOOLEAN log_is_cut;
static unsigned busy;	/* so often the TPM asks to send the command again */
static unsigned waited; /* milliseconds */

static EFI_STATUS EFIAPI stall(UINTN microseconds)
{
	waited += (unsigned)(microseconds / 1000);
	return EFI_SUCCESS;
}

/* The same length, and other bytes for other data. */
int verify_sha256(const void *data, size_t bytes, uint8_t hash[VERIFY_HASH_BYTES])
{
	uint32_t sum = (uint32_t)bytes;

	for (size_t i = 0; i < bytes; i++) {
		sum = sum * 31 + ((const uint8_t *)data)[i] + 1;
	}
	for (size_t i = 0; i < VERIFY_HASH_BYTES; i++) {
		hash[i] = (uint8_t)(sum >> i % 24) ^ (uint8_t)i;
	}
	return 0;
}

static EFI_STATUS EFIAPI get_capability(void *self, UINT8 *out)
{
	out[16] = 1; /* TPMPresentFlag */
	memcpy(out + 20, &reply_max, sizeof(reply_max));
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_event_log(void *self, UINT32 format, EFI_PHYSICAL_ADDRESS *first,
				       EFI_PHYSICAL_ADDRESS *last, BOOLEAN *truncated)
{
	*first = (uintptr_t)event_log;
	*last = (uintptr_t)event_log + log_last;
	*truncated = log_is_cut;
	return EFI_SUCCESS;
}

static void extend_pcr(uint32_t pcr, const uint8_t digest[TPM_SHA256_BYTES])
{
	uint8_t both[2 * TPM_SHA256_BYTES];

	memcpy(both, pcrs[pcr], TPM_SHA256_BYTES);
	memcpy(both + TPM_SHA256_BYTES, digest, TPM_SHA256_BYTES);
	verify_sha256(both, sizeof(both), pcrs[pcr]);
}

static EFI_STATUS EFIAPI extend(void *self, UINT64 flags, EFI_PHYSICAL_ADDRESS data, UINT64 bytes,
				const UINT8 *event)
{
	uint8_t digest[TPM_SHA256_BYTES];

	extended++;
	verify_sha256((const void *)(uintptr_t)data, bytes, digest);
	if (!extends_for_nothing) {
		extend_pcr(event[10], digest);
	}
	return extends;
}

/*
 * As in the driver of UDK: the buffer must be smaller than what the TPM can send. The TPM reads
 * PCRs; it answers to nothing else.
 */
static EFI_STATUS EFIAPI submit(void *self, UINT32 command_bytes, UINT8 *command,
				UINT32 reply_bytes, UINT8 *reply)
{
	static const UINT8 short_reply[] = { 0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0 };
	static const UINT8 value[] = { 0x80, 0x01, 0, 0, 0, 10 + 4 + 10 + 4 + 34,
				       0,    0,	   0, 0, 0, 0,
				       0,    1,	   0, 0, 0, 1,
				       0,    11,   3 };

	static const UINT8 retry[] = { 0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x22 };

	if (reply_bytes >= reply_max || reply_bytes < sizeof(short_reply)) {
		return EFI_INVALID_PARAMETER;
	}
	if (busy != 0) {
		busy--;
		memcpy(reply, retry, sizeof(retry));
		return EFI_SUCCESS;
	}
	memcpy(reply, short_reply, sizeof(short_reply));
	if (command[8] == 1 && command[9] == 0x7e && reply_bytes > 100) { /* TPM2_PCR_Read */
		memcpy(reply, value, sizeof(value));
		memcpy(reply + sizeof(value), command + 17, 3); /* the selection */
		memcpy(reply + sizeof(value) + 3, (UINT8[]){ 0, 0, 0, 1, 0, 32 }, 6);
		for (uint32_t pcr = 0; pcr < ARRAY_COUNT(pcrs); pcr++) {
			if ((command[17 + pcr / 8] >> pcr % 8 & 1) != 0) {
				memcpy(reply + sizeof(value) + 9, pcrs[pcr], TPM_SHA256_BYTES);
			}
		}
	}
	return EFI_SUCCESS;
}

void *efi_locate(const EFI_GUID *guid)
{
	static const void *const protocol[] = { get_capability, get_event_log, extend, submit };

	return (void *)(uintptr_t)protocol;
}

TEST(firmware_takes_the_buffer_for_a_reply, fake_setup, fake_teardown)
{
	static const struct {
		UINT16 max;
		int result;
	} rows[] = { { 0, ERR_IO }, { 1, ERR_IO },	  { TPM_HEADER_BYTES, ERR_IO },
		     { 0x500, 0 },  { TPM_REPLY_MAX, 0 }, { TPM_REPLY_MAX + 1, 0 },
		     { 0x1000, 0 } };
	static uint8_t command[TPM_COMMAND_MAX], reply[TPM_REPLY_MAX];

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t bytes = 0;

		reply_max = rows[i].max;
		assert_true(efi_tpm_open());
		assert_int_equal(efi_tpm_submit(command, 10, reply, &bytes), rows[i].result);
		assert_int_equal(bytes, rows[i].result == 0 ? 10 : 0);
	}
}

/* --- What firmware's event log shows --- */

static void put(uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		event_log[log_bytes++] = (uint8_t)(value >> 8 * i);
	}
}

/* An event of firmware, in the log and in the PCR. */
static void add_event(uint32_t pcr, uint32_t type, const char *text)
{
	uint8_t digest[TPM_SHA256_BYTES];

	verify_sha256(text, strlen(text), digest);
	extend_pcr(pcr, digest);
	log_last = log_bytes;
	put(pcr, 4);
	put(type, 4);
	put(1, 4);
	put(0xb, 2);
	memcpy(event_log + log_bytes, digest, sizeof(digest));
	log_bytes += sizeof(digest);
	put(strlen(text), 4);
	memcpy(event_log + log_bytes, text, strlen(text));
	log_bytes += strlen(text);
}

static int setup(void **state)
{
	static EFI_BOOT_SERVICES services;
	static EFI_SYSTEM_TABLE table = { .BootServices = &services };

	services.Stall = stall;
	efi_system = &table;
	busy = waited = 0;
	memset(pcrs, 0, sizeof(pcrs));
	memset(event_log, 0, sizeof(event_log));
	log_bytes = log_last = extended = 0;
	log_is_cut = false;
	extends = EFI_SUCCESS;
	extends_for_nothing = false;
	reply_max = 0x1000;
	put(0, 4);
	put(3, 4);
	log_bytes += 20;
	put(16 + 8 + 4 + 4 + 1, 4);
	memcpy(event_log + log_bytes, "Spec ID Event03", 16);
	log_bytes += 16 + 8;
	put(1, 4);
	put(0xb, 2);
	put(32, 2);
	put(0, 1);
	add_event(7, 0x80000007, "one");
	add_event(4, 0x80000007, "the program");
	add_event(7, 0x80000007, "two");
	return fake_setup(state);
}

#define NEVER 1000u /* replies: the TPM does not get ready */

static const struct launch_event kernel = {
	.pcr = 11, .words = "a kernel", .data = "k", .bytes = 1
};

static size_t count_of(uint8_t pcr)
{
	const char(*words)[SEAL_WORDS_MAX];
	const struct seal_state *state = efi_tpm_steps(&words);
	size_t count = 0;

	for (size_t i = 0; i < state->step_count; i++) {
		count += state->steps[i].pcr == pcr;
	}
	return count;
}

/* Must run first: firmware's steps are noted once. */
TEST(firmware_steps_are_noted_if_they_lead_to_the_pcr, setup, fake_teardown)
{
	const char(*words)[SEAL_WORDS_MAX];
	const struct seal_state *seen;

	assert_true(efi_tpm_open());
	busy = NEVER; /* nor is a step missing where the PCR cannot be read */
	efi_tpm_extend(&kernel);
	busy = 0;
	assert_memory_equal(efi_tpm_steps(&words)->steps[0].value, pcrs[11],
			    sizeof(seen->steps[0].value));
	pcrs[4][0] ^= 1;   /* the log does not show how it came to this */
	log_is_cut = true; /* later events, which matter to none of the two */
	efi_tpm_note_firmware();
	efi_tpm_note_firmware();
	efi_tpm_extend(&kernel);
	seen = efi_tpm_steps(&words);
	assert_int_equal(seen->step_count, 3);
	assert_int_equal(seen->steps[0].pcr, 11);
	assert_string_equal(words[0], "a kernel");
	for (size_t i = 1; i < 3; i++) {
		assert_int_equal(seen->steps[i].pcr, 7);
		assert_string_equal(words[i], i == 1 ? "one" : "two");
	}
	assert_memory_equal(seen->steps[2].value, pcrs[7], sizeof(seen->steps[2].value));
	assert_int_equal(count_of(4), 0);
}

/* The event is measured all the same. Only the PCR shows whether that happened. */
TEST(a_full_event_log_is_no_failure, setup, fake_teardown)
{
	const uint8_t *log;
	size_t bytes = 0, count;

	assert_true(efi_tpm_open());
	assert_null(efi_tpm_event_log(&log, &bytes, &count));
	extends = EFI_VOLUME_FULL;
	efi_tpm_extend(&kernel);
	efi_tpm_extend(&kernel);
	assert_true(efi_tpm_works());
	assert_int_equal(extended, 2);
	assert_non_null(
		strstr(fake_log_text(), "event log has no room for a kernel and what follow"));
	assert_null(strstr(fake_log_text(), "refused"));
	/* Firmware does not say that the log is cut off, but a report must. */
	assert_non_null(efi_tpm_event_log(&log, &bytes, &count));
	assert_int_equal(bytes, log_bytes);
}

/* A TPM may ask for more time before the first value, and before the one that must be right. */
TEST(a_busy_tpm_is_asked_again, setup, fake_teardown)
{
	busy = 1;
	assert_true(efi_tpm_open());
	extends = EFI_VOLUME_FULL;
	busy = 2;
	efi_tpm_extend(&kernel);
	assert_true(efi_tpm_works());
	assert_int_equal(waited, 20 + 20 + 40);
	assert_null(strstr(fake_log_text(), "refused"));
}

TEST(what_failed_is_named_and_nothing_follows, setup, fake_teardown)
{
	assert_true(efi_tpm_open());
	efi_tpm_extend(&kernel);
	assert_true(efi_tpm_works());
	extends = EFI_VOLUME_FULL;
	extends_for_nothing = true;
	efi_tpm_extend(&kernel);
	assert_non_null(strstr(fake_log_text(), "the TPM refused to measure a kernel"));
	assert_false(efi_tpm_works());
	efi_tpm_extend(&kernel);
	assert_int_equal(extended, 2);
}
