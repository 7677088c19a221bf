/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of struct vmsix is taken after that of struct vpci and a device's own lock. Messages are
 * sent under it, so that no message is sent after its vector was masked.
 */
#include "guest/dev/vmsix.h"

#include "guest/dev/vlapic.h"
#include "vmm/base/atomic.h"
#include "vmm/console/log.h"

/* PCI 3.0, 6.8.2: the capability, and its message control word. */
#define CAPABILITY_ID	 0x11
#define CAPABILITY_BODY	 10
#define CONTROL		 2 /* offset in the capability */
#define CONTROL_MASK_ALL BIT(14)
#define CONTROL_ENABLE	 BIT(15)

#define COMMAND 0x04 /* the function's register that makes it a bus master */

#define ENTRY_MASKED BIT(0)

/* SDM vol. 3, "Message Address Register Format" and "Message Data Register Format". */
#define ADDRESS_FIXED	   0xfee00000ul
#define ADDRESS_FIXED_MASK MASK(63, 20)
#define ADDRESS_DEST	   MASK(19, 12)
#define ADDRESS_DEST_SHIFT 12
#define ADDRESS_LOGICAL	   BIT(2)
#define DATA_VECTOR	   MASK(7, 0)
#define DATA_MODE_SHIFT	   8
#define DATA_MODE	   MASK(10, 8)

static void refuse(struct vmsix *msix, uint32_t vector, const struct vmsix_entry *entry)
{
	if (!msix->refused) {
		msix->refused = true;
		log_warn("vm %s: %s: MSI-X vector %u goes to %#lx, which is not a local APIC: it "
			 "is not sent, and further ones are not logged",
			 msix->function->pci->vm->name, msix->function->ops->name, vector,
			 entry->address);
	}
}

/* Sends a message. Under the lock. ExtINT is not sent, because there is no 8259 with a vector. */
static void deliver(struct vmsix *msix, uint32_t vector)
{
	const struct vmsix_entry *entry = &msix->entries[vector];
	const struct vlapic_msg msg = {
		.dest = (uint32_t)((entry->address & ADDRESS_DEST) >> ADDRESS_DEST_SHIFT),
		.logical = (entry->address & ADDRESS_LOGICAL) != 0,
		.mode = (uint8_t)((entry->data & DATA_MODE) >> DATA_MODE_SHIFT),
		.vector = (uint8_t)(entry->data & DATA_VECTOR),
	};

	if ((entry->address & ADDRESS_FIXED_MASK) != ADDRESS_FIXED) {
		refuse(msix, vector, entry);
	} else if (msg.mode != VLAPIC_EXTINT) {
		(void)vlapic_deliver(msix->function->pci->vm, &msg);
	}
}

/*
 * Sends the pending messages that are not masked. A message is a write to memory, so it waits until
 * the function is a bus master. Under the lock.
 */
static void deliver_pending(struct vmsix *msix)
{
	if (!atomic_load_relaxed(&msix->on) || msix->masked || !vpci_is_master(msix->function)) {
		return;
	}
	for (uint32_t vector = 0; vector < msix->count; vector++) {
		if ((msix->pending & BIT(vector)) != 0 &&
		    (msix->entries[vector].control & ENTRY_MASKED) == 0) {
			msix->pending &= (uint32_t)~BIT(vector);
			deliver(msix, vector);
		}
	}
}

void vmsix_send(struct vmsix *msix, uint32_t vector)
{
	if (vector >= msix->count) {
		return;
	}
	lock_take(&msix->lock, LOCK_MSIX);
	if (atomic_load_relaxed(&msix->on)) {
		msix->pending |= (uint32_t)BIT(vector);
		deliver_pending(msix);
	}
	lock_drop(&msix->lock);
}

static bool is_in(uint32_t offset, uint32_t size, uint32_t word)
{
	return offset < word + 2 && offset + size > word;
}

void vmsix_written(struct vmsix *msix, uint32_t offset, uint32_t size)
{
	const uint32_t at = msix->capability + CONTROL;
	uint32_t control;

	if (!is_in(offset, size, at)) {
		if (is_in(offset, size, COMMAND)) {
			lock_take(&msix->lock, LOCK_MSIX);
			deliver_pending(msix);
			lock_drop(&msix->lock);
		}
		return;
	}
	control = msix->function->config[at] | (uint32_t)msix->function->config[at + 1] << 8;
	lock_take(&msix->lock, LOCK_MSIX);
	msix->masked = (control & CONTROL_MASK_ALL) != 0;
	atomic_store_release(&msix->on, (control & CONTROL_ENABLE) != 0);
	if (!atomic_load_relaxed(&msix->on)) {
		msix->pending = 0;
	}
	deliver_pending(msix);
	lock_drop(&msix->lock);
	msix->function->intx_off = (control & CONTROL_ENABLE) != 0;
}

static bool is_access(const struct io_access *access, uint32_t offset, uint32_t end)
{
	return (access->size == 4 || access->size == 8) && (offset & (access->size - 1)) == 0 &&
	       offset + access->size <= end;
}

static uint64_t all_ones(uint32_t size)
{
	return size < 8 ? MASK(8 * size - 1, 0) : UINT64_MAX;
}

/* Reads a half, or all, of two registers of 32 bits. */
static uint64_t read_part(uint64_t pair, uint32_t offset, uint32_t size)
{
	return size == 8 ? pair : (uint32_t)(pair >> 8 * (offset & 4));
}

static uint64_t write_part(uint64_t pair, uint32_t offset, uint32_t size, uint64_t value)
{
	const uint64_t mask = size == 8 ? UINT64_MAX : MASK(31, 0) << 8 * (offset & 4);

	return (pair & ~mask) | (size == 8 ? value : value << 8 * (offset & 4));
}

void vmsix_table(struct vmsix *msix, uint32_t offset, struct io_access *access)
{
	struct vmsix_entry *entry;
	uint64_t pair;

	if (!is_access(access, offset, msix->count * VMSIX_ENTRY_BYTES)) {
		access->value = all_ones(access->size);
		return;
	}
	entry = &msix->entries[offset / VMSIX_ENTRY_BYTES];
	lock_take(&msix->lock, LOCK_MSIX);
	pair = (offset & 8) == 0 ? entry->address : entry->data | (uint64_t)entry->control << 32;
	if (!access->write) {
		access->value = read_part(pair, offset, access->size);
	} else {
		pair = write_part(pair, offset, access->size, access->value);
		if ((offset & 8) == 0) {
			entry->address = pair & ~3ul;
		} else {
			entry->data = (uint32_t)pair;
			entry->control = (uint32_t)(pair >> 32) & ENTRY_MASKED;
		}
		deliver_pending(msix);
	}
	lock_drop(&msix->lock);
}

void vmsix_pending(struct vmsix *msix, uint32_t offset, struct io_access *access)
{
	if (!is_access(access, offset, 8)) {
		access->value = all_ones(access->size);
	} else if (!access->write) {
		lock_take(&msix->lock, LOCK_MSIX);
		access->value = read_part(msix->pending, offset, access->size);
		lock_drop(&msix->lock);
	}
}

void vmsix_init(struct vmsix *msix, struct vpci_function *function, uint32_t count, uint32_t bar,
		uint32_t table, uint32_t pending)
{
	uint8_t body[CAPABILITY_BODY] = { (uint8_t)(count - 1) };

	for (uint32_t i = 0; i < 4; i++) {
		body[2 + i] = (uint8_t)((table | bar) >> 8 * i);
		body[6 + i] = (uint8_t)((pending | bar) >> 8 * i);
	}
	*msix = (struct vmsix){ .function = function, .count = count };
	for (uint32_t i = 0; i < count; i++) {
		msix->entries[i].control = ENTRY_MASKED;
	}
	msix->capability = vpci_add_capability(function, CAPABILITY_ID, body, sizeof(body));
	function->writable[msix->capability + CONTROL + 1] = (uint8_t)((CONTROL_MASK_ALL |
									CONTROL_ENABLE) >>
								       8);
}
