/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/pci_config.h"

#include "vmm/base/cpu.h"

#define PCI_ADDRESS  0xcf8
#define PCI_DATA     0xcfc
#define PCI_ENABLE   BIT(31)
#define HEADER_MULTI BIT(23) /* in the dword: the device has several functions */
#define NOBODY	     0xffff  /* vendor ID where no function answers */

static void select(uint32_t function, uint32_t offset)
{
	cpu_out32(PCI_ADDRESS, (uint32_t)PCI_ENABLE | function << 8 | offset);
}

uint32_t pci_read(uint32_t function, uint32_t offset)
{
	select(function, offset);
	return cpu_in32(PCI_DATA);
}

void pci_write16(uint32_t function, uint32_t offset, uint16_t value)
{
	/*
	 * Callers write the command register. A dword write would also clear status bits in the
	 * upper half.
	 */
	select(function, offset);
	cpu_out16(PCI_DATA, value);
}

bool pci_is_there(void)
{
	uint32_t before = cpu_in32(PCI_ADDRESS);
	bool found;

	cpu_out32(PCI_ADDRESS, (uint32_t)PCI_ENABLE);
	found = cpu_in32(PCI_ADDRESS) == (uint32_t)PCI_ENABLE;
	cpu_out32(PCI_ADDRESS, before);
	return found;
}

void pci_walk(void (*each)(uint32_t function, uint32_t class))
{
	for (uint32_t device = 0; device < 256 * 32; device++) {
		uint32_t functions = 1;

		for (uint32_t f = 0; f < functions; f++) {
			uint32_t function = device << 3 | f;

			if ((pci_read(function, PCI_ID) & 0xffff) == NOBODY) {
				continue;
			}
			if (f == 0 && (pci_read(function, PCI_HEADER) & HEADER_MULTI) != 0) {
				functions = 8;
			}
			each(function, pci_read(function, PCI_CLASS) >> 16);
		}
	}
}
