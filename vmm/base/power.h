/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the machine off or resets it: ResetSystem, else ACPI PM1 or CF9, else a triple fault. */
#ifndef UMBRA_BASE_POWER_H
#define UMBRA_BASE_POWER_H

#include "vmm/base/types.h"

/* Both wipe keys first (panic_wipe), stop the other CPUs, flush the consoles. */
_Noreturn void power_off(void);
_Noreturn void power_reset(void);

#endif
