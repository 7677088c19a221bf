/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware's own tables, for all files of the firmware side. */
#include "boot/efi_priv.h"

#include "vmm/base/str.h"

EFI_SYSTEM_TABLE *efi_system;
EFI_HANDLE efi_image;

void *efi_locate(const EFI_GUID *protocol)
{
	EFI_GUID guid = *protocol; /* GNU-EFI's prototypes have no const */
	void *found = NULL;

	return EFI_ERROR(efi_system->BootServices->LocateProtocol(&guid, NULL, &found)) ? NULL
											: found;
}

void *efi_config_table(const EFI_GUID *guid)
{
	for (UINTN i = 0; i < efi_system->NumberOfTableEntries; i++) {
		const EFI_CONFIGURATION_TABLE *table = &efi_system->ConfigurationTable[i];

		if (memcmp(&table->VendorGuid, guid, sizeof(*guid)) == 0) {
			return table->VendorTable;
		}
	}
	return NULL;
}
