/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interface between a virtual device and the platform. A device is one file in guest/dev with a
 * const struct vdev_ops at its end, one row in the table of guest/devices.c, and its state in
 * struct platform.
 */
#ifndef UMBRA_GUEST_VDEV_H
#define UMBRA_GUEST_VDEV_H

#include "vmm/vm.h"

struct platform;

/* A function that a device does not need is NULL. */
struct vdev_ops {
	const char *name; /* for messages */
	/*
	 * Sets the power-up state and registers ports and memory on the VM's bus. After an error it
	 * has cleaned up what it did.
	 */
	int (*init)(struct platform *platform);
	/* Called after init, for each vCPU that is added to the VM; errors as init. */
	int (*add_vcpu)(struct vcpu *vcpu);
	/* Like vm_hooks.poll: called between time slices, and while the CPU is idle. */
	void (*poll)(struct platform *platform);
	/* Like vm_hooks.clock: does what is due, and calls vm_set_clock with its next deadline. */
	void (*clock)(struct platform *platform, uint64_t tsc);
	/* Like vm_hooks.skip_time. */
	void (*skip_time)(struct platform *platform, uint64_t ticks);
	/*
	 * Frees what init and add_vcpu took, of which some may be missing. No vCPU is on a CPU
	 * then.
	 */
	void (*destroy)(struct platform *platform);
};

/* Initialise the devices in the order of their table. On an error *failed is the device's name. */
int devices_init(struct platform *platform, const char **failed);
int devices_add_vcpu(struct vcpu *vcpu, const char **failed);

/* Destroys the initialised devices in the reverse order. */
void devices_destroy(struct platform *platform);

/* The functions of struct vm_hooks that concern all devices. */
void devices_poll(struct vm *vm);
void devices_clock(struct vm *vm, uint64_t tsc);
void devices_skip_time(struct vm *vm, uint64_t ticks);

#endif
