/* SPDX-License-Identifier: Apache-2.0 */
/* Time. The TSC is the only clock; its frequency comes from CPUID 15H/16H or is measured. */
#ifndef UMBRA_BASE_TSC_H
#define UMBRA_BASE_TSC_H

#include "vmm/base/types.h"

/*
 * Finds the frequency: CPUID.15H, else 16H, else against the ACPI PM timer (port 0: there is none)
 * or the PIT. Returns ERR_NOTFOUND when there is none of these; 1 GHz is assumed then, so all times
 * are wrong. BSP.
 */
int tsc_init(uint16_t pm_timer_port);
/* Ticks per second; never 0 after tsc_init. */
uint64_t tsc_hz(void);
/* How tsc_init found the frequency, for the log: "CPUID.15H", "PIT", ... */
const char *tsc_source(void);
uint64_t tsc_from_us(uint64_t us);
void tsc_wait_us(uint64_t us);

#endif
