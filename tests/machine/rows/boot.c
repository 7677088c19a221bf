/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EFI program that runs the TME-MK tests, called rows (README.md here). \rows.txt names the
 * profile (the synthetic CPU) and the rows to run. The program never exits boot services, so that
 * firmware can turn the machine off afterwards.
 */
#include <efi.h>
#include <efilib.h>

#define WORDS_MAX 1024u

/* UEFI PI specification, vol. 2, "EFI_MP_SERVICES_PROTOCOL". */
typedef void(EFIAPI *ap_procedure)(void *argument);
struct mp_services {
	EFI_STATUS(EFIAPI *get_count)(struct mp_services *self, UINTN *all, UINTN *enabled);
	void *get_info, *startup_all;
	EFI_STATUS(EFIAPI *startup_one)
	(struct mp_services *self, ap_procedure run, UINTN number, EFI_EVENT done, UINTN usec,
	 void *argument, BOOLEAN *finished);
};

#include "rows.h"

static CHAR8 words[WORDS_MAX];

static bool read_words(EFI_HANDLE handle)
{
	EFI_LOADED_IMAGE *self;
	EFI_FILE_HANDLE root, file;
	UINTN bytes = sizeof(words) - 1;

	if (EFI_ERROR(BS->HandleProtocol(handle, &LoadedImageProtocol, (void **)&self))) {
		return false;
	}
	root = LibOpenRoot(self->DeviceHandle);
	return root != NULL &&
	       !EFI_ERROR(root->Open(root, &file, L"\\rows.txt", EFI_FILE_MODE_READ, 0)) &&
	       !EFI_ERROR(file->Read(file, &bytes, words));
}

static bool allocate(EFI_PHYSICAL_ADDRESS at, UINTN bytes)
{
	return !EFI_ERROR(
		BS->AllocatePages(AllocateAddress, EfiLoaderData, bytes / PAGE_BYTES, &at));
}

static void EFIAPI cpu1_start(void *argument)
{
	cpu1_loop();
}

static struct mp_services *second_cpu(void)
{
	static EFI_GUID guid = {
		0x3fdda605, 0xa76e, 0x4f46, { 0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08 }
	};
	struct mp_services *mp;
	UINTN all, enabled;

	if (EFI_ERROR(BS->LocateProtocol(&guid, NULL, (void **)&mp)) ||
	    EFI_ERROR(mp->get_count(mp, &all, &enabled)) || enabled < 2) {
		return NULL;
	}
	return mp;
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table)
{
	struct mp_services *mp;
	EFI_EVENT event;

	InitializeLib(handle, table);
	if (!read_words(handle)) {
		print("rows: no \\rows.txt\n");
	} else if (rows_words((const char *)words), !allocate(ARENA, ARENA_BYTES)) {
		print("rows: firmware has no memory at %lx\n", (uint64_t)ARENA);
	} else if (word("far") && !allocate(ARENA_FAR, ARENA_FAR_BYTES)) {
		print("rows: firmware has no memory at %lx\n", (uint64_t)ARENA_FAR);
	} else {
		prepare();
		mp = second_cpu();
		if (mp != NULL) {
			BS->CreateEvent(0, 0, NULL, NULL, &event);
			mp->startup_one(mp, cpu1_start, 1, event, 0, NULL, NULL);
		}
		takeover(mp != NULL);
		rows_run();
		giveback();
	}
	print("rows: end\n");
	RT->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
	return EFI_ABORTED;
}
