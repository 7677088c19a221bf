/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk (virtio 1.2, 5.2 "Block Device") on top of guest/disk.h: one queue, no legacy requests.
 * All data is written when a request completes, so a flush does nothing.
 */
#ifndef UMBRA_GUEST_DEV_VIRTIO_BLK_H
#define UMBRA_GUEST_DEV_VIRTIO_BLK_H

#include "guest/dev/virtio.h"
#include "guest/disk.h"

struct virtio_blk {
	struct virtio virtio;
	struct disk disk;
	uint8_t *page; /* holds one block in clear while it is processed */
	bool full;     /* the overlay was full once, which was logged */
	/* The current request; its queue's chain_at says how much of it is done. */
	bool begun;
	uint8_t status;
	uint32_t type;
	uint64_t at;	/* offset on the disk in bytes */
	uint64_t bytes; /* bytes of data in the chain */
	/* bytes of the current range that are still to be zeroed, from `at` on */
	uint64_t range_left;
};

extern const struct vdev_ops virtio_blk_device;

#endif
