/* SPDX-License-Identifier: Apache-2.0 */
/* The record in firmware's variables that a panic of the last run left, and firmware's clock. */
#include "boot/efi_priv.h"

#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/crash_record.h"

static EFI_GUID record_guid(void)
{
	EFI_GUID guid;

	memcpy(&guid, crash_record_guid, sizeof(guid));
	return guid;
}

void efi_record_show(void)
{
	static char text[CRASH_RECORD_MAX];
	/* the prototypes have no const */
	CHAR16 *name = (CHAR16 *)(uintptr_t)crash_record_variable;
	EFI_RUNTIME_SERVICES *rt = efi_system->RuntimeServices;
	EFI_GUID guid = record_guid();
	UINT32 attributes = 0;
	UINTN bytes = sizeof(text);
	EFI_STATUS status = rt->GetVariable(name, &guid, &attributes, &bytes, text);

	if (status == EFI_NOT_FOUND) {
		return;
	}
	if (status == EFI_BUFFER_TOO_SMALL) {
		log_warn("firmware has a record of a panic that is too long to be ours");
	} else if (EFI_ERROR(status)) {
		return; /* firmware without variables keeps no record */
	} else {
		crash_record_show(text, MIN(bytes, sizeof(text)));
	}
	if (EFI_ERROR(rt->SetVariable(name, &guid, attributes, 0, NULL))) {
		log_warn("firmware does not delete this record: it will be shown again");
	}
}

void efi_time_read(char *text, size_t bytes)
{
	EFI_TIME time;

	memset(&time, 0, sizeof(time));
	text[0] = '\0';
	if (EFI_ERROR(efi_system->RuntimeServices->GetTime(&time, NULL)) || time.Month > 12 ||
	    time.Day > 31 || time.Hour > 23 || time.Minute > 59 || time.Second > 59) {
		return;
	}
	(void)str_printf(text, bytes, "%04u-%02u-%02u %02u:%02u:%02u", time.Year, time.Month,
			 /* a cut text is acceptable */
			 time.Day, time.Hour, time.Minute, time.Second);
}
