/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel's command line asks for that does not work in a VM of ours. */
#ifndef UMBRA_GUEST_CMDLINE_H
#define UMBRA_GUEST_CMDLINE_H

#include "vmm/base/types.h"

/*
 * Warns in the log, once for each word of cmdline by which Linux gives up the I/O APIC or the local
 * APIC (Linux: Documentation/admin-guide/kernel-parameters.txt). Nothing of the command line but
 * these words goes to the log. Any CPU; no locks but the log's.
 */
void cmdline_warn(const char *vm, const char *cmdline);

#endif
