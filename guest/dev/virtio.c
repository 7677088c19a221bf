/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a virtio device, and what a turn of work does with its queues; virtio_work.c says
 * when a turn comes. Constants are from virtio 1.2, 4.1.4.5 "ISR status capability".
 */
#include "guest/dev/virtio.h"

#include "guest/platform_state.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/log.h"
#include "vmm/vcpu.h"

/* What a driver may set. */
#define STATUS_DRIVER (BIT(0) | BIT(1) | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | BIT(7))

#define ISR_QUEUE  BIT(0)
#define ISR_CONFIG BIT(1)

#define NO_VECTOR 0xffff

bool virtio_runs(const struct virtio *device)
{
	const uint8_t status = atomic_load_acquire(&device->status);

	return (status & (VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) ==
		       (VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK) &&
	       vpci_is_master(&device->function);
}

/*
 * Sends an MSI-X message if MSI-X is enabled. Otherwise asserts the INTx pin, which stays asserted
 * until the driver reads ISR.
 */
static void interrupt(struct virtio *device, uint16_t vector, uint8_t isr)
{
	atomic_add(&device->counters.interrupts, 1);
	if (vmsix_is_on(&device->msix)) {
		vmsix_send(&device->msix, vector);
		return;
	}
	lock_take(&device->lock, LOCK_VIRTIO);
	device->isr |= isr;
	vpci_set_intx(&device->function, true);
	lock_drop(&device->lock);
}

void virtio_lose(struct virtio *device, uint32_t queue, const char *why)
{
	uint16_t vector;
	bool first;

	lock_take(&device->lock, LOCK_VIRTIO);
	vector = device->config_vector;
	atomic_store_release(&device->status,
			     atomic_load_relaxed(&device->status) | VIRTIO_NEEDS_RESET);
	first = !device->broke;
	device->broke = true;
	lock_drop(&device->lock);
	atomic_add(&device->counters.errors, 1);
	if (first) {
		log_warn("vm %s: %s: queue %u: %s: the device stops until its driver resets "
			 "it; further errors are not logged",
			 device->vm->name, device->ops->name, queue, why);
	}
	interrupt(device, vector, ISR_CONFIG);
}

void virtio_set_config(struct virtio *device, const void *bytes, size_t count)
{
	uint16_t vector;
	bool reports;

	lock_take(&device->lock, LOCK_VIRTIO);
	if (memcmp(device->config, bytes, count) != 0) {
		memcpy(device->config, bytes, count);
		device->generation++;
		device->config_told = false;
	}
	reports = !device->config_told && virtio_runs(device);
	device->config_told = device->config_told || reports;
	vector = device->config_vector;
	lock_drop(&device->lock);
	if (reports) {
		interrupt(device, vector, ISR_CONFIG);
	}
}

/* --- What a turn does --- */

static bool is_over(const struct virtio *device, const struct virtio_turn *turn)
{
	return virtio_is_over(turn) || atomic_load_relaxed(&device->reset_waits);
}

static void kick_again(struct virtio *device, uint32_t queue)
{
	atomic_or(&device->kicked, (uint32_t)BIT(queue));
}

/*
 * Takes the next chain from the ring, unless an earlier one is not finished. Returns false if there
 * is no chain to serve now, or if the turn is over. The end of the turn is checked before each look
 * at the ring, because a driver may change its index without pause.
 */
static bool take_chain(struct virtio *device, struct virtio_queue *queue, uint32_t number,
		       const struct virtio_turn *turn)
{
	int got;

	do {
		if (is_over(device, turn)) {
			kick_again(device, number);
			return false;
		}
		if (queue->has_chain) {
			return true;
		}
		got = vring_take(&queue->ring, &device->vm->gmem, &queue->chain, &device->why);
	} while (got == 0 && vring_listen(&queue->ring, &device->vm->gmem));
	if (got < 0) {
		virtio_lose(device, number, device->why);
	}
	queue->has_chain = got > 0;
	queue->chain_at = 0;
	return queue->has_chain;
}

/* Serves one chain. Returns true if there may be another one. */
static bool serve_chain(struct virtio *device, uint32_t number, struct virtio_turn *turn)
{
	struct virtio_queue *queue = &device->queues[number];
	uint32_t written = 0;

	if (!take_chain(device, queue, number, turn)) {
		return false;
	}
	switch (device->ops->serve(device, number, turn, &written)) {
	case VIRTIO_MORE: kick_again(device, number); return false;
	case VIRTIO_LATER: return false;
	case VIRTIO_BROKEN: virtio_lose(device, number, device->why); return false;
	case VIRTIO_DONE:
	default: break;
	}
	queue->has_chain = false;
	atomic_add(&device->counters.requests, 1);
	if (vring_give(&queue->ring, &device->vm->gmem, &queue->chain, written, &device->why) !=
	    0) {
		virtio_lose(device, number, device->why);
		return false;
	}
	return true;
}

void virtio_notify(struct virtio *device, uint32_t number)
{
	struct virtio_queue *queue = &device->queues[number];

	if (vring_wants_interrupt(&queue->ring, &device->vm->gmem)) {
		interrupt(device, atomic_load_relaxed(&queue->vector), ISR_QUEUE);
	}
}

static void serve_queue(struct virtio *device, uint32_t number, struct virtio_turn *turn)
{
	struct virtio_queue *queue = &device->queues[number];

	atomic_and(&device->kicked, ~(uint32_t)BIT(number));
	if (!atomic_load_acquire(&queue->enabled)) {
		return;
	}
	while (serve_chain(device, number, turn)) {
	}
	virtio_notify(device, number);
}

/* --- Queues in use --- */

/* The queues that a turn of the device serves. */
static uint32_t active(const struct virtio *device)
{
	return (uint32_t)(BIT(device->ops->queues) - 1) & ~device->ops->passive;
}

/*
 * Marks queues as in use. Returns false if one of them is in use, a reset waits, or the driver is
 * not ready. Under the lock.
 */
static bool enter(struct virtio *device, uint32_t queues)
{
	const bool enters = (device->busy & queues) == 0 &&
			    !atomic_load_relaxed(&device->reset_waits) && virtio_runs(device);

	if (enters) {
		device->busy |= queues;
	}
	return enters;
}

/*
 * Ends the use of queues. If a reset waits, carries it out once no queue is used. Under the lock.
 */
static void leave(struct virtio *device, uint32_t queues)
{
	device->busy &= ~queues;
	if (atomic_load_relaxed(&device->reset_waits) && device->busy == 0) {
		virtio_reset(device);
	}
}

enum virtio_claim virtio_claim(struct virtio *device, uint32_t queue)
{
	enum virtio_claim claim = VIRTIO_CLOSED;

	lock_take(&device->lock, LOCK_VIRTIO);
	if (!device->closed && atomic_load_relaxed(&device->queues[queue].enabled)) {
		claim = enter(device, (uint32_t)BIT(queue))	     ? VIRTIO_CLAIMED
			: (device->busy & (uint32_t)BIT(queue)) != 0 ? VIRTIO_BUSY
								     : VIRTIO_CLOSED;
	}
	lock_drop(&device->lock);
	return claim;
}

void virtio_release(struct virtio *device, uint32_t queue)
{
	lock_take(&device->lock, LOCK_VIRTIO);
	leave(device, (uint32_t)BIT(queue));
	lock_drop(&device->lock);
}

/*
 * virtio_release makes its last access to the device under the lock. So once `busy`, read under the
 * lock, has no passive queue, no turn of another device uses this device.
 */
void virtio_close(struct virtio *device)
{
	bool waits;

	do {
		lock_take(&device->lock, LOCK_VIRTIO);
		device->closed = true;
		waits = (device->busy & device->ops->passive) != 0;
		lock_drop(&device->lock);
		if (waits) {
			__builtin_ia32_pause();
		}
	} while (waits);
}

void virtio_open(struct virtio *device)
{
	lock_take(&device->lock, LOCK_VIRTIO);
	device->closed = false;
	lock_drop(&device->lock);
}

void virtio_pause(struct vm *vm, bool on)
{
	struct platform *platform = platform_of(vm);

	for (uint32_t i = 0; i < platform->virtio_count; i++) {
		if (on) {
			virtio_close(platform->virtio[i]);
		} else {
			virtio_open(platform->virtio[i]);
		}
	}
}

/* --- Turns --- */

/*
 * Begins a turn and returns VIRTIO_REST. If it cannot, returns VIRTIO_IN_TURN if another turn is in
 * progress, VIRTIO_NO_REST if a reset waits or the driver is not ready.
 */
static enum virtio_rest begin_turn(struct virtio *device)
{
	enum virtio_rest rest = VIRTIO_REST;

	lock_take(&device->lock, LOCK_VIRTIO);
	if (!enter(device, active(device))) {
		rest = (device->busy & active(device)) != 0 ? VIRTIO_IN_TURN : VIRTIO_NO_REST;
	}
	lock_drop(&device->lock);
	return rest;
}

/* Ends a turn. */
static enum virtio_rest end_turn(struct virtio *device)
{
	bool more;

	lock_take(&device->lock, LOCK_VIRTIO);
	leave(device, active(device));
	more = !atomic_load_relaxed(&device->reset_waits) && virtio_runs(device) &&
	       atomic_load(&device->kicked) != 0;
	lock_drop(&device->lock);
	return more ? VIRTIO_REST : VIRTIO_NO_REST;
}

enum virtio_rest virtio_take_turn(struct virtio *device)
{
	struct virtio_turn turn = {
		.bytes = VIRTIO_TURN_BYTES,
		.deadline = cpu_rdtsc() + tsc_from_us(VIRTIO_TURN_US),
	};
	const enum virtio_rest rest = begin_turn(device);

	if (rest != VIRTIO_REST) {
		return rest;
	}
	atomic_add(&device->counters.turns, 1);
	for (uint32_t i = 0; i < device->ops->queues && virtio_runs(device); i++) {
		if ((atomic_load(&device->kicked) & BIT(i)) != 0) {
			serve_queue(device, i, &turn);
		}
	}
	return end_turn(device);
}

bool virtio_has_work(struct virtio *device)
{
	bool has;

	lock_take(&device->lock, LOCK_VIRTIO);
	has = (device->busy & active(device)) != 0 || atomic_load(&device->kicked) != 0;
	lock_drop(&device->lock);
	return has;
}

/* --- What the driver does --- */

void virtio_reset(struct virtio *device)
{
	atomic_store_relaxed(&device->reset_waits, false);
	atomic_store_relaxed(&device->kicked, 0);
	device->isr = 0;
	vpci_set_intx(&device->function, false);
	device->config_vector = NO_VECTOR;
	device->config_told = false;
	device->selected = 0;
	device->feature_select[0] = device->feature_select[1] = 0;
	device->accepted = 0;
	for (uint32_t i = 0; i < device->ops->queues; i++) {
		device->queues[i] = (struct virtio_queue){
			.size = VRING_SIZE_MAX,
			.vector = { NO_VECTOR },
		};
	}
	if (device->ops->reset != NULL) {
		device->ops->reset(device);
	}
	atomic_store_release(&device->status, 0);
}

void virtio_accept(struct virtio *device, uint32_t half, uint32_t features)
{
	const uint32_t shift = 32 * half;

	if (half < 2 && (atomic_load_relaxed(&device->status) & VIRTIO_FEATURES_OK) == 0) {
		device->accepted = (device->accepted & ~(MASK(31, 0) << shift)) | (uint64_t)features
											  << shift;
	}
}

static bool features_are_acceptable(const struct virtio *device)
{
	return (device->accepted & ~device->features) == 0 &&
	       (device->accepted & VIRTIO_F_VERSION_1) != 0;
}

bool virtio_write_status(struct virtio *device, uint8_t status)
{
	uint8_t before, now;

	lock_take(&device->lock, LOCK_VIRTIO);
	before = atomic_load_relaxed(&device->status);
	now = before | (status & STATUS_DRIVER); /* only a reset clears bits */
	if ((now & ~before & VIRTIO_FEATURES_OK) != 0 && !features_are_acceptable(device)) {
		now &= (uint8_t)~VIRTIO_FEATURES_OK;
	}
	if ((now & VIRTIO_FEATURES_OK) == 0) {
		now &= (uint8_t)~VIRTIO_DRIVER_OK;
	}
	if (status != 0) {
		atomic_store_release(&device->status, now);
	} else if (device->busy != 0) {
		atomic_store_relaxed(&device->reset_waits, true);
	} else {
		virtio_reset(device);
	}
	lock_drop(&device->lock);
	return status != 0 && (now & ~before & VIRTIO_DRIVER_OK) != 0;
}

/* From now on turns use the size and addresses that the driver has set; it cannot change them. */
void virtio_enable_queue(struct virtio *device, struct virtio_queue *queue)
{
	if (atomic_load_relaxed(&queue->enabled) ||
	    (atomic_load_relaxed(&device->status) & VIRTIO_FEATURES_OK) == 0) {
		return;
	}
	queue->ring = (struct vring){
		.size = queue->size,
		.event_index = virtio_has(device, VIRTIO_F_EVENT_INDEX),
		.indirect = virtio_has(device, VIRTIO_F_INDIRECT),
		.descriptors = queue->descriptors,
		.available = queue->available,
		.used = queue->used,
	};
	atomic_store_release(&queue->enabled, true);
}
