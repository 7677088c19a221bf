/* SPDX-License-Identifier: Apache-2.0 */
/* Finds words on a kernel's command line that do not work in our VMs. */
#ifndef UMBRA_GUEST_CMDLINE_H
#define UMBRA_GUEST_CMDLINE_H

#include "vmm/base/types.h"

/*
 * Logs a warning for each word of cmdline that makes Linux ignore the I/O APIC or the local APIC
 * (Linux: Documentation/admin-guide/kernel-parameters.txt). Nothing else of the command line
 * appears in the log. vm is the VM's name. Any CPU; takes no lock except the log's.
 */
void cmdline_warn(const char *vm, const char *cmdline);

#endif
