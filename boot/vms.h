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

/* What became of a VM of the configuration. For reading. */
struct vms_entry {
	const struct vm_config *config;
	struct vm *vm;	  /* NULL: not running */
	uint64_t started; /* TSC */
	uint32_t early_resets;
};
size_t vms_count(void);
/* By index below vms_count(), in the order of the configuration. */
const struct vms_entry *vms_get(size_t index);
/* Builds and starts one that is off and valid; what platform_start_vm returns. */
int vms_power_on(const struct vms_entry *entry);

/* Tells of VMs that ended, and builds those anew that asked for a reset. Returns how many run. */
size_t vms_reap(void);

#endif
