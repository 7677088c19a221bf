/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses the TPM through firmware's EFI_TCG2_PROTOCOL (TCG EFI Protocol Specification, family 2.0),
 * which exists until boot services end. Firmware hashes the data of an event, extends the PCR in
 * each bank, and keeps the event log.
 */
#include "boot/efi_priv.h"

#include "boot/event_log.h"
#include "boot/tpm.h"
#include "crypto/verify.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

#define TCG2_GUID                                                      \
	{                                                              \
		0x607f766c, 0x7455, 0x42be,                            \
		{                                                      \
			0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f \
		}                                                      \
	}
#define EV_SEPARATOR 4u
#define EV_EVENT_TAG 6u
#define LOG_FORMAT_2 2u		 /* with a digest of each bank */
#define EVENT_TAG    0x756d6272u /* "umbr": our taggedEventID (TCG_PCClientTaggedEvent) */

struct tcg2_capability {
	UINT8 bytes;
	UINT8 structure_version[2];
	UINT8 protocol_version[2];
	UINT32 hashes;
	UINT32 log_formats;
	BOOLEAN present;
	UINT16 command_max, reply_max;
	UINT32 manufacturer;
	UINT32 bank_count;
	UINT32 banks;
};
_Static_assert(sizeof(struct tcg2_capability) == 36, "EFI_TCG2_BOOT_SERVICE_CAPABILITY");

struct tcg2_event {
	UINT32 bytes; /* of the whole event */
	UINT32 header_bytes;
	UINT16 header_version;
	UINT32 pcr;
	UINT32 type;
	UINT32 tag;
	UINT32 words_bytes;
	char words[LAUNCH_WORDS_MAX];
} __attribute__((packed));
#define EVENT_HEADER_BYTES 14u

struct tcg2 {
	EFI_STATUS(EFIAPI *get_capability)(struct tcg2 *self, struct tcg2_capability *out);
	EFI_STATUS(EFIAPI *get_event_log)
	(struct tcg2 *self, UINT32 format, EFI_PHYSICAL_ADDRESS *first, EFI_PHYSICAL_ADDRESS *last,
	 BOOLEAN *truncated);
	EFI_STATUS(EFIAPI *extend)
	(struct tcg2 *self, UINT64 flags, EFI_PHYSICAL_ADDRESS data, UINT64 bytes,
	 struct tcg2_event *event);
	EFI_STATUS(EFIAPI *submit)
	(struct tcg2 *self, UINT32 command_bytes, UINT8 *command, UINT32 reply_bytes, UINT8 *reply);
};

static struct tcg2 *tpm; /* NULL: there is no TPM */
static size_t reply_max; /* the largest buffer for a reply that firmware takes */
static bool failed;	 /* a measurement failed, which was logged */
static bool log_is_full; /* firmware's log lacks events that were measured */

/* The values of Umbra's PCRs, each read after its last event. */
struct own_pcr {
	bool known;
	uint8_t value[TPM_SHA256_BYTES];
};
static struct own_pcr own_pcrs[LAUNCH_PCR_CONFIG - LAUNCH_PCR_FILES + 1];

/* What was measured into our PCRs, to name what has changed since a key was sealed. */
static struct seal_state steps;
static char step_words[SEAL_STEPS_MAX][SEAL_WORDS_MAX];
static size_t own_steps;    /* how many of the steps are of Umbra's PCRs; they come first */
static bool noted_firmware; /* efi_tpm_note_firmware has added firmware's steps after them */

bool efi_tpm_works(void)
{
	return tpm != NULL && !failed;
}

int efi_tpm_submit(const uint8_t *command, size_t bytes, uint8_t *reply, size_t *reply_bytes)
{
	const size_t max = MIN(TPM_REPLY_MAX, reply_max);
	EFI_STATUS status;

	memset(reply, 0, max);
	/* the prototype has no const */
	status = tpm->submit(tpm, (UINT32)bytes, (UINT8 *)(uintptr_t)command, (UINT32)max, reply);
	if (EFI_ERROR(status) || max < TPM_HEADER_BYTES) {
		return ERR_IO;
	}
	/* Firmware does not return the length of the reply: its header has it, in bytes 2 to 5. */
	*reply_bytes = (size_t)reply[2] << 24 | (size_t)reply[3] << 16 | (size_t)reply[4] << 8 |
		       reply[5];
	return *reply_bytes <= max ? 0 : ERR_IO;
}

void efi_tpm_wait(unsigned milliseconds)
{
	(void)efi_system->BootServices->Stall(milliseconds * 1000ul); /* it has no errors */
}

/* Reads the SHA-256 value of a PCR, again if the TPM is busy. Returns false if it gives none. */
static bool read_pcr(uint32_t pcr, uint8_t value[TPM_SHA256_BYTES])
{
	static struct tpm_talk talk = { .submit = efi_tpm_submit, .wait = efi_tpm_wait };

	return TPM_CALL(&talk, "TPM2_PCR_Read", tpm_put_pcr_read(talk.command, pcr),
			tpm_get_pcr_read, pcr, value) == 0;
}

static struct own_pcr *own_of(uint32_t pcr)
{
	return &own_pcrs[pcr - LAUNCH_PCR_FILES];
}

static void read_own(uint32_t pcr)
{
	own_of(pcr)->known = read_pcr(pcr, own_of(pcr)->value);
}

bool efi_tpm_open(void)
{
	static const EFI_GUID guid = TCG2_GUID;
	struct tcg2 *found = efi_locate(&guid);
	struct tcg2_capability capability;

	memset(&capability, 0, sizeof(capability));
	capability.bytes = sizeof(capability);
	if (found == NULL || EFI_ERROR(found->get_capability(found, &capability)) ||
	    !capability.present) {
		log_info("firmware does not offer a TPM 2.0, so what starts is not measured");
		return false;
	}
	tpm = found;
	/* The Tcg2Dxe of UDK refuses a buffer that is as large as the TPM's longest reply. */
	reply_max = MAX(capability.reply_max, 1) - 1;
	read_own(LAUNCH_PCR_FILES);
	read_own(LAUNCH_PCR_CONFIG);
	return true;
}

static void add_step(uint32_t pcr, const uint8_t value[TPM_SHA256_BYTES], const char *words)
{
	struct seal_step *step = &steps.steps[steps.step_count];

	step->pcr = (uint8_t)pcr;
	memcpy(step->value, value, sizeof(step->value));
	(void)str_copy(step_words[steps.step_count], SEAL_WORDS_MAX, words);
	steps.step_count++;
}

/*
 * Computes what an event makes of a PCR: the hash of `both`, which holds the old value and then the
 * event's digest (TPM 2.0 Library, part 1, 11.2.3).
 */
static bool step_value(const uint8_t both[2 * TPM_SHA256_BYTES], uint8_t value[TPM_SHA256_BYTES])
{
	return verify_sha256(both, 2 * TPM_SHA256_BYTES, value) == 0;
}

/* Computes what the event makes of its PCR. Returns false if the value before is not known. */
static bool next_value(const struct launch_event *event, uint8_t value[TPM_SHA256_BYTES])
{
	const struct own_pcr *own = own_of(event->pcr);
	uint8_t both[2 * TPM_SHA256_BYTES];

	memcpy(both, own->value, TPM_SHA256_BYTES);
	return own->known &&
	       verify_sha256(event->data, event->bytes, both + TPM_SHA256_BYTES) == 0 &&
	       step_value(both, value);
}

/* Whether the PCR has the value that follows from the value after the last event and this event. */
static bool is_extended(const struct launch_event *event)
{
	uint8_t wanted[TPM_SHA256_BYTES], value[TPM_SHA256_BYTES];

	return next_value(event, wanted) && read_pcr(event->pcr, value) &&
	       memcmp(value, wanted, sizeof(value)) == 0;
}

static void note_step(const struct launch_event *event)
{
	struct own_pcr *own = own_of(event->pcr);
	uint8_t value[TPM_SHA256_BYTES];

	/* To read it is faster than to hash a file once more; but no step may be missing. */
	own->known = read_pcr(event->pcr, value) || next_value(event, value);
	if (own->known) {
		memcpy(own->value, value, sizeof(value));
	}
	/* Once firmware's steps are noted, keys depend on no later event. */
	if (event->separator || noted_firmware || own_steps == SEAL_OWN_MAX || !own->known) {
		return; /* a message can then name less, but nothing else depends on this */
	}
	add_step(event->pcr, own->value, event->words);
	own_steps++;
}

/* Notes firmware's steps of a PCR if they lead to its value. */
static void note_pcr(uint32_t pcr, const uint8_t *log, size_t bytes)
{
	static struct event_log_event events[SEAL_PCR_MAX];
	const size_t count = event_log_of_pcr(log, bytes, pcr, events, ARRAY_COUNT(events));
	const size_t before = steps.step_count;
	uint8_t both[2 * TPM_SHA256_BYTES] = { 0 }, value[TPM_SHA256_BYTES];

	for (size_t i = 0; i < count; i++) {
		memcpy(both + TPM_SHA256_BYTES, events[i].sha256, TPM_SHA256_BYTES);
		if (!step_value(both, value)) {
			steps.step_count = before;
			return;
		}
		memcpy(both, value, sizeof(value));
		add_step(pcr, value, events[i].words);
	}
	if (!read_pcr(pcr, value) || memcmp(both, value, sizeof(value)) != 0) {
		steps.step_count = before; /* the log does not show all */
	}
}

void efi_tpm_note_firmware(void)
{
	const uint8_t *log;
	size_t bytes = 0, count;

	if (noted_firmware) {
		return;
	}
	noted_firmware = true;
	/* A log that was cut off will do, if its events lead to the value of a PCR. */
	(void)efi_tpm_event_log(&log, &bytes, &count);
	for (size_t i = 0; i < SEAL_PCRS && bytes != 0; i++) {
		if (seal_pcrs[i] < LAUNCH_PCR_FILES) {
			note_pcr(seal_pcrs[i], log, bytes);
		}
	}
}

const struct seal_state *efi_tpm_steps(const char (**words)[SEAL_WORDS_MAX])
{
	*words = (const char(*)[SEAL_WORDS_MAX])step_words;
	return &steps;
}

void efi_tpm_extend(const struct launch_event *event)
{
	static struct tcg2_event record;
	const size_t words = MIN(strlen(event->words), sizeof(record.words));
	EFI_STATUS status;

	if (tpm == NULL || failed) {
		return;
	}
	record = (struct tcg2_event){
		.header_bytes = EVENT_HEADER_BYTES,
		.header_version = 1,
		.pcr = event->pcr,
		.type = event->separator ? EV_SEPARATOR : EV_EVENT_TAG,
		.tag = EVENT_TAG,
		.words_bytes = (UINT32)words,
	};
	memcpy(record.words, event->words, words);
	record.bytes = (UINT32)(offsetof(struct tcg2_event, words) + words);
	if (event->separator) { /* instead of a tag, it has the four bytes that are measured */
		record.tag = 0xffffffff;
		record.bytes = offsetof(struct tcg2_event, words_bytes);
	}
	status = tpm->extend(tpm, 0, (uintptr_t)event->data, event->bytes, &record);
	/*
	 * The log is full. By the specification the PCR is extended all the same, which is checked,
	 * because keys depend on its value.
	 */
	if (status == EFI_VOLUME_FULL && is_extended(event)) {
		if (!log_is_full) {
			log_warn("firmware's event log has no room for %s and what follows: the "
				 "TPM has measured it, but a report does not show it",
				 event->words);
		}
		log_is_full = true;
		status = EFI_SUCCESS;
	}
	if (EFI_ERROR(status)) {
		failed = true;
		log_error("the TPM refused to measure %s (EFI error %lu): nothing further is "
			  "measured",
			  event->words, (unsigned long)(status & ~BIT(63)));
		return;
	}
	note_step(event);
}

const char *efi_tpm_event_log(const uint8_t **log, size_t *bytes, size_t *count)
{
	EFI_PHYSICAL_ADDRESS first = 0, last = 0;
	BOOLEAN truncated = FALSE;

	if (EFI_ERROR(tpm->get_event_log(tpm, LOG_FORMAT_2, &first, &last, &truncated)) ||
	    first == 0) {
		return "firmware gives no event log";
	}
	*log = (const uint8_t *)(uintptr_t)first;
	*bytes = last < first ? 0
			      : event_log_bytes(*log, (size_t)(last - first), EVENT_LOG_MAX, count);
	if (*bytes == 0) {
		return "firmware's event log is not in TCG's format, or longer than 1 MiB";
	}
	return truncated || log_is_full
		       ? "firmware has cut its event log off: PCRs hold more than it shows"
		       : NULL;
}

static void log_pcr(uint32_t pcr)
{
	uint8_t value[TPM_SHA256_BYTES];
	char text[2 * TPM_SHA256_BYTES + 1];

	if (!read_pcr(pcr, value)) {
		log_warn("the TPM gives no SHA-256 value of PCR %u", pcr);
		return;
	}
	for (size_t i = 0; i < sizeof(value); i++) {
		(void)str_printf(text + 2 * i, 3, "%02x", value[i]); /* two digits fit */
	}
	log_info("TPM: PCR %u is %s", pcr, text);
}

void efi_tpm_report(const char *state)
{
	if (tpm != NULL) {
		log_info("TPM: state: %s", state);
		log_pcr(LAUNCH_PCR_FILES);
		log_pcr(LAUNCH_PCR_CONFIG);
	}
}
