/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk (virtio 1.2, 5.2 "Block Device") of guest/disk.h: one queue, no legacy requests. All that
 * was written is there when a request completes, so a flush has nothing to wait for.
 */
#ifndef UMBRA_GUEST_DEV_VIRTIO_BLK_H
#define UMBRA_GUEST_DEV_VIRTIO_BLK_H

#include "guest/dev/virtio.h"
#include "guest/disk.h"

struct virtio_blk {
	struct virtio virtio;
	struct disk disk;
	uint8_t *page; /* where one block is in clear while it is worked on */
	bool full;     /* the overlay was, and that was logged */
	/* The request that is worked on; its chain's chain_at says how far. */
	bool begun;
	uint8_t status;
	uint32_t type;
	uint64_t at;	     /* byte on the disk */
	uint64_t bytes;	     /* of data, in the chain */
	uint64_t range_left; /* bytes of the range to zero that is worked on, from `at` on */
};

extern const struct vdev_ops virtio_blk_device;

#endif
