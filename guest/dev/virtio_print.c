/* SPDX-License-Identifier: Apache-2.0 */
/* What people read about a VM's virtio devices. */
#include "guest/platform_state.h"

static const char *state_name(const struct virtio *device)
{
	const uint8_t status = atomic_load_relaxed(&device->status);

	return (status & VIRTIO_NEEDS_RESET) != 0 ? "lost: its driver has to reset it"
	       : (status & VIRTIO_DRIVER_OK) != 0 ? "in use"
						  : "without a driver";
}

uint64_t virtio_bytes(const struct vm *vm)
{
	const struct platform *platform = platform_of(vm);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < platform->virtio_count; i++) {
		bytes += atomic_load_relaxed(&platform->virtio[i]->counters.bytes);
	}
	return bytes;
}

void virtio_print(const struct vm *vm, void (*print)(const char *fmt, ...))
{
	const struct platform *platform = platform_of(vm);

	for (uint32_t i = 0; i < platform->virtio_count; i++) {
		const struct virtio *device = platform->virtio[i];
		const struct virtio_counters *now = &device->counters;
		char more[VM_PATH_MAX + 60] = "";

		if (device->ops->describe != NULL) {
			device->ops->describe(device, more, sizeof(more));
		}
		print("  00:%02x.0: %s%s: %s", device->number, device->ops->name, more,
		      state_name(device));
		print("           %lu requests, %lu KiB, %lu errors; %lu notifications, %lu "
		      "turns, %lu interrupts",
		      atomic_load_relaxed(&now->requests), atomic_load_relaxed(&now->bytes) >> 10,
		      atomic_load_relaxed(&now->errors), atomic_load_relaxed(&now->kicks),
		      atomic_load_relaxed(&now->turns), atomic_load_relaxed(&now->interrupts));
		if (device->ops->print != NULL) {
			device->ops->print(device, print);
		}
	}
}
