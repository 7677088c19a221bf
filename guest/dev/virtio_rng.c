/* SPDX-License-Identifier: Apache-2.0 */
/*
 * However long a buffer is, it gets at most MOST bytes, which the driver must expect (virtio 1.2,
 * 5.4.6.1). So even a request for 4 GiB takes little time.
 */
#include "guest/dev/virtio_rng.h"

#include "crypto/rng.h"
#include "guest/platform_state.h"
#include "vmm/base/atomic.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

#define MOST  1024u
#define PIECE 256u

/* Draws random bytes for this buffer only; they do not stay on the stack. */
static bool draw(struct virtio_rng *rng, struct virtio_queue *queue, uint32_t bytes)
{
	struct virtio *device = &rng->virtio;
	uint8_t piece[PIECE];
	int err = rng_bytes(piece, bytes);

	if (err != 0 && !rng->failed) {
		rng->failed = true;
		log_error("vm %s: %s: no random bytes can be drawn; its driver gets none",
			  device->vm->name, device->ops->name);
	}
	if (err == 0 &&
	    vring_write(&queue->chain, &device->vm->gmem, queue->chain_at, piece, bytes) != 0) {
		device->why = "a buffer is not in RAM";
	}
	secure_zero(piece, sizeof(piece));
	return err == 0;
}

static enum virtio_step serve(struct virtio *device, uint32_t number, struct virtio_turn *turn,
			      uint32_t *written)
{
	struct virtio_rng *rng = (struct virtio_rng *)device;
	struct virtio_queue *queue = &device->queues[number];
	const uint64_t wanted = MIN(queue->chain.write_bytes, MOST);

	device->why = NULL;
	while (queue->chain_at < wanted) {
		const uint32_t bytes = (uint32_t)vring_run(&queue->chain, true, queue->chain_at,
							   MIN(wanted - queue->chain_at, PIECE));

		if (virtio_is_over(turn)) {
			return VIRTIO_MORE;
		}
		if (!draw(rng, queue, bytes)) {
			break;
		}
		if (device->why != NULL) {
			return VIRTIO_BROKEN;
		}
		virtio_spend(turn, bytes);
		queue->chain_at += bytes;
		atomic_add(&device->counters.bytes, bytes);
	}
	*written = (uint32_t)queue->chain_at;
	return VIRTIO_DONE;
}

static const struct virtio_ops rng_ops = {
	.name = "virtio-rng",
	.type = 4,
	.class_code = 0xff0000,
	.queues = 1,
	.serve = serve,
};

static int init(struct platform *platform)
{
	return virtio_add(&platform->rng.virtio, platform, &rng_ops);
}

const struct vdev_ops virtio_rng_device = { .name = "entropy device", .init = init };
