/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's PCI bus (PCI Local Bus Specification 3.0): bus 0 with one function in each device,
 * number 0. A host bridge is device 0; without it Linux reports a fatal error at each boot.
 * A function lies in the device that it is part of, and lives as long as the VM. Configuration
 * space is reached by CF8H and by memory (ECAM, PCI Express 3.0, 7.2.2).
 */
#ifndef UMBRA_GUEST_DEV_VPCI_H
#define UMBRA_GUEST_DEV_VPCI_H

#include "guest/memmap.h"
#include "guest/vdev.h"
#include "vmm/base/lock.h"
#include "vmm/base/types.h"
#include "vmm/vm.h"

#define VPCI_DEVICES	    32
#define VPCI_BARS	    6
#define VPCI_CONFIG_BYTES   256
#define VPCI_EXTENDED_BYTES 4096 /* what a function has in PCI Express' configuration space */

struct vioapic;
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
	/*
	 * The first to see an access to the function's 256 bytes, without the lock. True: it has
	 * done it. NULL: all of them are plain registers.
	 */
	bool (*intercept)(struct vpci_function *function, struct vcpu *vcpu, uint32_t offset,
			  struct io_access *access);
	/*
	 * The guest has placed the register of vpci_add_memory at base, or, without on, nowhere.
	 * Also called when nothing has changed. Under the lock of struct vpci.
	 */
	void (*placed)(struct vpci_function *function, uint64_t base, bool on);
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
	struct iobus_movable *range; /* NULL: no device answers there */
	uint64_t memory;	     /* bytes of memory that lie there; 0: none */
};

struct vpci_function {
	const struct vpci_function_ops *ops;
	struct vpci *pci;
	uint32_t device;	 /* its number */
	uint8_t capability_end;	 /* where the next capability goes; constant once the VM runs */
	uint8_t capability_link; /* the byte that will point to it */
	bool bus_master;	 /* it may access memory and send messages; atomic */
	bool intx; /* its device asks for an interrupt by its pin; under the lock, as the
			    next one: it uses messages instead, and the pin is quiet */
	bool intx_off;
	/* Little-endian, as the guest reads it; and which of its bits the guest may write. Both
	 * under the lock of struct vpci. */
	uint8_t config[VPCI_CONFIG_BYTES];
	uint8_t writable[VPCI_CONFIG_BYTES];
	struct vpci_bar bars[VPCI_BARS];
};

struct vpci {
	struct lock lock; /* over the functions; iobus_move is called under it */
	struct vm *vm;
	struct vioapic *ioapic;
	uint32_t address; /* CONFIG_ADDRESS; atomic, a guest's own lock keeps its CPUs apart */
	uint64_t next_port, next_memory;  /* where BARs are placed while the VM is built */
	uint64_t window, window_bytes;	  /* for vpci_add_memory; constant once the VM runs */
	uint32_t asserted[GSI_PCI_COUNT]; /* for each line, a bit for each device that pulls it */
	struct vpci_function bridge;
	struct vpci_function *functions[VPCI_DEVICES]; /* constant once the VM runs */
};

/*
 * An empty bus with a host bridge, whose functions interrupt by the I/O APIC; registers
 * PORT_PCI_CONFIG and MEMMAP_ECAM on the VM's bus (its errors).
 */
int vpci_init(struct vpci *pci, struct vm *vm, struct vioapic *ioapic);

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
 * into the range, wherever the guest places it. It is off at first, and has an address of its own
 * in the windows of memmap.h, or 0 where there is no room. While the VM is built. ERR_INVAL when
 * the number, or for 64 bits the next one, is used or not there, or the size is none of these;
 * ERR_NOMEM when the VM's bus is full.
 */
int vpci_add_bar(struct vpci_function *function, uint32_t number, enum vpci_bar_kind kind,
		 uint64_t bytes, const struct io_ops *ops, void *device);

/*
 * Gives a function a 64-bit prefetchable base address register, and the next one its upper half,
 * with memory behind it: bytes (a power of two, at least 4096) of the VM's own, which ops->placed
 * moves. Its first address is a multiple of bytes. The host bridge passes on only what lies in
 * pci->window, so elsewhere there is nothing. While the VM is built. ERR_INVAL as vpci_add_bar.
 */
int vpci_add_memory(struct vpci_function *function, uint32_t number, uint64_t bytes,
		    uint64_t address);

/*
 * Adds a capability (PCI 3.0, "Capabilities List") to a function that was added: its id, the link,
 * then body. Returns its offset, which is a multiple of 4. The caller makes bits of it writable.
 * While the VM is built; the room of 192 bytes is never too small for what we have (CHECKed).
 */
uint8_t vpci_add_capability(struct vpci_function *function, uint8_t id, const void *body,
			    size_t bytes);

/*
 * The level of the function's interrupt pin, as its device wants it. The guest may switch the pin
 * off (Interrupt Disable), and sees the level in its status register all the same. Functions whose
 * pins are one line: it is the OR of them. Any CPU, the device's lock may be held; takes the lock.
 */
void vpci_set_intx(struct vpci_function *function, bool level);

/* May it access memory, and send messages (Bus Master Enable)? Any CPU. */
static inline bool vpci_is_master(const struct vpci_function *function)
{
	return __atomic_load_n(&function->bus_master, __ATOMIC_ACQUIRE);
}

/*
 * The one way to configuration space: access->size bytes, 1, 2 or 4, at an offset below
 * VPCI_EXTENDED_BYTES of a function, which is bus << 8 | device << 3 | function. One that is not
 * there reads all ones. vcpu makes the access. Any CPU; takes the lock.
 */
void vpci_config_access(struct vpci *pci, struct vcpu *vcpu, uint32_t function, uint32_t offset,
			struct io_access *access);

extern const struct vdev_ops vpci_device;

#endif
