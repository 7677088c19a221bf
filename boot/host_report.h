/* SPDX-License-Identifier: Apache-2.0 */
/* Describes what this machine is and offers, for the log and for the shell's `host`. */
#ifndef UMBRA_BOOT_HOST_REPORT_H
#define UMBRA_BOOT_HOST_REPORT_H

#include "boot/boot_info.h"

/* Returns CPUID's brand string, or "unnamed". */
const char *host_cpu_name(void);

/* Prints the whole report, one call of print for each line. After vmx_init. */
void host_report(const struct boot_info *boot, void (*print)(const char *fmt, ...));

#endif
