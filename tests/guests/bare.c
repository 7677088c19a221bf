/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An EFI program that starts the tiny guest \umbra\guest.bin directly on the machine, without a
 * hypervisor, with the command line in \umbra\cmdline.txt: what the guest reports about hardware
 * there it must also report in a VM. It enters the guest by the 64-bit boot protocol.
 */
#include <efi.h>
#include <efilib.h>

#define GUEST_BASE	 0x100000u
#define SETUP_BYTES	 1024u
#define ENTRY_64	 0x200u
#define CMD_LINE_PTR	 0x228u
#define GUEST_BYTES_MAX	 (1u << 20)
#define COMMAND_LINE_MAX 256u

static UINT8 file_data[GUEST_BYTES_MAX];
static UINT8 boot_params[4096];
static CHAR8 command_line[COMMAND_LINE_MAX];

static UINTN read_file(EFI_FILE_HANDLE root, CHAR16 *name, void *buffer, UINTN bytes)
{
	EFI_FILE_HANDLE file;

	if (EFI_ERROR(uefi_call_wrapper(root->Open, 5, root, &file, name, EFI_FILE_MODE_READ, 0)) ||
	    EFI_ERROR(uefi_call_wrapper(file->Read, 3, file, &bytes, buffer))) {
		return 0;
	}
	return bytes;
}

/* The guest must not inherit firmware's settings of the control registers. */
static void enter(void)
{
	__asm__ volatile("cli\n\t"
			 "movl $0x80000031, %%eax\n\t" /* PG, NE, ET, PE */
			 "movq %%rax, %%cr0\n\t"
			 "movl $0x20, %%eax\n\t" /* PAE */
			 "movq %%rax, %%cr4\n\t"
			 "jmp *%1"
			 :
			 : "S"(boot_params), "r"((UINT64)(GUEST_BASE + ENTRY_64))
			 : "rax", "memory");
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table)
{
	EFI_LOADED_IMAGE *self;
	EFI_FILE_HANDLE root;
	UINTN bytes, entries, key, size;
	UINT32 version;

	InitializeLib(handle, table);
	uefi_call_wrapper(BS->HandleProtocol, 3, handle, &LoadedImageProtocol, (void **)&self);
	root = LibOpenRoot(self->DeviceHandle);
	bytes = read_file(root, L"\\umbra\\guest.bin", file_data, sizeof(file_data));
	if (bytes <= SETUP_BYTES) {
		Print(L"bare: no \\umbra\\guest.bin\n");
		return EFI_NOT_FOUND;
	}
	read_file(root, L"\\umbra\\cmdline.txt", command_line, sizeof(command_line) - 1);
	*(UINT32 *)(boot_params + CMD_LINE_PTR) = (UINT32)(UINTN)command_line;
	Print(L"bare: starting the guest\n");
	LibMemoryMap(&entries, &key, &size, &version);
	if (EFI_ERROR(uefi_call_wrapper(BS->ExitBootServices, 2, handle, key))) {
		return EFI_ABORTED;
	}
	for (UINTN i = SETUP_BYTES; i < bytes; i++) {
		*(volatile UINT8 *)(UINTN)(GUEST_BASE + i - SETUP_BYTES) = file_data[i];
	}
	enter();
	return EFI_ABORTED;
}
