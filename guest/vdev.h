/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtual device is to the platform. A device is one file in guest/dev, which ends with a
 * const struct vdev_ops, one row in the table of guest/devices.c, and its state in struct platform.
 */
#ifndef UMBRA_GUEST_VDEV_H
#define UMBRA_GUEST_VDEV_H

#include "vmm/vm.h"

struct platform;

/* A row without one of these functions has nothing to do then. */
struct vdev_ops {
	const char *name; /* for messages */
	/* Power-up state; registers ports and memory on the VM's bus. Cleans up what it fails at.
	 */
	int (*init)(struct platform *platform);
	/* A vCPU was added to the VM. Called after init, for each of them; errors as init. */
	int (*add_vcpu)(struct vcpu *vcpu);
	/* As vm_hooks.poll: the end of each time slice, and while the CPU is idle. */
	void (*poll)(struct platform *platform);
	/* As vm_hooks.clock: does what is due, and calls vm_set_clock with its next deadline. */
	void (*clock)(struct platform *platform, uint64_t tsc);
	/* As vm_hooks.skip_time. */
	void (*skip_time)(struct platform *platform, uint64_t ticks);
	/* Frees what init and add_vcpu took, some of which may be missing. No vCPU is on a CPU. */
	void (*destroy)(struct platform *platform);
};

/* Initialises the devices in the order of their table. On an error, *failed is the device's name.
 */
int devices_init(struct platform *platform, const char **failed);
int devices_add_vcpu(struct vcpu *vcpu, const char **failed);

/* The reverse, for those that were initialised. */
void devices_destroy(struct platform *platform);

/* The rows of struct vm_hooks that concern all devices. */
void devices_poll(struct vm *vm);
void devices_clock(struct vm *vm, uint64_t tsc);
void devices_skip_time(struct vm *vm, uint64_t ticks);

#endif
