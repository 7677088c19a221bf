/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/common/virtio.h"

/* PCI configuration space (PCI 3.0, 6.1), by mechanism #1. */
#define PCI_ID		      0x00
#define PCI_COMMAND	      0x04
#define PCI_COMMAND_ENABLE    7 /* I/O, memory, bus master */
#define PCI_BAR0	      0x10
#define PCI_BAR4	      0x20
#define PCI_CAPABILITIES      0x34
#define PCI_CAPABILITY_MSIX   0x11
#define PCI_MSIX_ENABLE	      0x80000000u
#define VIRTIO_VENDOR	      0x1af4u
#define VIRTIO_FIRST_DEVICE   0x1040u
#define NOTIFY_OFF_MULTIPLIER 4u

/* Registers in BAR 0 (virtio 1.2, 4.1.4.3), and where Umbra has the other structures. */
#define FEATURE_SELECT 0x08
#define FEATURES       0x0c
#define STATUS	       0x14
#define QUEUE_SELECT   0x16
#define QUEUE_SLOTS    0x18
#define QUEUE_MESSAGE  0x1a
#define QUEUE_ENABLE   0x1c
#define QUEUE_DESC     0x20
#define QUEUE_DRIVER   0x28
#define QUEUE_DEVICE   0x30
#define DEVICE_CONFIG  0x2000
#define MSIX_TABLE     0x3000

#define STATUS_DRIVER	   0x03 /* ACKNOWLEDGE, DRIVER */
#define STATUS_FEATURES_OK 0x0b
#define STATUS_DRIVER_OK   0x0f
#define VERSION_1_WORD	   1 /* the feature's word, and its bit in there */
#define VERSION_1	   1

static uint32_t pci_read(const struct virtio_device *device, uint32_t at)
{
	out32(PORT_PCI_CONFIG, 0x80000000u | device->number << 11 | at);
	return in32(PORT_PCI_CONFIG + 4);
}

static void pci_write(const struct virtio_device *device, uint32_t at, uint32_t value)
{
	out32(PORT_PCI_CONFIG, 0x80000000u | device->number << 11 | at);
	out32(PORT_PCI_CONFIG + 4, value);
}

static volatile uint8_t *reg8(const struct virtio_device *device, uint32_t at)
{
	return device->bar + at;
}

static volatile uint16_t *reg16(const struct virtio_device *device, uint32_t at)
{
	return (volatile uint16_t *)(device->bar + at);
}

static volatile uint32_t *reg32(const struct virtio_device *device, uint32_t at)
{
	return (volatile uint32_t *)(device->bar + at);
}

void virtio_find(struct virtio_device *device, uint32_t number, uint32_t type)
{
	device->number = number;
	check_equal(pci_read(device, PCI_ID), (VIRTIO_FIRST_DEVICE + type) << 16 | VIRTIO_VENDOR);
	device->bar = (volatile uint8_t *)(uintptr_t)(pci_read(device, PCI_BAR0) & ~0xfu);
	device->port = (uint16_t)(pci_read(device, PCI_BAR4) & ~3u);
	pci_write(device, PCI_COMMAND, PCI_COMMAND_ENABLE);
}

void virtio_reset(const struct virtio_device *device)
{
	*reg8(device, STATUS) = 0;
	while (*reg8(device, STATUS) != 0) {
	}
}

void virtio_begin(const struct virtio_device *device)
{
	virtio_reset(device);
	*reg8(device, STATUS) = STATUS_DRIVER;
	*reg32(device, FEATURE_SELECT) = VERSION_1_WORD;
	*reg32(device, FEATURES) = VERSION_1;
	*reg8(device, STATUS) = STATUS_FEATURES_OK;
	check_equal(*reg8(device, STATUS), STATUS_FEATURES_OK);
}

void virtio_set_queue(const struct virtio_device *device, uint16_t queue, struct ring *ring,
		      uint16_t message)
{
	*reg16(device, QUEUE_SELECT) = queue;
	*reg16(device, QUEUE_SLOTS) = RING_SLOTS;
	*reg16(device, QUEUE_MESSAGE) = message;
	*reg32(device, QUEUE_DESC) = (uint32_t)(uintptr_t)ring->desc;
	*reg32(device, QUEUE_DRIVER) = (uint32_t)(uintptr_t)&ring->available;
	*reg32(device, QUEUE_DEVICE) = (uint32_t)(uintptr_t)&ring->used;
	*reg16(device, QUEUE_ENABLE) = 1;
}

void virtio_set_message(const struct virtio_device *device, uint16_t message, uint8_t vector)
{
	volatile uint64_t *entry = (uint64_t *)(device->bar + MSIX_TABLE + message * 16u);
	uint32_t at = pci_read(device, PCI_CAPABILITIES) & 0xff;

	while (at != 0 && (pci_read(device, at) & 0xff) != PCI_CAPABILITY_MSIX) {
		at = pci_read(device, at) >> 8 & 0xff;
	}
	check(at != 0);
	entry[0] = MEMMAP_LAPIC;
	entry[1] = vector;
	pci_write(device, at, PCI_MSIX_ENABLE);
}

void virtio_run(const struct virtio_device *device)
{
	*reg8(device, STATUS) = STATUS_DRIVER_OK;
}

uint8_t virtio_config(const struct virtio_device *device, uint32_t at)
{
	return *reg8(device, DEVICE_CONFIG + at);
}

void virtio_notify(const struct virtio_device *device, uint16_t queue)
{
	out16((uint16_t)(device->port + NOTIFY_OFF_MULTIPLIER * queue), queue);
}

void ring_offer(struct ring *ring, uint16_t head)
{
	ring->available.entry[ring->available.index % RING_SLOTS] = head;
	__asm__ volatile("" : : : "memory");
	ring->available.index++;
}

void ring_offer_buffer(struct ring *ring, uint16_t slot, const void *buffer, uint32_t bytes,
		       uint16_t flags)
{
	ring->desc[slot].address = (uintptr_t)buffer;
	ring->desc[slot].bytes = bytes;
	ring->desc[slot].flags = flags;
	ring_offer(ring, slot);
}
