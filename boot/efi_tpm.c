/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses the TPM through firmware's EFI_TCG2_PROTOCOL (TCG EFI Protocol Specification, family 2.0),
 * which exists until boot services end. Firmware hashes the data of an event, extends the PCR in
 * each bank, and keeps the event log.
 */
#include "boot/efi_priv.h"

#include "boot/tpm.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/str.h"

#define TCG2_GUID                                                      \
	{                                                              \
		0x607f766c, 0x7455, 0x42be,                            \
		{                                                      \
			0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f \
		}                                                      \
	}
#define EV_SEPARATOR 4u
#define EV_EVENT_TAG 6u
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
	void *get_event_log;
	EFI_STATUS(EFIAPI *extend)
	(struct tcg2 *self, UINT64 flags, EFI_PHYSICAL_ADDRESS data, UINT64 bytes,
	 struct tcg2_event *event);
	EFI_STATUS(EFIAPI *submit)
	(struct tcg2 *self, UINT32 command_bytes, UINT8 *command, UINT32 reply_bytes, UINT8 *reply);
};

static struct tcg2 *tpm; /* NULL: there is no TPM */
static bool failed;	 /* a measurement failed, which was logged */

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
	return true;
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
	if (EFI_ERROR(status)) {
		failed = true;
		log_error("the TPM refused to measure %s (EFI error %lu): nothing further is "
			  "measured",
			  event->words, (unsigned long)(status & ~BIT(63)));
	}
}

static void log_pcr(uint32_t pcr)
{
	uint8_t command[TPM_COMMAND_MAX], reply[TPM_REPLY_MAX] = { 0 }, value[TPM_SHA256_BYTES];
	const size_t bytes = tpm_put_pcr_read(command, pcr);
	char text[2 * TPM_SHA256_BYTES + 1];
	size_t reply_bytes;

	if (EFI_ERROR(tpm->submit(tpm, (UINT32)bytes, command, sizeof(reply), reply))) {
		log_warn("PCR %u of the TPM could not be read", pcr);
		return;
	}
	/* Firmware does not return the length of the reply: its header has it, in bytes 2 to 5. */
	reply_bytes = (size_t)reply[4] << 8 | reply[5];
	if (tpm_get_pcr_read(reply, MIN(reply_bytes, sizeof(reply)), pcr, value) != 0) {
		log_warn("the TPM has no SHA-256 value of PCR %u", pcr);
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
