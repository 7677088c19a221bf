/* SPDX-License-Identifier: Apache-2.0 */
/* What firmware says of the launch: whether it checks what it starts. */
#include "boot/efi_priv.h"

#include "vmm/base/log.h"
#include "vmm/base/str.h"

/* A variable of one byte that firmware itself keeps; false if there is none. UEFI, table 3-1. */
static bool firmware_says(const CHAR16 *name)
{
	EFI_GUID guid = EFI_GLOBAL_VARIABLE;
	UINT8 value = 0;
	UINTN bytes = sizeof(value);
	EFI_STATUS status;

	/* the prototype has no const */
	status = efi_system->RuntimeServices->GetVariable((CHAR16 *)(uintptr_t)name, &guid, NULL,
							  &bytes, &value);
	return !EFI_ERROR(status) && bytes == sizeof(value) && value == 1;
}

bool efi_secure_boot(void)
{
	/* In set-up mode everyone may enrol keys, and firmware checks nothing. */
	return firmware_says(L"SecureBoot") && !firmware_says(L"SetupMode");
}

void efi_launch_report(void)
{
	log_info("Secure Boot is %s", efi_secure_boot()
					      ? "on: firmware has checked who signed this program"
					      : "off: firmware starts any program");
}
