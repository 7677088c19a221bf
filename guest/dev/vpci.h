/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's PCI bus (PCI Local Bus Specification 3.0): bus 0, where each device has one function,
 * number 0. Device 0 is a host bridge; without it Linux reports a fatal error at each boot. A
 * struct vpci_function is part of its device's state and lives as long as the VM. Configuration
 * space is accessed by CF8H and by memory (ECAM, PCI Express 3.0, 7.2.2).
 */
#ifndef UMBRA_GUEST_DEV_VPCI_H
#define UMBRA_GUEST_DEV_VPCI_H

#include "guest/memmap.h"
#include "guest/vdev.h"
#include "vmm/base/atomic.h"
#include "vmm/base/lock.h"
#include "vmm/base/types.h"
#include "vmm/vm.h"

#define VPCI_DEVICES	    32
#define VPCI_BARS	    6
#define VPCI_CONFIG_BYTES   256
#define VPCI_EXTENDED_BYTES 4096 /* size of a function's PCI Express configuration space */

struct vioapic;
struct vpci;
struct vpci_function;

/* PCI 3.0, "Base Addresses". */
enum vpci_bar_kind {
	VPCI_BAR_NONE,
	VPCI_BAR_IO,
	VPCI_BAR_MEMORY32,
	VPCI_BAR_MEMORY64, /* the next BAR register has its upper half */
};

struct vpci_function_ops {
	const char *name;
	/*
	 * The guest has written these bytes; the writable ones have changed. NULL: the device need
	 * not know. Under the lock of struct vpci.
	 */
	void (*written)(struct vpci_function *function, uint32_t offset, uint32_t size);
	/*
	 * Sees each access to the function's 256 bytes first, without the lock. Returns true if it
	 * has handled the access. NULL: all bytes are plain registers.
	 */
	bool (*intercept)(struct vpci_function *function, struct vcpu *vcpu, uint32_t offset,
			  struct io_access *access);
	/*
	 * The guest has placed the memory of vpci_add_memory at base or, if on is false, nowhere.
	 * Also called when nothing has changed. Under the lock of struct vpci.
	 */
	void (*placed)(struct vpci_function *function, uint64_t base, bool on);
	/*
	 * The guest has made the function a bus master, which it was not. NULL: the device did not
	 * wait for that. Without the lock.
	 */
	void (*mastered)(struct vpci_function *function, struct vcpu *vcpu);
};

/* The constant part of the header. */
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
	uint32_t device;	 /* its device number */
	uint8_t capability_end;	 /* offset of the next capability; constant once the VM runs */
	uint8_t capability_link; /* offset of the byte that will point to it */
	ATOMIC(bool) bus_master; /* the function may access memory and send messages */
	ATOMIC(bool) intx;	 /* the device asserts the pin; changes under line_lock */
	bool intx_off; /* the function uses messages, so the pin stays low; under the lock */
	bool quiet;    /* intx_off, or the guest has disabled the pin; under line_lock */
	/*
	 * The registers, little-endian, as the guest reads them; and the bits that the guest may
	 * write. Both under the lock of struct vpci.
	 */
	uint8_t config[VPCI_CONFIG_BYTES];
	uint8_t writable[VPCI_CONFIG_BYTES];
	struct vpci_bar bars[VPCI_BARS];
};

struct vpci {
	/*
	 * `lock` guards the functions, `line_lock` the interrupt lines. BARs move under `lock`,
	 * which may take long, because a share moves with its BAR. So code that asserts a pin
	 * on behalf of another VM takes `line_lock` alone.
	 */
	struct lock lock, line_lock;
	struct vm *vm;
	struct vioapic *ioapic;
	ATOMIC(uint32_t) address; /* CONFIG_ADDRESS. A guest serialises its CPUs by its own lock */
	uint64_t next_port, next_memory; /* where the next BARs are placed while the VM is built */
	uint64_t window, window_bytes;	 /* for vpci_add_memory; constant once the VM runs */
	/* For each line, one bit for each device that asserts it. Under line_lock. */
	uint32_t asserted[GSI_PCI_COUNT];
	struct vpci_function bridge;
	struct vpci_function *functions[VPCI_DEVICES]; /* constant once the VM runs */
};

/*
 * Sets up a bus with only a host bridge. The functions interrupt through the I/O APIC. Registers
 * PORT_PCI_CONFIG and MEMMAP_ECAM on the VM's bus; returns an error of iobus_add.
 */
int vpci_init(struct vpci *pci, struct vm *vm, struct vioapic *ioapic);

/*
 * Puts a function at a device number. The guest can write its command register once it has a BAR
 * (vpci_add_bar). While the VM is built. Returns ERR_EXISTS if the number is taken, ERR_INVAL if
 * there is no such number.
 */
int vpci_add(struct vpci *pci, uint32_t device, struct vpci_function *function,
	     const struct vpci_function_ops *ops, const struct vpci_identity *identity);

/*
 * Gives a function, which was added, a base address register. bytes is a power of two: 4 to 256 for
 * I/O, at least 16 for memory. The ops get accesses with device and an offset into the range,
 * wherever the guest places it. The BAR is disabled at first; its address is in the windows of
 * memmap.h, or 0 if there is no room. While the VM is built. Returns ERR_INVAL if this number (or
 * for 64 bits the next) is used or does not exist, or if the size is not allowed; ERR_NOMEM if the
 * VM's bus is full.
 */
int vpci_add_bar(struct vpci_function *function, uint32_t number, enum vpci_bar_kind kind,
		 uint64_t bytes, const struct io_ops *ops, void *device);

/*
 * Gives a function a 64-bit prefetchable base address register, and the next one its upper half,
 * with memory of the VM behind it: bytes (a power of two, at least 4096), which ops->placed moves.
 * address, where it is at first, is a multiple of bytes. The host bridge passes on only what lies
 * in pci->window, so elsewhere the guest does not see the memory. While the VM is built. ERR_INVAL
 * as vpci_add_bar.
 */
int vpci_add_memory(struct vpci_function *function, uint32_t number, uint64_t bytes,
		    uint64_t address);

/*
 * Adds a capability (PCI 3.0, "Capabilities List") to a function that was added: its id, the link,
 * then body. Returns its offset, a multiple of 4. The caller makes bits of it writable. While the
 * VM is built. A CHECK fails if the 192 bytes for capabilities are too few.
 */
uint8_t vpci_add_capability(struct vpci_function *function, uint8_t id, const void *body,
			    size_t bytes);

/*
 * Sets the level of the function's interrupt pin. The guest may disable the pin (Interrupt
 * Disable), and still sees the level in the status register. If several functions share a line, its
 * level is the OR of theirs. Any CPU; the device's lock may be held. Takes line_lock alone.
 */
void vpci_set_intx(struct vpci_function *function, bool level);

/* Whether the function may access memory and send messages (Bus Master Enable). Any CPU. */
static inline bool vpci_is_master(const struct vpci_function *function)
{
	return atomic_load_acquire(&function->bus_master);
}

/*
 * All accesses to configuration space come here: access->size bytes (1, 2 or 4) at an offset below
 * VPCI_EXTENDED_BYTES of a function, which is bus << 8 | device << 3 | function. A function that
 * does not exist reads all ones. vcpu makes the access. Any CPU; takes the lock.
 */
void vpci_config_access(struct vpci *pci, struct vcpu *vcpu, uint32_t function, uint32_t offset,
			struct io_access *access);

extern const struct vdev_ops vpci_device;

#endif
