/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of a VM, and the loops over them. No VM exit runs one of these loops: they run at the
 * end of a time slice, when the VM's clock (vm_set_clock) is due, and when a VM is built, resumed
 * or destroyed. So the cost of their indirect calls does not matter.
 */
#include "guest/platform_state.h"
#include "guest/dev/ivshmem.h"
#include "guest/dev/vlapic.h"

/*
 * Devices are initialised in this order: each comes after the devices that it uses. They are
 * destroyed in the reverse order.
 */
static const struct vdev_ops *const devices[] = {
	&vlapic_device,	    &vioapic_device,	&vlegacy_device,    &vpci_device,
	&vuart_device,	    &virtio_rng_device, &virtio_blk_device, &virtio_console_device,
	&virtio_net_device, &ivshmem_device,
};

int devices_init(struct platform *platform, const char **failed)
{
	for (; platform->device_count < ARRAY_COUNT(devices); platform->device_count++) {
		const struct vdev_ops *device = devices[platform->device_count];
		int err = device->init != NULL ? device->init(platform) : 0;

		if (err != 0) {
			*failed = device->name;
			return err;
		}
	}
	return 0;
}

int devices_add_vcpu(struct vcpu *vcpu, const char **failed)
{
	for (size_t i = 0; i < ARRAY_COUNT(devices); i++) {
		int err = devices[i]->add_vcpu != NULL ? devices[i]->add_vcpu(vcpu) : 0;

		if (err != 0) {
			*failed = devices[i]->name;
			return err;
		}
	}
	return 0;
}

void devices_destroy(struct platform *platform)
{
	while (platform->device_count > 0) {
		const struct vdev_ops *device = devices[--platform->device_count];

		if (device->destroy != NULL) {
			device->destroy(platform);
		}
	}
}

void devices_poll(struct vm *vm)
{
	for (size_t i = 0; i < ARRAY_COUNT(devices); i++) {
		if (devices[i]->poll != NULL) {
			devices[i]->poll(platform_of(vm));
		}
	}
}

/* A device that changes its deadline after vm_forget_clock sets the VM's clock itself. */
void devices_clock(struct vm *vm, uint64_t tsc)
{
	vm_forget_clock(vm);
	for (size_t i = 0; i < ARRAY_COUNT(devices); i++) {
		if (devices[i]->clock != NULL) {
			devices[i]->clock(platform_of(vm), tsc);
		}
	}
}

void devices_skip_time(struct vm *vm, uint64_t ticks)
{
	for (size_t i = 0; i < ARRAY_COUNT(devices); i++) {
		if (devices[i]->skip_time != NULL) {
			devices[i]->skip_time(platform_of(vm), ticks);
		}
	}
}
