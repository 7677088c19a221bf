/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio 1.2 devices on the VM's PCI bus, without the legacy interface: what all of them have in
 * common. A device is a file virtio_X.c with a struct virtio_ops.
 *
 * Work on queues runs on the vCPU that has kicked the device, between its exit and its next entry,
 * a turn at a time (virtio_work). One turn at a time works on a device, without the device's lock;
 * what the driver does to the device meanwhile waits for nothing.
 *
 * A driver that breaks a rule of its rings loses the device: DEVICE_NEEDS_RESET is set, the reason
 * is logged, nothing more is read until it resets the device.
 */
#ifndef UMBRA_GUEST_DEV_VIRTIO_H
#define UMBRA_GUEST_DEV_VIRTIO_H

#include "guest/dev/vmsix.h"
#include "guest/dev/vpci.h"
#include "guest/dev/vring.h"
#include "vmm/base/lock.h"

#define VIRTIO_QUEUES_MAX   2
#define VIRTIO_CONFIG_BYTES 64
#define VIRTIO_TURN_BYTES   (64ul << 10)
#define VIRTIO_TURN_US	    100

/* virtio 1.2, 6 "Reserved Feature Bits". */
#define VIRTIO_F_INDIRECT    BIT(28)
#define VIRTIO_F_EVENT_INDEX BIT(29)
#define VIRTIO_F_VERSION_1   BIT(32)

#define VIRTIO_MAX 8 /* devices of a VM */

struct platform;
struct virtio;

/* Of a vCPU: the devices that it has kicked, as bits, and which is next. Its CPU's alone. */
struct virtio_work {
	uint32_t devices;
	uint32_t next;
};

/* What a turn may still do. */
struct virtio_turn {
	uint64_t bytes;
	uint64_t deadline; /* TSC */
};

enum virtio_step {
	VIRTIO_DONE,   /* the chain goes back to the driver */
	VIRTIO_MORE,   /* the turn is over, the chain is not: serve is called for it again */
	VIRTIO_LATER,  /* it can only go on when something has come: virtio_kick */
	VIRTIO_BROKEN, /* virtio.why says what is wrong with it */
};

struct virtio_ops {
	const char *name;
	uint16_t type;	     /* virtio 1.2, 5 "Device Types" */
	uint32_t class_code; /* PCI */
	uint64_t features;   /* beside those that all devices have */
	uint32_t queues;
	uint32_t config_bytes;
	/*
	 * Works on the chain of a queue, from chain_at on, which is the device's own and begins
	 * with 0; takes what it does off the turn. On VIRTIO_DONE *written says how many bytes it
	 * has written at the chain's beginning. Nobody else is in the device meanwhile.
	 */
	enum virtio_step (*serve)(struct virtio *device, uint32_t queue, struct virtio_turn *turn,
				  uint32_t *written);
	/* The driver has reset it. NULL: nothing of it is kept. As serve. */
	void (*reset)(struct virtio *device);
	/* What else there is to say of it to people; NULL: nothing. Any CPU. */
	void (*describe)(const struct virtio *device, char *buf, size_t bytes);
};

struct virtio_queue {
	uint16_t size;
	uint16_t vector; /* atomic */
	bool enabled;	 /* atomic; then what the driver has set up stays as it is */
	uint64_t descriptors, available, used;
	/* The turn's alone. */
	struct vring ring;
	bool has_chain;
	uint64_t chain_at; /* how far serve is with it */
	struct vring_chain chain;
};

/* Since the VM's start; written in turns, read by any CPU. */
struct virtio_counters {
	uint64_t kicks, turns, requests, bytes, errors, interrupts;
};

struct virtio {
	const struct virtio_ops *ops;
	struct vm *vm;
	uint32_t index;			     /* in the platform's list */
	uint32_t number;		     /* of the PCI device */
	uint64_t features;		     /* offered */
	uint8_t config[VIRTIO_CONFIG_BYTES]; /* what the driver reads; constant */
	struct vpci_function function;
	struct vpci_function_ops function_ops;
	struct vmsix msix;
	uint8_t window; /* the capability by which configuration space reaches the BARs */

	/* Over what follows. The locks of struct vpci, struct vmsix and the I/O APIC come after. */
	struct lock lock;
	uint8_t status; /* atomic for readers */
	uint8_t isr;
	uint16_t config_vector, selected;
	uint32_t feature_select[2]; /* of the device's, of the driver's */
	uint64_t accepted;	    /* features */
	bool busy;		    /* a turn is on */
	bool reset_waits;	    /* for that turn's end; atomic for the turn */

	uint32_t kicked; /* a bit for each queue that has, or may have, work; atomic */
	bool broke;	 /* it has lied once, and that was logged */
	const char *why; /* the turn's: what is wrong */
	struct virtio_counters counters;
	struct virtio_queue queues[VIRTIO_QUEUES_MAX];
};

/*
 * Puts a device on the VM's PCI bus, and into the platform's list. The rest of *device is the
 * caller's: config and more features, which are set before the VM runs. What vpci_add and
 * vpci_add_bar say; ERR_NOMEM also when the list is full. While the VM is built.
 */
int virtio_add(struct virtio *device, struct platform *platform, const struct virtio_ops *ops);

/*
 * A queue has work for this vCPU, on whose CPU this is: the driver has notified it, or what the
 * device waited for has come.
 */
void virtio_kick(struct virtio *device, struct vcpu *vcpu, uint32_t queue);

/* As vm_hooks.work: a turn of a device that this vCPU has kicked. True: there is more. */
bool virtio_work(struct vcpu *vcpu);

/* For virtio_pci.c, which has the registers: */

/* The driver writes its status; 0 resets the device, at the end of a turn that is on. */
void virtio_write_status(struct virtio *device, struct vcpu *vcpu, uint8_t status);
/* Accepts 32 features, the half-th; not once they are agreed on. Under the lock. */
void virtio_accept(struct virtio *device, uint32_t half, uint32_t features);
/* It has set up a queue. Under the lock. */
void virtio_enable_queue(struct virtio *device, struct virtio_queue *queue);
/* Power-up state. Under the lock, no turn is on; or while the VM is built. */
void virtio_reset(struct virtio *device);

/* Has the driver, at some time, accepted this feature? In a turn. */
static inline bool virtio_has(const struct virtio *device, uint64_t feature)
{
	return (device->accepted & feature) != 0;
}

/* Bytes that all of the VM's devices have moved; two lines on each of them, by print. Any CPU. */
uint64_t virtio_bytes(const struct vm *vm);
void virtio_print(const struct vm *vm, void (*print)(const char *fmt, ...));

#endif
