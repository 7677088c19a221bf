/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the RAM that firmware lists Umbra and its VMs use, as memory encryption wants it. */
#ifndef UMBRA_BOOT_RAM_H
#define UMBRA_BOOT_RAM_H

#include "boot/boot_info.h"

/*
 * Takes what cannot be used out of ranges and late, in words: RAM that firmware excluded from
 * encryption under KeyID 0 (336907, "TME exclusion range"), and on a machine with TME-MK RAM that
 * it does not mark as one that can be encrypted (UEFI, EFI_MEMORY_CPU_CRYPTO). Boot processor,
 * once, after tme_look and before page_alloc_init.
 */
void ram_settle(struct boot_info *boot);

/*
 * After tme_start, which alone sees what firmware set in other packages: takes RAM that one of them
 * excludes out of the frames, in words. A warning says how much of Umbra's own memory lies there.
 * Boot processor, before any frame is allocated.
 */
void ram_settle_packages(void);

/*
 * Of the memory in the SRAT (boot->acpi.affinity) leaves that which holds RAM; what is only a place
 * for memory to come gets 0 bytes. After ram_settle.
 */
void ram_keep_near(struct boot_info *boot);

/*
 * How large Umbra's own memory shall be. sealed: some VM wants an engine, so it may be the software
 * engine; window_bytes: of its window. low: it has to lie below 4 GiB.
 */
struct page_pool_plan ram_plan_pool(const struct boot_info *boot, bool sealed, bool low);

/* Pages of all ranges together. */
uint64_t ram_count_pages(const struct mem_range *ranges, size_t count);

#endif
