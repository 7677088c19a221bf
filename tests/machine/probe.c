/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An EFI program that tests the machine itself. \probe.txt names the action: off, hang, fault (a
 * triple fault), reset, echo (sends back what is typed on the serial line until a full stop, then
 * powers off), watch (reports the secret, and again whenever it has changed, until it is a full
 * stop). In each case it first leaves a secret in memory and prints "probe: ready".
 */

#include <efi.h>
#include <efilib.h>

#define UART        0x3f8
#define UART_STATUS (UART + 5)
#define RX_READY    0x01
#define TX_EMPTY    0x60

static volatile CHAR8 secret[32];

static UINT8 in8(UINT16 port)
{
	UINT8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "d"(port));
	return value;
}

static void put(CHAR8 c)
{
	while ((in8(UART_STATUS) & TX_EMPTY) != TX_EMPTY) {
	}
	__asm__ volatile("outb %0, %1" : : "a"(c), "d"((UINT16)UART));
}

static void say(const char *text)
{
	for (; *text != 0; text++) {
		put(*text);
	}
	while ((in8(UART_STATUS) & TX_EMPTY) != TX_EMPTY) {
	}
}

static void echo(void)
{
	CHAR8 c = 0;

	while (c != '.') {
		if (in8(UART_STATUS) & RX_READY) {
			c = in8(UART);
			put(c);
		}
	}
	say("\r\nprobe: end of input\r\n");
}

/* A script changes memory: reports the secret, and again after each change. */
static void watch(void)
{
	CHAR8 told[sizeof(secret)] = { 0 };
	char text[sizeof(secret)] = { 0 };

	while (text[0] != '.') {
		UINTN changes = 0;

		for (UINTN at = 0; at < sizeof(secret); at++) {
			changes += told[at] != secret[at];
			told[at] = secret[at];
			text[at] = (char)(told[at] ^ 0x20);
		}
		if (changes != 0) {
			text[sizeof(text) - 1] = 0;
			say("probe: ");
			say(text);
			say("\r\n");
		}
	}
}

static void triple_fault(void)
{
	static const struct {
		UINT16 limit;
		UINT64 base;
	} __attribute__((packed)) none = { 0, 0 };

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

static UINTN read_order(EFI_HANDLE handle, CHAR8 *order, UINTN bytes)
{
	EFI_LOADED_IMAGE *self;
	EFI_FILE_HANDLE root;
	EFI_FILE_HANDLE file;

	uefi_call_wrapper(BS->HandleProtocol, 3, handle, &LoadedImageProtocol, (void **)&self);
	root = LibOpenRoot(self->DeviceHandle);
	if (root == NULL || EFI_ERROR(uefi_call_wrapper(root->Open, 5, root, &file, L"\\probe.txt",
							EFI_FILE_MODE_READ, 0))) {
		return 0;
	}
	if (EFI_ERROR(uefi_call_wrapper(file->Read, 3, file, &bytes, order))) {
		return 0;
	}
	return bytes;
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table)
{
	static const char text[] = "umbra probe: secret in memory";
	CHAR8 order[16] = { 0 };

	InitializeLib(handle, table);
	for (UINTN at = 0; at < sizeof(text); at++) {
		secret[at] = (CHAR8)(text[at] ^ 0x20);
	}
	if (read_order(handle, order, sizeof(order) - 1) == 0) {
		say("probe: no \\probe.txt\r\n");
	}
	say("probe: ready\r\n");
	switch (order[0]) {
	case 'h':
		for (;;) {
		}
	case 'f':
		triple_fault();
		break;
	case 'r':
		uefi_call_wrapper(RT->ResetSystem, 4, EfiResetCold, EFI_SUCCESS, 0, NULL);
		break;
	case 'e':
		echo();
		break;
	case 'w':
		watch();
		break;
	default:
		break;
	}
	uefi_call_wrapper(RT->ResetSystem, 4, EfiResetShutdown, EFI_SUCCESS, 0, NULL);
	return EFI_ABORTED;
}
