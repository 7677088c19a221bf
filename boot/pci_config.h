/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI configuration space by mechanism #1 (PCI Local Bus Specification), which also reaches the
 * first segment of PCIe. A function is bus << 8 | device << 3 | function; offsets are multiples of
 * 4. Boot processor only, no locks.
 */
#ifndef UMBRA_BOOT_PCI_CONFIG_H
#define UMBRA_BOOT_PCI_CONFIG_H

#include "vmm/base/types.h"

#define PCI_ID	    0x00
#define PCI_COMMAND 0x04
#define PCI_CLASS   0x08
#define PCI_HEADER  0x0c
#define PCI_BAR0    0x10

bool pci_is_there(void);
uint32_t pci_read(uint32_t function, uint32_t offset);
/* Writes the lower half of a dword. */
void pci_write16(uint32_t function, uint32_t offset, uint16_t value);

/*
 * Calls each for every function on all 256 buses, so that firmware's numbering of the buses does
 * not matter. class is base class << 8 | sub-class.
 */
void pci_walk(void (*each)(uint32_t function, uint32_t class));

#endif
