/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An entropy device (virtio 1.2, 5.4): random bytes from crypto/rng.h for the guest's /dev/hwrng.
 */
#ifndef UMBRA_GUEST_DEV_VIRTIO_RNG_H
#define UMBRA_GUEST_DEV_VIRTIO_RNG_H

#include "guest/dev/virtio.h"

struct virtio_rng {
	struct virtio virtio;
	bool failed; /* the generator has failed, which was logged */
};

extern const struct vdev_ops virtio_rng_device;

#endif
