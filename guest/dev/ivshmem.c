/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A doorbell reaches into another VM. So the devices of all members of a share have one lock. A
 * device is added, removed and rung under it, so it cannot be freed while it is rung. A VM that
 * rings without pause pays for it itself: each ring is one of its exits. An interrupt that the
 * other VM has not taken yet is not sent a second time (vlapic_irq.c; the pin is up already). So
 * the other VM exits at most once for each interrupt that it takes, and it can mask what it does
 * not want. There is no limit as for frames to groups (virtio_net.c): a frame may be lost, a ring
 * may not.
 */
#include "guest/dev/ivshmem.h"

#include "ept/share.h"
#include "guest/dev/vmsix.h"
#include "guest/platform_state.h"
#include "guest/shares.h"
#include "vmm/base/err.h"
#include "vmm/console/log.h"
#include "vmm/host/page_alloc.h"

#define VENDOR	  0x1af4
#define DEVICE	  0x1110
#define REVISION  1
#define CLASS_RAM 0x050000
#define LAST_SLOT (VPCI_DEVICES - 1) /* slots from 1 upwards are for virtio devices */

#define REGISTERS_BAR	0
#define REGISTERS_BYTES 256
#define MSIX_BAR	1
#define MSIX_BYTES	4096
#define MSIX_TABLE	0
#define MSIX_PENDING	2048
#define MEMORY_BAR	2

enum {
	INTR_MASK = 0x00,
	INTR_STATUS = 0x04,
	IV_POSITION = 0x08,
	DOORBELL = 0x0c, /* 31:16 the peer, 15:0 the vector */
};

struct ivshmem {
	struct vpci_function function; /* first: see device_of */
	struct vmsix msix;
	struct shares_pci share;
	uint32_t mask, status; /* under the doorbells' lock */
};
_Static_assert(sizeof(struct ivshmem) <= PAGE_SIZE, "one page");

/* For each share: the devices of its members, by the number of the member. */
static struct doorbells {
	struct lock lock;
	struct ivshmem *devices[SHARE_MEMBERS_MAX]; /* NULL: this member does not run */
} doorbells[SHARE_MAX];

static struct ivshmem *device_of(struct vpci_function *function)
{
	return (struct ivshmem *)function;
}

/* --- Registers: under the doorbells' lock --- */

static void update_pin(struct ivshmem *device)
{
	vpci_set_intx(&device->function, (device->status & device->mask) != 0);
}

static void take_doorbell(struct ivshmem *device, uint32_t vector)
{
	if (vmsix_is_on(&device->msix)) {
		vmsix_send(&device->msix, vector);
	} else if (vector < device->msix.count) {
		device->status |= 1;
		update_pin(device);
	}
}

/* Rings a member that runs. A member whose share was revoked neither rings nor is rung. */
static void ring(const struct ivshmem *from, uint32_t peer, uint32_t vector)
{
	const size_t index = from->share.index;
	struct ivshmem *device = peer < SHARE_MEMBERS_MAX ? doorbells[index].devices[peer] : NULL;

	if (device != NULL && shares_is_joined(index, from->share.member) &&
	    shares_is_joined(index, peer)) {
		take_doorbell(device, vector);
	}
}

static uint32_t read_register(struct ivshmem *device, uint64_t offset)
{
	uint32_t value = 0;

	switch (offset) {
	case INTR_MASK: return device->mask;
	case INTR_STATUS:
		value = device->status;
		device->status = 0;
		update_pin(device);
		return value;
	case IV_POSITION: return device->share.member;
	default: return 0;
	}
}

static void write_register(struct ivshmem *device, uint64_t offset, uint32_t value)
{
	if (offset == INTR_MASK) {
		device->mask = value;
		update_pin(device);
	} else if (offset == DOORBELL) {
		ring(device, value >> 16, value & 0xffff);
	}
}

/* Registers are dwords; accesses of other widths read all ones and write nothing. */
static void access_registers(void *opaque, struct vcpu *vcpu, struct io_access *access)
{
	struct ivshmem *device = opaque;
	struct lock *lock = &doorbells[device->share.index].lock;

	if (access->size != 4 || access->offset % 4 != 0) {
		access->value = access->size < 8 ? MASK(8 * access->size - 1, 0) : UINT64_MAX;
		return;
	}
	lock_take(lock, LOCK_DOORBELL);
	if (access->write) {
		write_register(device, access->offset, (uint32_t)access->value);
	} else {
		access->value = read_register(device, access->offset);
	}
	lock_drop(lock);
}

static void access_msix(void *opaque, struct vcpu *vcpu, struct io_access *access)
{
	struct ivshmem *device = opaque;
	const uint32_t offset = (uint32_t)access->offset;

	if (offset < MSIX_PENDING) {
		vmsix_table(&device->msix, offset, access);
	} else {
		vmsix_pending(&device->msix, offset - MSIX_PENDING, access);
	}
}

static const struct io_ops register_ops = { .name = "ivshmem", .access = access_registers };
static const struct io_ops msix_ops = { .name = "ivshmem MSI-X", .access = access_msix };

/* --- Configuration space --- */

static void written(struct vpci_function *function, uint32_t offset, uint32_t size)
{
	vmsix_written(&device_of(function)->msix, offset, size);
}

static void placed(struct vpci_function *function, uint64_t base, bool on)
{
	share_move(&function->pci->vm->gmem, device_of(function)->share.first, gpa(base), on);
}

static const struct vpci_function_ops function_ops = {
	.name = "ivshmem",
	.written = written,
	.placed = placed,
};

/* --- Life --- */

static int add_function(struct ivshmem *device, struct vpci *pci, uint32_t slot)
{
	static const struct vpci_identity identity = {
		.vendor = VENDOR,
		.device = DEVICE,
		.subsystem_vendor = VENDOR,
		.subsystem = DEVICE,
		.class_code = CLASS_RAM,
		.revision = REVISION,
		.interrupt_pin = 1,
	};
	int err = vpci_add(pci, slot, &device->function, &function_ops, &identity);

	if (err == 0) {
		err = vpci_add_bar(&device->function, REGISTERS_BAR, VPCI_BAR_MEMORY32,
				   REGISTERS_BYTES, &register_ops, device);
	}
	if (err == 0) {
		err = vpci_add_bar(&device->function, MSIX_BAR, VPCI_BAR_MEMORY32, MSIX_BYTES,
				   &msix_ops, device);
	}
	if (err == 0) {
		err = vpci_add_memory(&device->function, MEMORY_BAR, device->share.bytes,
				      device->share.first.v);
	}
	if (err == 0) {
		vmsix_init(&device->msix, &device->function, VMSIX_VECTORS_MAX, MSIX_BAR,
			   MSIX_TABLE, MSIX_PENDING);
		/* The memory is nowhere until the guest enables the BAR. */
		share_move(&pci->vm->gmem, device->share.first, device->share.first, false);
	}
	return err;
}

static void connect(const struct shares_pci *share, struct ivshmem *device)
{
	struct doorbells *bells = &doorbells[share->index];

	lock_take(&bells->lock, LOCK_DOORBELL);
	bells->devices[share->member] = device;
	lock_drop(&bells->lock);
}

static void destroy(struct platform *platform)
{
	while (platform->ivshmem_count > 0) {
		struct ivshmem *device = platform->ivshmem[--platform->ivshmem_count];

		connect(&device->share, NULL);
		page_free(device, 1);
	}
}

static int init_one(struct platform *platform, const struct shares_pci *share)
{
	struct ivshmem *device = page_alloc(1);
	const uint32_t slot = LAST_SLOT - platform->ivshmem_count;
	int err;

	if (device == NULL) {
		return ERR_NOMEM;
	}
	device->share = *share;
	platform->ivshmem[platform->ivshmem_count++] = device;
	err = add_function(device, &platform->pci, slot);
	if (err == 0) {
		connect(share, device);
		log_info("vm %s: share %s is PCI device 00:%02x.0, member %u", platform->vm->name,
			 share->name, slot, share->member);
	}
	return err;
}

static int init(struct platform *platform)
{
	struct shares_pci shares[SHARE_MAX];
	const size_t count = shares_pci(platform->vm, shares, &platform->pci.window,
					&platform->pci.window_bytes);
	int err = count != 0 ? ept_reserve(&platform->vm->gmem.root, gpa(platform->pci.window),
					   platform->pci.window_bytes, PAGE_SIZE)
			     : 0;

	for (size_t i = 0; i < count && err == 0; i++) {
		err = init_one(platform, &shares[i]);
	}
	if (err != 0) {
		destroy(platform);
	}
	return err;
}

const struct vdev_ops ivshmem_device = {
	.name = "shared memory on PCI",
	.init = init,
	.destroy = destroy,
};
