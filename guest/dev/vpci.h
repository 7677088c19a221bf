/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's PCI bus: configuration mechanism #1 and a host bridge, nothing behind it yet. A PC
 * without it makes Linux report a fatal error at each boot.
 */
#ifndef UMBRA_GUEST_DEV_VPCI_H
#define UMBRA_GUEST_DEV_VPCI_H

#include "guest/vdev.h"
#include "vmm/base/types.h"
#include "vmm/vm.h"

struct vpci {
	struct vm *vm;
	uint32_t address; /* CONFIG_ADDRESS; atomic, a guest's own lock keeps its CPUs apart */
};

/* Registers PORT_PCI_CONFIG on the VM's bus (its errors). */
int vpci_init(struct vpci *pci, struct vm *vm);

extern const struct vdev_ops vpci_device;

#endif
