/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the machine off or resets it: ResetSystem, else ACPI PM1 or CF9, else a triple fault. */
#ifndef UMBRA_BASE_POWER_H
#define UMBRA_BASE_POWER_H

#include "vmm/base/acpi_host.h"
#include "vmm/base/types.h"

/* Firmware's runtime code or data: mapped at its own address, for ResetSystem alone. */
struct runtime_range {
	hpa_t base;
	uint64_t page_count;
	bool code;     /* executable */
	bool writable; /* of code: writable as well, for firmware described it no further */
	bool uncached;
};

/*
 * How this machine is turned off: the EFI ResetSystem function (NULL: none) with the ranges it
 * needs, which are copied and mapped here (code is not writable before the end), and ACPI's facts.
 * BSP, once, after host_paging_init. Ranges that cannot be mapped are told in the log; ResetSystem
 * is then not used.
 */
#define POWER_RANGE_MAX 256
void power_init(void *reset_system, const struct runtime_range *ranges, size_t range_count,
		const struct acpi_facts *acpi);

/*
 * Both wipe keys first (panic_wipe), stop the other CPUs and drain the consoles. Any CPU. When all
 * means fail, power_off says that the machine may be switched off by hand.
 */
_Noreturn void power_off(void);
_Noreturn void power_reset(void);

#endif
