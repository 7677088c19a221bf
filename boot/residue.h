/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles what firmware leaves behind: the content of memory, and CPUs and devices that may use it.
 */
#ifndef UMBRA_BOOT_RESIDUE_H
#define UMBRA_BOOT_RESIDUE_H

#include "vmm/host/page_alloc.h"

/*
 * Clears Bus Master Enable of every PCI function, so that it cannot access memory. Exceptions:
 * displays, whose picture may lie in RAM; host and ISA bridges, which are the chipset itself; and
 * USB controllers that firmware keeps driving for a PS/2 keyboard, with the bridges to them. Logs
 * how many functions it changed, and warns of each such controller. Does nothing without PCI. Boot
 * processor, on our page tables, once, after the end of boot services.
 */
void residue_stop_devices(void);

/*
 * Stops what firmware has left running, then takes its memory over: stops the other CPUs and the
 * devices, zeroes the ranges, and adds them to the free frames. Boot processor, on our page tables,
 * once, before other CPUs start.
 */
void residue_clear(const struct mem_range *ranges, size_t count);

/*
 * Zeroes memory that is no longer in use. Skips page 0, because system management code of old
 * firmware reads it. Call after residue_stop_devices: otherwise a device may write to the memory
 * again. Boot processor, on our page tables.
 */
void residue_zero(const struct mem_range *ranges, size_t count);

#endif
