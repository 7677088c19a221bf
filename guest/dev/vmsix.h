/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of a PCI function (PCI Local Bus Specification 3.0, 6.8.2): a table of messages, each with
 * a mask, and an array of pending bits. A message must be an interrupt for a local APIC (SDM vol.
 * 3, "Message Signalled Interrupts"); a message with another address is not sent.
 */
#ifndef UMBRA_GUEST_DEV_VMSIX_H
#define UMBRA_GUEST_DEV_VMSIX_H

#include "guest/dev/vpci.h"
#include "vmm/base/atomic.h"
#include "vmm/base/lock.h"

#define VMSIX_VECTORS_MAX 8
#define VMSIX_ENTRY_BYTES 16

struct vmsix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

struct vmsix {
	struct lock lock; /* guards the following; vlapic_deliver is called under it */
	struct vpci_function *function;
	uint32_t count;
	uint8_t capability; /* its offset in configuration space */
	ATOMIC(bool) on;
	bool masked;	  /* all vectors are masked */
	bool refused;	  /* a message was refused, which was logged */
	uint32_t pending; /* one bit for each vector */
	struct vmsix_entry entries[VMSIX_VECTORS_MAX];
};

/*
 * Adds the capability to a function. count is 1 to VMSIX_VECTORS_MAX. The table and the pending
 * bits lie at these offsets of BAR number bar; the caller passes accesses there to vmsix_table and
 * vmsix_pending. While the VM is built.
 */
void vmsix_init(struct vmsix *msix, struct vpci_function *function, uint32_t count, uint32_t bar,
		uint32_t table, uint32_t pending);

/*
 * To be called from vpci_function_ops.written, with its arguments, under the lock of struct vpci.
 */
void vmsix_written(struct vmsix *msix, uint32_t offset, uint32_t size);

/*
 * Access the table or the pending bits at an offset. An access must have 4 or 8 bytes and be
 * aligned. Others, and those beyond the last entry, read all ones and write nothing. Any CPU; take
 * the lock.
 */
void vmsix_table(struct vmsix *msix, uint32_t offset, struct io_access *access);
void vmsix_pending(struct vmsix *msix, uint32_t offset, struct io_access *access);

/*
 * Sends the vector's message, or keeps it pending while it is masked or the function is not a bus
 * master. Any CPU; the lock of struct vpci must not be held.
 */
void vmsix_send(struct vmsix *msix, uint32_t vector);

/* Whether messages are used instead of the pin. Any CPU. */
static inline bool vmsix_is_on(const struct vmsix *msix)
{
	return atomic_load_acquire(&msix->on);
}

#endif
