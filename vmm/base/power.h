/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the machine off or resets it: ResetSystem, else ACPI PM1 or CF9, else a triple fault. */
#ifndef UMBRA_BASE_POWER_H
#define UMBRA_BASE_POWER_H

#include "vmm/base/acpi_host.h"
#include "vmm/base/types.h"

/* Functions of firmware at run time, called with the Microsoft ABI; NULL: none. */
struct runtime_services {
	void *reset_system; /* EFI_RESET_SYSTEM */
	void *set_variable; /* EFI_SET_VARIABLE */
};

/* Firmware's runtime code or data: mapped at its own address, for those services alone. */
struct runtime_range {
	hpa_t base;
	uint64_t page_count;
	bool code;     /* executable */
	bool writable; /* of code: writable as well, for firmware described it no further */
	bool uncached;
};

/*
 * How this machine is turned off: firmware's services with the ranges they need, which are copied
 * and mapped in the bootstrap tables here (code is not writable before the end), and ACPI's facts.
 * BSP, once, after host_paging_init. Ranges that cannot be mapped are logged; no service
 * is then used.
 */
#define POWER_RANGE_MAX 256
void power_init(const struct runtime_services *services, const struct runtime_range *ranges,
		size_t range_count, const struct acpi_facts *acpi);

/*
 * Has firmware keep a variable: name in UCS-2, vendor's GUID, EFI attributes. Only when the machine
 * ends: keys are gone, no other CPU runs. 0, ERR_NOTFOUND (no such service), ERR_IO (it faulted),
 * or the number of an EFI error, which is positive.
 */
int power_store_variable(const uint16_t *name, const uint8_t *guid, uint32_t attributes,
			 const void *data, size_t bytes);

/*
 * Both stop the other CPUs and wipe keys first (panic_wipe), and drain the consoles. Any CPU. When
 * all means fail, power_off says that the machine may be switched off by hand.
 */
_Noreturn void power_off(void);
_Noreturn void power_reset(void);

#endif
