/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware's text consoles. They are used until the end of boot services. */
#include "boot/efi_priv.h"

#include "vmm/console/console.h"

#define OUTPUT_MAX 4

/* UEFI, "UART Device Path". */
#define DP_TYPE_MESSAGING 3
#define DP_TYPE_END	  0x7f
#define DP_SUBTYPE_UART	  14

static SIMPLE_TEXT_OUTPUT_INTERFACE *outputs[OUTPUT_MAX];
static size_t output_count;

static void text_write(const char *text, size_t bytes)
{
	CHAR16 wide[64];
	size_t used = 0;

	for (size_t i = 0; i < bytes; i++) {
		wide[used++] = (CHAR16)(uint8_t)text[i];
		if (used < ARRAY_COUNT(wide) - 1 && i + 1 < bytes) {
			continue;
		}
		wide[used] = 0;
		used = 0;
		for (size_t o = 0; o < output_count; o++) {
			/* there is no other console to log a failure on */
			(void)outputs[o]->OutputString(outputs[o], wide);
		}
	}
}

static const struct console_sink text_sink = { .name = "firmware", .write = text_write };

/*
 * Whether this is a display: a device with a path that has no UART in it. ConOut has no path: it
 * only repeats its output to other devices.
 */
static bool is_display(EFI_HANDLE handle)
{
	static EFI_GUID guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
	const uint8_t *node = NULL; /* a node has type, subtype, and a length of two bytes */

	if (EFI_ERROR(efi_system->BootServices->HandleProtocol(handle, &guid, (void **)&node))) {
		return false;
	}
	while (node[0] != DP_TYPE_END) {
		const size_t length = node[2] | (size_t)node[3] << 8;

		if (node[0] == DP_TYPE_MESSAGING && node[1] == DP_SUBTYPE_UART) {
			return false;
		}
		if (length < 4) {
			return false;
		}
		node += length;
	}
	return true;
}

static void find_outputs(void)
{
	static EFI_GUID guid = SIMPLE_TEXT_OUTPUT_PROTOCOL;
	EFI_BOOT_SERVICES *bs = efi_system->BootServices;
	EFI_HANDLE *handles = NULL;
	UINTN count = 0;

	if (EFI_ERROR(bs->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles))) {
		return;
	}
	for (UINTN i = 0; i < count && output_count < OUTPUT_MAX; i++) {
		if (is_display(handles[i]) &&
		    !EFI_ERROR(bs->HandleProtocol(handles[i], &guid,
						  (void **)&outputs[output_count]))) {
			output_count++;
		}
	}
	(void)bs->FreePool(handles); /* firmware allocated it for us */
}

void efi_text_open(bool have_serial)
{
	if (have_serial) {
		find_outputs();
	} else if (efi_system->ConOut != NULL) {
		outputs[output_count++] = efi_system->ConOut;
	}
	if (output_count != 0) {
		/* cannot fail: this is the second of several sinks */
		(void)console_add_sink(&text_sink);
	}
}

void efi_text_close(void)
{
	console_remove_sink(&text_sink);
	output_count = 0;
}
