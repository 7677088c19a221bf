/* SPDX-License-Identifier: Apache-2.0 */
/* What firmware calls. Trial stage: says hello. */
#include <efi.h>

#include "vmm/base/console.h"
#include "vmm/base/log.h"
#include "vmm/base/serial.h"

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	(void)image;
	(void)serial_init();
	(void)system->ConOut->OutputString(system->ConOut, (CHAR16 *)L"Umbra says hello\r\n");
	log_info("Umbra %s", UMBRA_VERSION);
	console_drain();
	system->RuntimeServices->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
	return EFI_SUCCESS;
}
