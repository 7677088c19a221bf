/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses the RAM that Umbra and its VMs use. Some of the RAM that firmware reports may be excluded
 * from memory encryption.
 */
#ifndef UMBRA_BOOT_RAM_H
#define UMBRA_BOOT_RAM_H

#include "boot/boot_info.h"

/*
 * Removes from boot->ranges and boot->late the RAM that firmware excluded from encryption under
 * KeyID 0 (Intel document 336907, "TME exclusion range"). On a machine that has TME-MK or will
 * activate it, boot->unmarked stays unused, because firmware does not mark this RAM as encryptable
 * (UEFI, EFI_MEMORY_CPU_CRYPTO); on other machines it is added to boot->late. Logs how much RAM is
 * not used. Boot processor, once, after tme_look and before frames_init.
 */
void ram_settle(struct boot_info *boot);

/*
 * Firmware may have excluded other RAM from encryption in another package. Removes this RAM from
 * the free frames, and logs how much it is. Warns if Umbra's own memory lies there. Boot processor,
 * after tme_start, which reads the registers of all packages, and before any frame is allocated.
 */
void ram_settle_packages(void);

/*
 * If a range of the SRAT (boot->acpi.affinity) holds no RAM, sets its size to 0: such a range is
 * only a place for memory that may be added later. Call after ram_settle.
 */
void ram_keep_near(struct boot_info *boot);

/*
 * Replaces window = auto by the size of the last-level cache, so that most of what is in clear is
 * in the cache. The window gets at least 16 MiB, but never more than an eighth of the memory. Logs
 * the size. Boot processor, before ram_plan_pool.
 */
void ram_choose_window(struct boot_info *boot);

/*
 * Plans the size of Umbra's own memory. sealed: a VM or a share may need the software engine. low:
 * the memory must lie below 4 GiB.
 */
struct page_pool_plan ram_plan_pool(const struct boot_info *boot, bool sealed, bool low);

/* Returns the number of pages of all ranges together. */
uint64_t ram_count_pages(const struct mem_range *ranges, size_t count);

#endif
