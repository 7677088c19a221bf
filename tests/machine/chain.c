/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An EFI program that starts \umbra\vmlinuz with the command line in \umbra\cmdline.txt: the same
 * kernel on the same machine without Umbra, for comparison and for testing the machine itself. The
 * command line names the initrd (initrd=\umbra\initrd.img), which the kernel's EFI stub loads.
 */

#include <efi.h>
#include <efilib.h>

#define COMMAND_LINE_BYTES_MAX 1023

/* Reads the one-line file, up to the end of the line, and converts it to UCS-2. */
static EFI_STATUS read_command_line(EFI_HANDLE device, CHAR16 *line)
{
	static CHAR8 text[COMMAND_LINE_BYTES_MAX];
	UINTN bytes = sizeof(text);
	EFI_FILE_HANDLE root = LibOpenRoot(device);
	EFI_FILE_HANDLE file;
	EFI_STATUS status;

	if (root == NULL) {
		return EFI_NOT_FOUND;
	}
	status = uefi_call_wrapper(root->Open, 5, root, &file, L"\\umbra\\cmdline.txt",
				   EFI_FILE_MODE_READ, 0);
	if (EFI_ERROR(status)) {
		return status;
	}
	status = uefi_call_wrapper(file->Read, 3, file, &bytes, text);
	if (EFI_ERROR(status)) {
		return status;
	}
	for (UINTN at = 0; at < bytes && text[at] != '\n'; at++) {
		line[at] = text[at];
	}
	return EFI_SUCCESS;
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table)
{
	static CHAR16 line[COMMAND_LINE_BYTES_MAX + 1];
	EFI_LOADED_IMAGE *self;
	EFI_LOADED_IMAGE *image;
	EFI_HANDLE kernel;
	EFI_STATUS status;

	InitializeLib(handle, table);
	uefi_call_wrapper(BS->HandleProtocol, 3, handle, &LoadedImageProtocol, (void **)&self);
	status = read_command_line(self->DeviceHandle, line);
	if (EFI_ERROR(status)) {
		Print(L"chain: \\umbra\\cmdline.txt: %r\n", status);
		return status;
	}
	status = uefi_call_wrapper(BS->LoadImage, 6, FALSE, handle,
				   FileDevicePath(self->DeviceHandle, L"\\umbra\\vmlinuz"), NULL, 0,
				   &kernel);
	if (EFI_ERROR(status)) {
		Print(L"chain: \\umbra\\vmlinuz: %r\n", status);
		return status;
	}
	uefi_call_wrapper(BS->HandleProtocol, 3, kernel, &LoadedImageProtocol, (void **)&image);
	image->LoadOptions = line;
	image->LoadOptionsSize = (UINT32)(2 * (StrLen(line) + 1));
	Print(L"chain: starting the kernel\n");
	return uefi_call_wrapper(BS->StartImage, 3, kernel, NULL, NULL);
}
