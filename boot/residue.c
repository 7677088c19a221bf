/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/residue.h"

#include "ept/gmem.h"
#include "vmm/base/cpu.h"
#include "vmm/base/log.h"

/* PCI Local Bus Specification, "Configuration Mechanism #1". PCIe's first segment has it, too. */
#define PCI_ADDRESS	  0xcf8
#define PCI_DATA	  0xcfc
#define PCI_ENABLE	  BIT(31)
#define PCI_ID		  0x00
#define PCI_COMMAND	  0x04
#define PCI_CLASS	  0x08
#define PCI_HEADER	  0x0c
#define COMMAND_MASTER	  BIT(2)
#define HEADER_MULTI	  BIT(23) /* of the dword: several functions */
#define CLASS_DISPLAY	  0x03	  /* base class */
#define CLASS_HOST_BRIDGE 0x0600  /* base class and sub-class */
#define CLASS_ISA_BRIDGE  0x0601
#define NOBODY		  0xffff /* as vendor */

/* function: bus << 8 | device << 3 | function. */
static void select(uint32_t function, uint32_t offset)
{
	cpu_out32(PCI_ADDRESS, (uint32_t)PCI_ENABLE | function << 8 | offset);
}

static uint32_t pci_read(uint32_t function, uint32_t offset)
{
	select(function, offset);
	return cpu_in32(PCI_DATA);
}

static bool have_pci(void)
{
	uint32_t before = cpu_in32(PCI_ADDRESS);
	bool found;

	cpu_out32(PCI_ADDRESS, (uint32_t)PCI_ENABLE);
	found = cpu_in32(PCI_ADDRESS) == (uint32_t)PCI_ENABLE;
	cpu_out32(PCI_ADDRESS, before);
	return found;
}

/* True when it had the right to access memory, and has it no more. */
static bool stop_function(uint32_t function)
{
	uint32_t class = pci_read(function, PCI_CLASS) >> 16;
	uint32_t command = pci_read(function, PCI_COMMAND) & 0xffff;

	if ((command & COMMAND_MASTER) == 0 || class >> 8 == CLASS_DISPLAY ||
	    class == CLASS_HOST_BRIDGE || class == CLASS_ISA_BRIDGE) {
		return false;
	}
	/* 16 bits: the status in the upper half is cleared by writing ones. */
	select(function, PCI_COMMAND);
	cpu_out16(PCI_DATA, (uint16_t)(command & ~COMMAND_MASTER));
	return true;
}

void residue_stop_devices(void)
{
	uint32_t stopped = 0;

	if (!have_pci()) {
		return;
	}
	/* All numbers, so that nothing depends on how firmware numbered the buses. */
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
			stopped += stop_function(function);
		}
	}
	log_info("PCI: %u function%s that may have written to memory cannot any more", stopped,
		 stopped == 1 ? "" : "s");
}

void residue_zero(const struct mem_range *ranges, size_t count)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t first = MAX(ranges[i].base.v, PAGE_SIZE);
		uint64_t end = ranges[i].base.v + ranges[i].page_count * PAGE_SIZE;

		if (first < end) {
			gmem_scrub(hpa(first), end - first);
			pages += (end - first) / PAGE_SIZE;
		}
	}
	log_info("memory: %llu KiB that firmware and its drivers used are zeroed",
		 (unsigned long long)pages * 4);
}
