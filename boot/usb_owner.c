/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/usb_owner.h"

#include "boot/pci_config.h"
#include "vmm/host/host_paging.h"

/* Class codes of PCI: the programming interface of a USB host controller. */
enum {
	KIND_UHCI = 0x00,
	KIND_OHCI = 0x10,
	KIND_EHCI = 0x20,
	KIND_XHCI = 0x30,
};

#define COMMAND_MEMORY	  BIT(1)
#define BAR_IO		  BIT(0)
#define BAR_64		  0x4 /* in the type field, bits 2:1 */
#define BAR_TYPE	  0x6
#define BAR_ADDRESS	  0xfffffff0u
#define REGISTERS	  0x10000u /* bytes of registers that are mapped */
#define CAPABILITIES_MAX  64	   /* the most entries of a list, which may be circular */
#define CAPABILITY_LEGACY 1
#define FIRMWARE_OWNS	  BIT(16) /* the same bit in EHCI's and xHCI's USBLEGSUP */

#define UHCI_LEGSUP	 0xc0	/* UHCI: "Legacy Support Register" */
#define UHCI_SMI_ENABLES 0x001f /* traps of ports 60H and 64H, SMI by an interrupt */
#define OHCI_CONTROL	 0x04
#define OHCI_ROUTING	 BIT(8) /* OHCI, HcControl: interrupts are SMIs */
#define EHCI_HCCPARAMS	 0x08
#define XHCI_HCCPARAMS1	 0x10

/* Maps the registers. Returns NULL if they are not in memory or not decoded. */
static const volatile uint32_t *map_registers(uint32_t function)
{
	const uint32_t bar = pci_read(function, PCI_BAR0);
	uint64_t base = bar & BAR_ADDRESS;

	if ((pci_read(function, PCI_COMMAND) & COMMAND_MEMORY) == 0 || (bar & BAR_IO) != 0) {
		return NULL;
	}
	if ((bar & BAR_TYPE) == BAR_64) {
		base |= (uint64_t)pci_read(function, PCI_BAR0 + 4) << 32;
	}
	return base != 0 ? host_map_io(hpa(base), REGISTERS, HOST_CACHE_UC) : NULL;
}

static uint32_t reg_read(const volatile uint32_t *registers, uint32_t offset)
{
	return registers[offset / sizeof(*registers)];
}

/* EHCI, "EHCI Extended Capability": the list is in configuration space. */
static bool ehci_is_firmwares(uint32_t function, const volatile uint32_t *registers)
{
	uint32_t at = reg_read(registers, EHCI_HCCPARAMS) >> 8 & 0xff;

	for (int i = 0; i < CAPABILITIES_MAX && at >= 0x40; i++) {
		const uint32_t capability = pci_read(function, at & 0xfc);

		if ((capability & 0xff) == CAPABILITY_LEGACY) {
			return (capability & FIRMWARE_OWNS) != 0;
		}
		at = capability >> 8 & 0xff;
	}
	return false;
}

/* xHCI, "xHCI Extended Capabilities": the list is in memory; its steps count dwords. */
static bool xhci_is_firmwares(const volatile uint32_t *registers)
{
	uint32_t step = reg_read(registers, XHCI_HCCPARAMS1) >> 16;
	uint32_t at = 0;

	for (int i = 0; i < CAPABILITIES_MAX && step != 0; i++) {
		uint32_t capability;

		at += step * (uint32_t)sizeof(uint32_t);
		if (at >= REGISTERS) {
			return false;
		}
		capability = reg_read(registers, at);
		if ((capability & 0xff) == CAPABILITY_LEGACY) {
			return (capability & FIRMWARE_OWNS) != 0;
		}
		step = capability >> 8 & 0xff;
	}
	return false;
}

bool usb_is_firmwares(uint32_t function)
{
	const uint32_t kind = pci_read(function, PCI_CLASS) >> 8 & 0xff;
	const volatile uint32_t *registers;

	if (kind == KIND_UHCI) {
		return (pci_read(function, UHCI_LEGSUP) & UHCI_SMI_ENABLES) != 0;
	}
	registers = map_registers(function);
	if (registers == NULL || reg_read(registers, 0) == UINT32_MAX) {
		return false;
	}
	switch (kind) {
	case KIND_OHCI: return (reg_read(registers, OHCI_CONTROL) & OHCI_ROUTING) != 0;
	case KIND_EHCI: return ehci_is_firmwares(function, registers);
	case KIND_XHCI: return xhci_is_firmwares(registers);
	default: return false;
	}
}
