/* SPDX-License-Identifier: Apache-2.0 */
/* boot/efi_tpm.c with a fake EFI_TCG2_PROTOCOL: what old and new firmware makes of our calls. */
#include "tests/unit/test.h"
#include "boot/efi_priv.h"

#include "boot/tpm.h"
#include "vmm/base/err.h"

EFI_SYSTEM_TABLE *efi_system;
EFI_HANDLE efi_image;

static UINT16 reply_max;
static EFI_STATUS extends;
static unsigned extended;

static EFI_STATUS EFIAPI get_capability(void *self, UINT8 *out)
{
	out[16] = 1; /* TPMPresentFlag */
	memcpy(out + 20, &reply_max, sizeof(reply_max));
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI extend(void *self, UINT64 flags, EFI_PHYSICAL_ADDRESS data, UINT64 bytes,
				void *event)
{
	extended++;
	return extends;
}

/* As in the driver of UDK: the buffer must be smaller than what the TPM can send. */
static EFI_STATUS EFIAPI submit(void *self, UINT32 command_bytes, UINT8 *command,
				UINT32 reply_bytes, UINT8 *reply)
{
	static const UINT8 short_reply[] = { 0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0 };

	if (reply_bytes >= reply_max || reply_bytes < sizeof(short_reply)) {
		return EFI_INVALID_PARAMETER;
	}
	memcpy(reply, short_reply, sizeof(short_reply));
	return EFI_SUCCESS;
}

void *efi_locate(const EFI_GUID *guid)
{
	static const void *const protocol[] = { get_capability, NULL, extend, submit };

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

TEST(what_failed_is_named_and_nothing_follows, fake_setup, fake_teardown)
{
	const struct launch_event event = {
		.pcr = 11, .words = "a kernel", .data = "k", .bytes = 1
	};

	reply_max = 0x1000;
	assert_true(efi_tpm_open());
	efi_tpm_extend(&event);
	assert_true(efi_tpm_works());
	extends = EFI_VOLUME_FULL;
	efi_tpm_extend(&event);
	assert_non_null(strstr(fake_log_text(), "event log has no room for a kernel"));
	assert_false(efi_tpm_works());
	efi_tpm_extend(&event);
	assert_int_equal(extended, 2);
}
