/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of the emulated machine's firmware: gives the DXE core the volume of drivers at
 * VOLUME_AT, which lies in the ROM as it is (firmware.py). UEFI Platform Initialization
 * specification 1.7, volume 2, "DXE Services Table" and "ProcessFirmwareVolume()".
 */
#include <efi.h>

#define BEFORE 16 /* functions of the table before ProcessFirmwareVolume */

struct dxe_services {
	EFI_TABLE_HEADER header;
	void *others[BEFORE];
	EFI_STATUS(__attribute__((ms_abi)) * process_firmware_volume)
	(const void *at, UINTN bytes, EFI_HANDLE *out);
};

static const EFI_GUID dxe_services_guid = {
	0x05ad34ba, 0x6f02, 0x4214, { 0x95, 0x2e, 0x4d, 0xa0, 0x39, 0x8e, 0x2b, 0xb9 }
};

static BOOLEAN same(const EFI_GUID *a, const EFI_GUID *b)
{
	const UINT64 *x = (const UINT64 *)(const void *)a, *y = (const UINT64 *)(const void *)b;

	return x[0] == y[0] && x[1] == y[1];
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	const UINT8 *volume = (const UINT8 *)(UINTN)VOLUME_AT;
	EFI_HANDLE handle;

	for (UINTN i = 0; i < system->NumberOfTableEntries; i++) {
		const EFI_CONFIGURATION_TABLE *entry = &system->ConfigurationTable[i];

		if (same(&entry->VendorGuid, &dxe_services_guid)) {
			const struct dxe_services *services = entry->VendorTable;

			return services->process_firmware_volume(
				volume, *(const UINT64 *)(const void *)(volume + 32), &handle);
		}
	}
	return EFI_NOT_FOUND;
}
