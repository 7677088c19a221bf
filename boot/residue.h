/* SPDX-License-Identifier: Apache-2.0 */
/* What firmware leaves behind: content of memory, and CPUs and devices that may use it. */
#ifndef UMBRA_BOOT_RESIDUE_H
#define UMBRA_BOOT_RESIDUE_H

#include "vmm/base/page_alloc.h"

/*
 * Takes the right to access memory from every PCI function but displays, whose picture may live in
 * RAM, host and ISA bridges, which are the chipset itself, and USB controllers that firmware goes
 * on to drive for a PS/2 keyboard's sake, with the bridges before them. Logs how many had it, and
 * warns of each such controller. Does nothing without PCI. After boot services have ended; boot
 * processor, on our page tables, once.
 */
void residue_stop_devices(void);

/*
 * Ends what firmware has left running, and then takes its memory: stops the other CPUs and the
 * devices, zeroes the ranges, and hands them out as frames. Boot processor, on our page tables,
 * once, before other CPUs start.
 */
void residue_clear(const struct mem_range *ranges, size_t count);

/*
 * Zeroes frames that nobody uses any more, but for page 0: system management code of old firmware
 * reads it. After residue_stop_devices, or a device writes to them again. Boot processor, on our
 * page tables.
 */
void residue_zero(const struct mem_range *ranges, size_t count);

#endif
