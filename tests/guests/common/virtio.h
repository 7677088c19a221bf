/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small driver of virtio devices over PCI: split rings, no feature but VERSION_1 (virtio 1.2, 2.7
 * and 4.1). Guests that break the rules on purpose have a driver of their own.
 */
#ifndef UMBRA_TEST_GUEST_VIRTIO_H
#define UMBRA_TEST_GUEST_VIRTIO_H

#include "tests/guests/common/guest.h"

#define RING_SLOTS 64u

#define DESC_NEXT  1
#define DESC_WRITE 2

#define VIRTIO_NO_MESSAGE 0xffff

struct ring {
	struct {
		uint64_t address;
		uint32_t bytes;
		uint16_t flags, next;
	} desc[RING_SLOTS] __attribute__((aligned(4096)));
	volatile struct {
		uint16_t flags, index, entry[RING_SLOTS];
	} available __attribute__((aligned(4096)));
	volatile struct {
		uint16_t flags, index;
		struct {
			uint32_t id, bytes;
		} entry[RING_SLOTS];
	} used __attribute__((aligned(4096)));
};

struct virtio_device {
	uint32_t number; /* on PCI bus 0 */
	volatile uint8_t *bar;
	uint16_t port; /* of the notification registers */
};

/* Finds the device's BARs and enables it. FAILs if it is not of this type (1: network, 2: disk). */
void virtio_find(struct virtio_device *device, uint32_t number, uint32_t type);

/* Resets the device, waits until it has been reset, and agrees on the features. */
void virtio_begin(const struct virtio_device *device);
/* Only resets it, and waits. */
void virtio_reset(const struct virtio_device *device);

/* Gives it a ring that is all zeros. `message` is an entry of the MSI-X table. */
void virtio_set_queue(const struct virtio_device *device, uint16_t queue, struct ring *ring,
		      uint16_t message);

/* That message interrupts the boot CPU, which has APIC ID 0. Switches MSI-X on. */
void virtio_set_message(const struct virtio_device *device, uint16_t message, uint8_t vector);

/* From now on the device looks at its rings. */
void virtio_run(const struct virtio_device *device);

/* Byte `at` of the device's own configuration. */
uint8_t virtio_config(const struct virtio_device *device, uint32_t at);

void virtio_notify(const struct virtio_device *device, uint16_t queue);

/* Makes the descriptor `head`, and those chained to it, available. */
void ring_offer(struct ring *ring, uint16_t head);
/* Makes `slot` one buffer and offers it. */
void ring_offer_buffer(struct ring *ring, uint16_t slot, const void *buffer, uint32_t bytes,
		       uint16_t flags);

#endif
