/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's PCI bus (PCI Local Bus Specification 3.0): bus 0 with one function in each device,
 * number 0. A host bridge is device 0; without it Linux reports a fatal error at each boot.
 * A function lies in the device that it is part of, and lives as long as the VM.
 */
#ifndef UMBRA_GUEST_DEV_VPCI_H
#define UMBRA_GUEST_DEV_VPCI_H

#include "guest/vdev.h"
#include "vmm/base/lock.h"
#include "vmm/base/types.h"
#include "vmm/vm.h"

#define VPCI_DEVICES	    32
#define VPCI_BARS	    6
#define VPCI_CONFIG_BYTES   256
#define VPCI_EXTENDED_BYTES 4096 /* what a function has in PCI Express' configuration space */

struct vpci;
struct vpci_function;

/* PCI 3.0, "Base Addresses". */
enum vpci_bar_kind {
	VPCI_BAR_NONE,
	VPCI_BAR_IO,
	VPCI_BAR_MEMORY32,
	VPCI_BAR_MEMORY64, /* and the next one has its upper half */
};

struct vpci_function_ops {
	const char *name;
	/*
	 * The guest wrote to these bytes; those that it may write have changed. NULL: does not
	 * matter. Under the lock of struct vpci.
	 */
	void (*written)(struct vpci_function *function, uint32_t offset, uint32_t size);
};

/* What is constant in the header. */
struct vpci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* class, subclass and programming interface, 24 bits */
	uint8_t revision;
	uint8_t interrupt_pin; /* 1 to 4: INTA# to INTD#; 0: none */
};

struct vpci_bar {
	enum vpci_bar_kind kind;
	struct iobus_movable *range;
};

struct vpci_function {
	const struct vpci_function_ops *ops;
	struct vpci *pci;
	/* Little-endian, as the guest reads it; and which of its bits the guest may write. Both
	 * under the lock of struct vpci. */
	uint8_t config[VPCI_CONFIG_BYTES];
	uint8_t writable[VPCI_CONFIG_BYTES];
	struct vpci_bar bars[VPCI_BARS];
};

struct vpci {
	struct lock lock; /* over the functions; iobus_move is called under it */
	struct vm *vm;
	uint32_t address; /* CONFIG_ADDRESS; atomic, a guest's own lock keeps its CPUs apart */
	struct vpci_function bridge;
	struct vpci_function *functions[VPCI_DEVICES]; /* constant once the VM runs */
};

/* An empty bus with a host bridge; registers PORT_PCI_CONFIG on the VM's bus (its errors). */
int vpci_init(struct vpci *pci, struct vm *vm);

/*
 * Puts a function at a device number. Its BARs and command register can be written once it has a
 * BAR (vpci_add_bar). While the VM is built. ERR_EXISTS when the number is taken, ERR_INVAL when
 * there is no such number.
 */
int vpci_add(struct vpci *pci, uint32_t device, struct vpci_function *function,
	     const struct vpci_function_ops *ops, const struct vpci_identity *identity);

/*
 * Gives a function, which was added, a base address register. bytes is a power of two: at least 4
 * and at most 256 for I/O, at least 16 for memory. The ops get accesses with device and an offset
 * into the range, wherever the guest places it. While the VM is built. ERR_INVAL when the number,
 * or for 64 bits the next one, is used or not there, or the size is none of these; ERR_NOMEM when
 * the VM's bus is full.
 */
int vpci_add_bar(struct vpci_function *function, uint32_t number, enum vpci_bar_kind kind,
		 uint64_t bytes, const struct io_ops *ops, void *device);

/*
 * The one way to configuration space: access->size bytes, 1, 2 or 4, at an offset below
 * VPCI_EXTENDED_BYTES of a function, which is bus << 8 | device << 3 | function. One that is not
 * there reads all ones. Any CPU; takes the lock.
 */
void vpci_config_access(struct vpci *pci, uint32_t function, uint32_t offset,
			struct io_access *access);

extern const struct vdev_ops vpci_device;

#endif
