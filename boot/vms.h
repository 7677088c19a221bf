/* SPDX-License-Identifier: Apache-2.0 */
/* The VMs of the configuration, from their start to the end of the last. Boot processor only. */
#ifndef UMBRA_BOOT_VMS_H
#define UMBRA_BOOT_VMS_H

#include "boot/config.h"

/*
 * Builds and starts every valid VM; one that fails was named in the log and is left out. config
 * must stay. Returns how many run.
 */
size_t vms_start(const struct config *config);

/* Tells of VMs that ended, and builds those anew that asked for a reset. Returns how many run. */
size_t vms_reap(void);

#endif
