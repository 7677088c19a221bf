/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses which of firmware's RAM Umbra and its VMs use, in view of memory encryption. */
#ifndef UMBRA_BOOT_RAM_H
#define UMBRA_BOOT_RAM_H

#include "boot/boot_info.h"

/*
 * Removes RAM that must not be used from ranges and late, and logs how much: RAM that firmware
 * excluded from encryption under KeyID 0 (336907, "TME exclusion range"), and on a machine with
 * TME-MK also RAM that firmware does not mark as encryptable (UEFI, EFI_MEMORY_CPU_CRYPTO). Boot
 * processor, once, after tme_look and before page_alloc_init.
 */
void ram_settle(struct boot_info *boot);

/*
 * Removes RAM that another package excludes from the free frames, and logs how much. Only tme_start
 * sees the registers of other packages, so this comes after it. Warns if Umbra's own memory lies
 * there. Boot processor, before any frame is allocated.
 */
void ram_settle_packages(void);

/*
 * Sets the ranges of the SRAT (boot->acpi.affinity) that hold no RAM to 0 bytes: they are only
 * places for memory that may be added later. After ram_settle.
 */
void ram_keep_near(struct boot_info *boot);

/*
 * Replaces window = auto by a size: that of the last-level cache, so that most of what is in clear
 * is in the cache, but at least 16 MiB and at most an eighth of the memory. Logs it. Boot
 * processor, before ram_plan_pool.
 */
void ram_choose_window(struct boot_info *boot);

/*
 * Plans the size of Umbra's own memory. sealed: a VM wants an engine, which may be the software
 * engine. low: the memory must lie below 4 GiB.
 */
struct page_pool_plan ram_plan_pool(const struct boot_info *boot, bool sealed, bool low);

/* Returns the number of pages of all ranges together. */
uint64_t ram_count_pages(const struct mem_range *ranges, size_t count);

#endif
