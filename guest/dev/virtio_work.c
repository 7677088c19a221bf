/* SPDX-License-Identifier: Apache-2.0 */
/* When a vCPU takes a turn of which device: after notifications, and after gathering. */
#include "guest/platform_state.h"
#include "vmm/base/atomic.h"
#include "vmm/base/tsc.h"
#include "vmm/vcpu.h"

static uint32_t bit_of(const struct virtio *device)
{
	return (uint32_t)BIT(device->index);
}

static bool has_ended(const struct vm *vm)
{
	return atomic_load_relaxed(&vm->state) != VM_RUNNING;
}

/* Returns the devices of this set for which the test returns true. */
static uint32_t those(struct platform *platform, uint32_t devices, bool (*test)(struct virtio *))
{
	uint32_t found = 0;

	for (; devices != 0; devices &= devices - 1) {
		struct virtio *device = platform->virtio[__builtin_ctz(devices)];

		found |= test(device) ? bit_of(device) : 0;
	}
	return found;
}

static bool gathers(struct virtio *device)
{
	return device->gather_us != 0;
}

/*
 * Updates the sets of devices. If another vCPU has taken the turn of a device that this vCPU
 * gathers for, this vCPU need not take it, unless that turn is still in progress or has left work:
 * the other vCPU may leave its CPU. A vCPU that halts may have added requests without a
 * notification, because an earlier notification was still outstanding. So it also takes part in
 * what others gather or have left.
 */
static void find_gathering(const struct vcpu *vcpu, struct virtio_work *work)
{
	struct platform *platform = platform_of(vcpu->vm);
	const uint32_t gathering = atomic_load(&vcpu->vm->gathering);
	const uint32_t taken = work->gathers & ~gathering, others = gathering & ~work->devices;
	const uint32_t done = taken & ~those(platform, taken, virtio_has_work);

	work->devices &= ~done;
	work->gathers &= ~done;
	if (atomic_load_relaxed(&vcpu->state) != VCPU_RUNNABLE) {
		work->devices |= others;
		work->gathers |= those(platform, others, gathers);
	}
}

/*
 * Returns the devices whose turn may come now. A vCPU that leaves its CPU takes only turns that
 * were put off (late), and leaves other work for its next slice. If its VM has ended there is no
 * next slice, so the other work follows.
 */
static uint32_t due(const struct vcpu *vcpu, struct virtio_work *work, bool leaves)
{
	find_gathering(vcpu, work);
	if (leaves || atomic_load_relaxed(&vcpu->state) != VCPU_RUNNABLE ||
	    cpu_rdtsc() >= work->gather_end) {
		work->late |= work->gathers;
		work->gathers = 0;
	}
	if (leaves && (work->late != 0 || !has_ended(vcpu->vm))) {
		return work->late;
	}
	return work->devices & ~work->gathers;
}

/* The return value of virtio_work. */
static uint64_t next_turn(const struct vcpu *vcpu, const struct virtio_work *work, bool leaves)
{
	const uint64_t now = cpu_rdtsc();
	const bool rests = (work->devices & ~work->gathers) != 0;
	const uint64_t gap_end = rests ? now + tsc_from_us(VIRTIO_GAP_US) : UINT64_MAX;

	if (work->devices == 0) {
		return 0;
	}
	if (leaves && (work->late != 0 || has_ended(vcpu->vm))) {
		return now;
	}
	return work->gathers != 0 ? MIN(gap_end, work->gather_end) : gap_end;
}

/*
 * Takes a turn of the next device of this set. If another vCPU's turn of that device is in
 * progress, it may leave work: a vCPU that runs then looks again after the gap. A vCPU that has
 * halted does not, because it would look without pause.
 */
static void take_turn(const struct vcpu *vcpu, struct virtio_work *work, uint32_t devices)
{
	const uint32_t behind = devices & ~(uint32_t)(BIT(work->next) - 1);
	const uint32_t next = (uint32_t)__builtin_ctz(behind != 0 ? behind : devices);
	const uint32_t bit = (uint32_t)BIT(next);
	enum virtio_rest rest;

	/* Before the rings are read: the driver notifies again of what it adds after that. */
	if ((atomic_load_relaxed(&vcpu->vm->gathering) & bit) != 0) {
		atomic_and(&vcpu->vm->gathering, ~bit);
	}
	rest = virtio_take_turn(platform_of(vcpu->vm)->virtio[next]);
	if (rest != VIRTIO_REST) {
		work->late &= ~bit;
	}
	if (rest == VIRTIO_NO_REST ||
	    (rest == VIRTIO_IN_TURN && atomic_load_relaxed(&vcpu->state) != VCPU_RUNNABLE)) {
		work->devices &= ~bit;
	}
	work->next = next + 1;
}

/*
 * What this vCPU leaves would wait for its next slice, which may be far away. So another vCPU of
 * the VM that halts may do it before. The driver may have added more to it without a notification.
 */
static void leave_rest(struct vm *vm, uint32_t devices)
{
	if ((devices & ~atomic_load_relaxed(&vm->gathering)) != 0) {
		atomic_or(&vm->gathering, devices);
	}
}

uint64_t virtio_work(struct vcpu *vcpu, bool leaves)
{
	struct virtio_work *work = &platform_of(vcpu->vm)->virtio_work[vcpu->id];
	const uint32_t now = due(vcpu, work, leaves);

	if (now != 0) {
		take_turn(vcpu, work, now);
	}
	if (leaves) {
		leave_rest(vcpu->vm, work->devices);
	}
	return next_turn(vcpu, work, leaves);
}

/*
 * Puts off the first turn after a notification. From now on a vCPU of the VM that halts takes the
 * turn at once. If another vCPU halted just before this notification, it may wait for a request
 * that it added, so the turn is not put off.
 */
static void gather(struct virtio_work *work, const struct virtio *device, const struct vcpu *vcpu)
{
	const uint32_t bit = bit_of(device);
	const uint64_t now = cpu_rdtsc();
	const bool streams = now < atomic_load_relaxed(&device->stream_end);
	uint64_t end = now;

	if ((atomic_load_relaxed(&device->vm->gathering) & bit) == 0) {
		atomic_or(&device->vm->gathering, bit);
	}
	if (!vcpu_sibling_halted(vcpu, now - tsc_from_us(VIRTIO_NOTIFY_US))) {
		end += tsc_from_us(streams ? device->stream_us : device->gather_us);
	}
	if ((work->devices & bit) == 0 || end == now) {
		work->gather_end = work->gathers == 0 ? end : MIN(end, work->gather_end);
		work->gathers |= bit;
	}
}

void virtio_kick(struct virtio *device, struct vcpu *vcpu, uint32_t queue)
{
	struct virtio_work *work = &platform_of(device->vm)->virtio_work[vcpu->id];

	if (queue < device->ops->queues) {
		atomic_add(&device->counters.kicks, 1);
	}
	if (queue < device->ops->queues && (device->ops->passive & BIT(queue)) == 0) {
		atomic_or(&device->kicked, (uint32_t)BIT(queue));
		if (device->gather_us != 0) {
			gather(work, device, vcpu);
		}
		work->devices |= bit_of(device);
		vcpu_add_work(vcpu);
	}
}

void virtio_kick_all(struct virtio *device, struct vcpu *vcpu)
{
	for (uint32_t i = 0; i < device->ops->queues; i++) {
		virtio_kick(device, vcpu, i);
	}
}
