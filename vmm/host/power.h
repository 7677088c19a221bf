/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the machine off or resets it: ResetSystem, else ACPI PM1 or CF9, else a triple fault. */
#ifndef UMBRA_HOST_POWER_H
#define UMBRA_HOST_POWER_H

#include "vmm/base/types.h"
#include "vmm/host/acpi_host.h"

/* Firmware's runtime services, called with the Microsoft ABI. NULL: not available. */
struct runtime_services {
	void *reset_system; /* EFI_RESET_SYSTEM */
	void *set_variable; /* EFI_SET_VARIABLE */
};

/* Firmware's runtime code or data, mapped at its own address for the runtime services. */
struct runtime_range {
	hpa_t base;
	uint64_t page_count;
	bool code; /* executable */
	/* For code: also writable, because firmware lists code and data as one range. */
	bool writable;
	bool uncached;
};

/*
 * Sets how to turn this machine off: firmware's services with the memory ranges that they need, and
 * facts from ACPI. Copies the ranges and maps them in the bootstrap tables; code stays read-only
 * until the machine ends. Logs ranges that cannot be mapped; then no service is used. BSP, once,
 * after host_paging_init.
 */
#define POWER_RANGE_MAX 256
void power_init(const struct runtime_services *services, const struct runtime_range *ranges,
		size_t range_count, const struct acpi_facts *acpi);

/*
 * Asks firmware to store a variable: name in UCS-2, vendor GUID, EFI attributes. Only when the
 * machine ends: keys are wiped, no other CPU runs. Returns 0, ERR_NOTFOUND (no such service),
 * ERR_IO (the service faulted), or the positive number of an EFI error.
 */
int power_store_variable(const uint16_t *name, const uint8_t *guid, uint32_t attributes,
			 const void *data, size_t bytes);

/*
 * Both first stop the other CPUs and wipe keys (ending_wipe), and write out the consoles. Any CPU.
 * When every way to turn the machine off fails, power_off logs that the user can switch it off.
 */
_Noreturn void power_off(void);
_Noreturn void power_reset(void);

#endif
