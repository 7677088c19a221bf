/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No code here waits. If the console has no room, or nothing was typed, the device keeps the chain,
 * and the VM's poll continues it.
 */
#include "guest/dev/virtio_console.h"

#include "guest/platform_state.h"
#include "vmm/base/atomic.h"
#include "vmm/console/console.h"

#define QUEUE_INPUT  0
#define QUEUE_OUTPUT 1

/* virtio 1.2, 5.3.3 and 5.3.4. */
#define F_SIZE BIT(0)
struct console_config {
	uint16_t columns, rows;
};

/* Returns a buffer as soon as any bytes are in it, not only when it is full. */
static enum virtio_step serve_input(struct virtio_console *con, struct virtio_turn *turn,
				    uint32_t *written)
{
	struct virtio *device = &con->virtio;
	struct virtio_queue *queue = &device->queues[QUEUE_INPUT];
	uint8_t bytes[VCONSOLE_FIFO_BYTES];
	size_t count = 0;

	if (!atomic_load_relaxed(&con->listens)) {
		atomic_store_relaxed(&con->listens, true);
		vuart_set_deaf(con->uart, true);
	}
	while (count < MIN(sizeof(bytes), queue->chain.write_bytes)) {
		const int byte = vconsole_get(con->console);

		if (byte < 0) {
			break;
		}
		bytes[count] = (uint8_t)byte;
		count += byte != CONSOLE_BREAK;
	}
	if (count == 0 && queue->chain.write_bytes != 0) {
		return VIRTIO_LATER;
	}
	if (vring_write(&queue->chain, &device->vm->gmem, 0, bytes, count) != 0) {
		device->why = "a buffer is not in RAM";
		return VIRTIO_BROKEN;
	}
	virtio_spend(turn, sizeof(bytes));
	atomic_add(&device->counters.bytes, count);
	*written = (uint32_t)count;
	return VIRTIO_DONE;
}

static enum virtio_step serve_output(struct virtio_console *con, struct virtio_turn *turn)
{
	struct virtio *device = &con->virtio;
	struct virtio_queue *queue = &device->queues[QUEUE_OUTPUT];
	uint8_t bytes[VCONSOLE_FIFO_BYTES];

	while (queue->chain_at < queue->chain.read_bytes) {
		const size_t count = MIN(sizeof(bytes), queue->chain.read_bytes - queue->chain_at);

		if (virtio_is_over(turn)) {
			return VIRTIO_MORE;
		}
		if (!vconsole_ready(con->console)) {
			atomic_store_relaxed(&con->waits, true);
			return VIRTIO_LATER;
		}
		if (vring_read(&queue->chain, &device->vm->gmem, queue->chain_at, bytes, count) !=
		    0) {
			device->why = "a buffer is not in RAM";
			return VIRTIO_BROKEN;
		}
		for (size_t i = 0; i < count; i++) {
			vconsole_put(con->console, bytes[i]);
		}
		queue->chain_at += count;
		atomic_add(&device->counters.bytes, count);
		virtio_spend(turn, count);
	}
	return VIRTIO_DONE;
}

static enum virtio_step serve(struct virtio *device, uint32_t queue, struct virtio_turn *turn,
			      uint32_t *written)
{
	struct virtio_console *con = (struct virtio_console *)device;

	return queue == QUEUE_INPUT ? serve_input(con, turn, written) : serve_output(con, turn);
}

static void reset(struct virtio *device)
{
	struct virtio_console *con = (struct virtio_console *)device;

	atomic_store_relaxed(&con->listens, false);
	atomic_store_relaxed(&con->waits, false);
	vuart_set_deaf(con->uart, false);
}

static const struct virtio_ops console_ops = {
	.name = "virtio-console",
	.type = 3,
	.class_code = 0x078000,
	.features = F_SIZE,
	.queues = 2,
	.config_bytes = sizeof(struct console_config),
	.serve = serve,
	.reset = reset,
};

static int init(struct platform *platform)
{
	struct virtio_console *con = &platform->hvc;

	if (!platform->config->virtio_console) {
		return 0;
	}
	con->console = &platform->console;
	con->uart = &platform->com1;
	return virtio_add(&con->virtio, platform, &console_ops);
}

/*
 * Linux takes no notice of a size that is there at the start, only of an interrupt for a change. So
 * a driver that begins is interrupted once, unless the size is not known.
 */
static void pass_size_on(struct virtio_console *con)
{
	const struct vconsole_size size = vconsole_size();
	const struct console_config now = { .columns = size.columns, .rows = size.rows };

	if (size.columns != 0) {
		virtio_set_config(&con->virtio, &now, sizeof(now));
	}
}

/* Runs on the CPU of the first vCPU, which does the work. */
static void poll(struct platform *platform)
{
	struct virtio_console *con = &platform->hvc;
	struct vcpu *first = platform->vm->vcpus[0];

	if (!platform->config->virtio_console) {
		return;
	}
	pass_size_on(con);
	if (atomic_load_relaxed(&con->listens) && vconsole_has_input(con->console)) {
		virtio_kick(&con->virtio, first, QUEUE_INPUT);
	}
	if (atomic_load_relaxed(&con->waits) && vconsole_ready(con->console)) {
		atomic_store_relaxed(&con->waits, false);
		virtio_kick(&con->virtio, first, QUEUE_OUTPUT);
	}
}

const struct vdev_ops virtio_console_device = {
	.name = "virtio console",
	.init = init,
	.poll = poll,
};
