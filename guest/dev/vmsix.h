/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of a PCI function (PCI Local Bus Specification 3.0, 6.8.2): a table of messages, each with
 * a mask, and an array of pending bits. A message is an interrupt for a local APIC (SDM vol. 3,
 * "Message Signalled Interrupts"); one with another address is refused.
 */
#ifndef UMBRA_GUEST_DEV_VMSIX_H
#define UMBRA_GUEST_DEV_VMSIX_H

#include "guest/dev/vpci.h"
#include "vmm/base/lock.h"

#define VMSIX_VECTORS_MAX 8
#define VMSIX_ENTRY_BYTES 16

struct vmsix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

struct vmsix {
	struct lock lock; /* over what follows; vlapic_deliver is called under it */
	struct vpci_function *function;
	uint32_t count;
	uint8_t capability; /* its offset in configuration space */
	bool on;	    /* atomic */
	bool masked;	    /* all of them */
	bool refused;	    /* one was, and that was logged */
	uint32_t pending;   /* a bit for each vector */
	struct vmsix_entry entries[VMSIX_VECTORS_MAX];
};

/*
 * Adds the capability to a function. count is 1 to VMSIX_VECTORS_MAX; the table and the pending
 * bits lie at these offsets of its BAR, whose accesses come to vmsix_table and vmsix_pending.
 * While the VM is built.
 */
void vmsix_init(struct vmsix *msix, struct vpci_function *function, uint32_t count, uint32_t bar,
		uint32_t table, uint32_t pending);

/* For vpci_function_ops.written, with its arguments, under the lock of struct vpci. */
void vmsix_written(struct vmsix *msix, uint32_t offset, uint32_t size);

/*
 * One access at an offset into the table or the pending bits: of 4 or 8 bytes, aligned. Any other,
 * and what lies behind the last entry, reads all ones and writes nothing. Any CPU; takes the lock.
 */
void vmsix_table(struct vmsix *msix, uint32_t offset, struct io_access *access);
void vmsix_pending(struct vmsix *msix, uint32_t offset, struct io_access *access);

/* Sends the vector's message, or keeps it pending while that is masked. Any CPU, no pci lock. */
void vmsix_send(struct vmsix *msix, uint32_t vector);

/* Are messages used in place of the pin? Any CPU. */
static inline bool vmsix_is_on(const struct vmsix *msix)
{
	return __atomic_load_n(&msix->on, __ATOMIC_ACQUIRE);
}

#endif
