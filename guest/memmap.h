/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things are in every guest: the one place that loader, ACPI tables and devices agree on.
 *
 * Memory                          what                                 E820
 *   0000_0000 .. 0009_F000        low RAM; the loader's area in it     usable
 *     0001_0000                     GDT
 *     0001_1000                     boot_params (zero page)
 *     0001_2000 .. 0001_4000        command line
 *     0001_4000                     setup_data: a seed for the kernel's random numbers
 *     0001_8000 .. 0001_E000        page tables, first 4 GiB one to one
 *   0009_F000 .. 000E_0000        RAM that stands for EBDA, VGA, ROM   reserved
 *   000E_0000 .. 0010_0000        ACPI tables (RSDP first)             ACPI data
 *     000F_0000                     SMBIOS tables, within the same range
 *   0010_0000 .. min(size, 3 GiB) RAM: kernel, ..., initrd at the top  usable
 *   C000_0000 .. 1_0000_0000      PCI hole, never RAM                  (absent)
 *     C000_0000 .. E000_0000        BARs of PCI functions
 *     E000_0000 .. E010_0000        PCI configuration of bus 0 (ECAM)  reserved
 *     FEC0_0000                     I/O APIC
 *     FEE0_0000                     local APIC
 *   1_0000_0000 ..                the RAM beyond 3 GiB                 usable
 *
 * Ports
 *   020, 021, 0A0, 0A1            PIC pair      040 .. 043, 061   PIT
 *   070, 071                      RTC and CMOS  3F8 .. 3FF        COM1
 *   505                           pvpanic
 *   600 .. 603  PM1 status and enable           604, 605          PM1 control
 *   608 .. 60B  PM timer                        CF8 .. CFF        PCI configuration; CF9 resets
 *   1000 .. FFFF                  BARs of PCI functions
 */
#ifndef UMBRA_GUEST_MEMMAP_H
#define UMBRA_GUEST_MEMMAP_H

#include "vmm/base/types.h"

#define MEMMAP_GDT	     0x10000ul
#define MEMMAP_BOOT_PARAMS   0x11000ul
#define MEMMAP_CMDLINE	     0x12000ul
#define MEMMAP_CMDLINE_BYTES 0x2000ul
#define MEMMAP_SETUP_DATA    0x14000ul
#define MEMMAP_PAGE_TABLES   0x18000ul
#define MEMMAP_LOADER_END    0x1e000ul
#define MEMMAP_LOW_RAM_END   0x9f000ul
#define MEMMAP_ACPI	     0xe0000ul
#define MEMMAP_ACPI_BYTES    0x20000ul
#define MEMMAP_SMBIOS	     0xf0000ul /* the ACPI tables end below it */
#define MEMMAP_KERNEL_MIN    0x100000ul
#define MEMMAP_HOLE	     0xc0000000ul
#define MEMMAP_PCI_BARS	     0xc0000000ul /* up to MEMMAP_ECAM */
#define MEMMAP_ECAM	     0xe0000000ul /* of one bus: 1 MiB */
#define MEMMAP_ECAM_BYTES    0x100000ul
#define MEMMAP_IOAPIC	     0xfec00000ul
#define MEMMAP_LAPIC	     0xfee00000ul
#define MEMMAP_HIGH_RAM	     0x100000000ul

#define PORT_PIC_MASTER	      0x20
#define PORT_PIT	      0x40
#define PORT_SYSTEM_CONTROL   0x61
#define PORT_RTC	      0x70
#define PORT_PIC_SLAVE	      0xa0
#define PORT_COM1	      0x3f8
#define PORT_PIC_EDGE_LEVEL   0x4d0
#define PORT_PANIC	      0x505
#define PORT_PM1_EVENT	      0x600
#define PORT_PM1_CONTROL      0x604
#define PORT_PM_TIMER	      0x608
#define PORT_PCI_CONFIG	      0xcf8
#define PORT_PCI_CONFIG_COUNT 8
#define PORT_RESET	      0xcf9
#define PORT_PCI_WINDOW	      0xd00  /* a guest may place BARs from here on ... */
#define PORT_PCI_BARS	      0x1000 /* ... and here they lie at first */

/*
 * Values that the guest writes: SLP_TYP in PM1 control for S5, together with SLP_EN, and the byte
 * for a reset.
 */
#define PM1_SLP_TYP_S5 5
#define RESET_VALUE    0x06

/*
 * Interrupt lines. ISA line n is I/O APIC pin n, also for the PIT's line 0. The one override in the
 * MADT says that the SCI is level-triggered.
 */
#define IRQ_PIT	      0
#define IRQ_COM1      4
#define IRQ_RTC	      8
#define IRQ_SCI	      9
#define GSI_PCI	      16 /* INTA# of device n is GSI_PCI + n % GSI_PCI_COUNT */
#define GSI_PCI_COUNT 8
#define GSI_COUNT     24

/* How the memory of a VM is divided: the part below the PCI hole, and the part above 4 GiB. */
static inline uint64_t memmap_low_bytes(uint64_t memory_bytes)
{
	return MIN(memory_bytes, MEMMAP_HOLE);
}

static inline uint64_t memmap_high_bytes(uint64_t memory_bytes)
{
	return memory_bytes - memmap_low_bytes(memory_bytes);
}

#endif
