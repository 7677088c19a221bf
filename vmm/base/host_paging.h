/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor's own page tables: image sections W^X, host pool one to one, MMIO and stacks in a
 * high area with guard pages, per-CPU slots for one guest frame at a time. No direct map of RAM.
 */
#ifndef UMBRA_BASE_HOST_PAGING_H
#define UMBRA_BASE_HOST_PAGING_H

#include "vmm/base/types.h"

enum host_cache {
	HOST_CACHE_WB,
	HOST_CACHE_UC,
	HOST_CACHE_WC,
};

enum host_access {
	HOST_READ,
	HOST_READ_WRITE,
	HOST_READ_EXEC,
};

/* Maps bytes at their own address (firmware runtime, boot files). Page-granular. ERR_NOMEM. */
int host_map_identity(hpa_t base, uint64_t bytes, enum host_access access, enum host_cache cache);
void host_unmap_identity(hpa_t base, uint64_t bytes);

/* Maps device memory somewhere above and returns its address; NULL when out of tables or room. */
void *host_map_io(hpa_t base, uint64_t bytes, enum host_cache cache);

/* A stack of page_count pages between two unmapped pages. Returns its top (16-aligned), or NULL. */
void *host_map_stack(size_t page_count);

/*
 * Maps the guest frame in one of this CPU's HOST_TEMP_SLOTS slots until host_temp_unmap with the
 * same slot. Interrupts off, no nesting within a slot. Costs one INVLPG. The address is page-aligned.
 */
#define HOST_TEMP_SLOTS 4
void *host_temp_map(unsigned slot, hpa_t frame);
void host_temp_unmap(unsigned slot);

#endif
