/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's SMBIOS tables (DMTF DSP0134 3.0), which users' tools ask for: who made the machine, that
 * it is virtual, how much memory it has. No serial number, and no UUID: nothing here lasts longer
 * than the VM. Kernels look for the entry point between F0000H and 100000H.
 */
#ifndef UMBRA_GUEST_SMBIOS_BUILD_H
#define UMBRA_GUEST_SMBIOS_BUILD_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/*
 * Puts entry point and structures of a VM called name with memory_bytes into area as they shall lie
 * at guest address base. Returns their size, or 0 when they do not fit.
 */
size_t smbios_compose(uint8_t *area, size_t area_bytes, uint64_t base, const char *name,
		      uint64_t memory_bytes);

/* The same at MEMMAP_SMBIOS in guest memory. ERR_NOMEM, ERR_RANGE, or gmem_write's errors. */
int smbios_build(struct gmem *gmem, const char *name, uint64_t memory_bytes);

#endif
