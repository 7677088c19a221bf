/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI Local Bus Specification 3.0, "Configuration Mechanism #1": a dword at CF8H selects, CFCH to
 * CFFH are the selected dword's bytes. The chipset's reset register lies amid it, at CF9H, and is
 * distinguished by its width: CONFIG_ADDRESS takes dwords alone.
 */
#include "guest/dev/vpci.h"

#include "guest/memmap.h"
#include "guest/platform_state.h"

#define CONFIG_ADDRESS 0 /* offsets from PORT_PCI_CONFIG */
#define CONFIG_DATA    4

/* CONFIG_ADDRESS: bus, device and function in one; the rest is zero by the specification. */
#define ADDRESS_ENABLE	 BIT(31)
#define ADDRESS_FUNCTION MASK(23, 8)
#define ADDRESS_REGISTER MASK(7, 2)
#define ADDRESS_BITS	 (ADDRESS_ENABLE | ADDRESS_FUNCTION | ADDRESS_REGISTER)

#define RESET_CPU BIT(2) /* of CF9H */

/*
 * Device 0 of bus 0. The identity is of an Intel host bridge that no driver of Linux binds to and
 * no quirk knows; class 0600H. Status, command, BARs and capabilities: none. Read-only.
 */
static const uint8_t host_bridge[] = {
	0x86, 0x80, 0x57, 0x0d, /* vendor, device */
	0x00, 0x00, 0x00, 0x00, /* command, status */
	0x00, 0x00, 0x00, 0x06, /* revision, class */
};

static uint64_t read_data(const struct vpci *pci, uint64_t offset, uint32_t size)
{
	uint32_t address = __atomic_load_n(&pci->address, __ATOMIC_RELAXED);
	uint64_t first = (address & ADDRESS_REGISTER) + offset;
	uint64_t value = 0;

	if ((address & ADDRESS_ENABLE) == 0 || (address & ADDRESS_FUNCTION) != 0) {
		return MASK(8 * size - 1, 0); /* nobody answers */
	}
	for (uint32_t i = 0; i < size && first + i < sizeof(host_bridge); i++) {
		value |= (uint64_t)host_bridge[first + i] << 8 * i;
	}
	return value;
}

static void write_port(struct vpci *pci, uint64_t offset, uint32_t size, uint64_t value)
{
	if (offset == CONFIG_ADDRESS && size == 4) {
		__atomic_store_n(&pci->address, (uint32_t)(value & ADDRESS_BITS), __ATOMIC_RELAXED);
	} else if (offset == PORT_RESET - PORT_PCI_CONFIG && size == 1 &&
		   (value & RESET_CPU) != 0) {
		vm_end(pci->vm, VM_END_RESET, "reset register");
	}
}

static void vpci_access(void *device, struct vcpu *vcpu, struct io_access *access)
{
	struct vpci *pci = device;

	(void)vcpu;
	if (access->write) {
		write_port(pci, access->offset, access->size, access->value);
	} else if (access->offset >= CONFIG_DATA) {
		access->value = read_data(pci, access->offset - CONFIG_DATA, access->size);
	} else if (access->offset == CONFIG_ADDRESS && access->size == 4) {
		access->value = __atomic_load_n(&pci->address, __ATOMIC_RELAXED);
	} else {
		access->value = MASK(8 * access->size - 1, 0);
	}
}

static const struct io_ops vpci_ops = { .name = "PCI configuration", .access = vpci_access };

int vpci_init(struct vpci *pci, struct vm *vm)
{
	*pci = (struct vpci){ .vm = vm };
	return iobus_add(&vm->iobus, IO_SPACE_PORT, PORT_PCI_CONFIG, PORT_PCI_CONFIG_COUNT,
			 &vpci_ops, pci);
}

static int init(struct platform *platform)
{
	return vpci_init(&platform->pci, platform->vm);
}

const struct vdev_ops vpci_device = { .name = "PCI bus", .init = init };
