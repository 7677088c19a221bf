/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's SMBIOS tables (DMTF DSP0134 3.0). User tools read them: the maker of the machine, that it
 * is virtual, its memory size. They contain no serial number and no UUID, because no identity of a
 * VM lasts longer than the VM. Kernels look for the entry point between F0000H and 100000H.
 */
#ifndef UMBRA_GUEST_SMBIOS_BUILD_H
#define UMBRA_GUEST_SMBIOS_BUILD_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/*
 * Composes entry point and structures of a VM with this name and memory_bytes in area. They will
 * lie at guest address base. Returns their size in bytes, or 0 if they do not fit.
 */
size_t smbios_compose(uint8_t *area, size_t area_bytes, uint64_t base, const char *name,
		      uint64_t memory_bytes);

/*
 * Composes the tables and writes them to MEMMAP_SMBIOS in guest memory. Returns ERR_NOMEM if the
 * buffer cannot be allocated, ERR_RANGE if the tables do not fit, or an error of gmem_write.
 */
int smbios_build(struct gmem *gmem, const char *name, uint64_t memory_bytes);

#endif
