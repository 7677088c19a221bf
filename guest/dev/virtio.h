/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Common code of virtio 1.2 devices on the VM's PCI bus, without the legacy interface. A device is
 * a file virtio_X.c with a struct virtio_ops.
 *
 * Work on queues runs in turns on the vCPU that has notified the device, between its exit and its
 * next entry (virtio_work). Only one turn at a time works on a device, and it runs without the
 * device's lock. So the driver's accesses to registers never wait for a turn.
 *
 * A passive queue is filled by the turns of other devices, which may belong to other VMs and run on
 * any CPU. Such a turn claims the queue while it writes to it. So a device can send and receive at
 * the same time.
 *
 * If a driver breaks a rule of its rings, the device stops: it sets DEVICE_NEEDS_RESET, logs the
 * reason, and reads nothing more until the driver resets it.
 */
#ifndef UMBRA_GUEST_DEV_VIRTIO_H
#define UMBRA_GUEST_DEV_VIRTIO_H

#include "guest/dev/vmsix.h"
#include "guest/dev/vpci.h"
#include "guest/dev/vring.h"
#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/lock.h"

#define VIRTIO_QUEUES_MAX   2
#define VIRTIO_CONFIG_BYTES 64
#define VIRTIO_TURN_BYTES   (64ul << 10)
#define VIRTIO_TURN_US	    100
#define VIRTIO_GAP_US	    100 /* how long a vCPU runs between two turns */
#define VIRTIO_NOTIFY_US    10	/* from a driver's decision to notify to its exit, at most */

/* virtio 1.2, 2.1 "Device Status Field". */
#define VIRTIO_DRIVER_OK   BIT(2)
#define VIRTIO_FEATURES_OK BIT(3)
#define VIRTIO_NEEDS_RESET BIT(6)

/* virtio 1.2, 6 "Reserved Feature Bits". */
#define VIRTIO_F_INDIRECT    BIT(28)
#define VIRTIO_F_EVENT_INDEX BIT(29)
#define VIRTIO_F_VERSION_1   BIT(32)

#define VIRTIO_MAX 10 /* the most devices of a VM; platform_state.h compares it with their kinds */

struct platform;
struct virtio;

/*
 * The devices that a vCPU has notified, as bits, and where to look for the next one. Only the
 * vCPU's CPU uses it.
 */
struct virtio_work {
	uint32_t devices;
	uint32_t next;
	uint32_t gathers;    /* those of them whose first turn may wait for more requests ... */
	uint64_t gather_end; /* ... until then (TSC), while the vCPU runs */
	uint32_t late;	     /* those whose wait is over and whose work is not done yet */
};
_Static_assert(VIRTIO_MAX <= 32, "a bit for each device");

/* The rest of a turn's budget. */
struct virtio_turn {
	uint64_t bytes;
	uint64_t deadline; /* TSC */
};

enum virtio_step {
	VIRTIO_DONE,   /* the chain is finished and goes back to the driver */
	VIRTIO_MORE,   /* the turn is over, the chain is not: serve will be called again */
	VIRTIO_LATER,  /* the chain waits for something; virtio_kick continues it */
	VIRTIO_BROKEN, /* the chain breaks a rule, which virtio.why names */
};

struct virtio_ops {
	const char *name;
	uint16_t type;	     /* virtio 1.2, 5 "Device Types" */
	uint32_t class_code; /* the PCI class code */
	uint64_t features;   /* in addition to those of all devices */
	uint32_t queues;
	uint32_t passive; /* a bit for each queue that no turn of this device serves */
	uint32_t config_bytes;
	/*
	 * Works on the chain of a queue, from chain_at on, and takes what it does off the turn. The
	 * device counts chain_at itself; it starts with 0. On VIRTIO_DONE *written is how many
	 * bytes were written at the start of the chain's writable part. No other turn is in
	 * progress.
	 */
	enum virtio_step (*serve)(struct virtio *device, uint32_t queue, struct virtio_turn *turn,
				  uint32_t *written);
	/*
	 * The driver has reset the device. NULL: the device has no state. As for serve, no turn is
	 * in progress.
	 */
	void (*reset)(struct virtio *device);
	/* Writes more about the device, for people. NULL: there is nothing to add. Any CPU. */
	void (*describe)(const struct virtio *device, char *buf, size_t bytes);
	/* More lines on what it has done; NULL: none. Any CPU. */
	void (*print)(const struct virtio *device, void (*print)(const char *fmt, ...));
};

struct virtio_queue {
	uint16_t size;
	ATOMIC(uint16_t) vector;
	ATOMIC(bool) enabled; /* once set, the driver cannot change the queue's set-up */
	uint64_t descriptors, available, used;
	/* Only turns, and the CPU that has claimed the queue, use the following. */
	struct vring ring;
	bool has_chain;
	uint64_t chain_at; /* how much of the chain serve has done */
	struct vring_chain chain;
};

/* Counted since the VM's start. atomic_add: a passive queue is filled during others' turns. */
typedef ATOMIC(uint64_t) virtio_counter;
struct virtio_counters {
	virtio_counter kicks, turns, requests, bytes, errors, interrupts;
};

struct virtio {
	const struct virtio_ops *ops;
	struct vm *vm;
	uint32_t index;	   /* in the platform's list */
	uint32_t number;   /* the PCI device number */
	uint64_t features; /* the features that the device offers */
	struct vpci_function function;
	struct vpci_function_ops function_ops;
	struct vmsix msix;
	uint8_t window; /* the capability through which configuration space reaches the BARs */

	/*
	 * Guards the following. The locks of struct vpci, struct vmsix and the I/O APIC are taken
	 * after it.
	 */
	struct lock lock;
	ATOMIC(uint8_t) status; /* some read it without the lock */
	uint8_t isr;
	uint8_t generation;		     /* counts the changes of config */
	bool config_told;		     /* the driver knows of the last change */
	uint8_t config[VIRTIO_CONFIG_BYTES]; /* what the driver can read */
	uint16_t config_vector, selected;
	uint32_t feature_select[2]; /* the device's and the driver's */
	uint64_t accepted;	    /* features that the driver has accepted */
	uint32_t busy;		    /* a bit for each queue that a turn or a claim uses */
	ATOMIC(bool) reset_waits;   /* a reset waits for the end of these */
	bool closed;		    /* passive queues cannot be claimed */

	ATOMIC(uint32_t) kicked; /* a bit for each queue that may have work */
	/*
	 * How long a turn waits after its notification, because the driver often adds more just
	 * after it; 0: it does not wait. The wait ends early if a vCPU of the VM halts or the vCPU
	 * that notified leaves its CPU. Until stream_end (TSC), stream_us counts instead of
	 * gather_us.
	 */
	uint32_t gather_us, stream_us;
	ATOMIC(uint64_t) stream_end;
	bool broke;	 /* the driver broke a rule once, which was logged */
	const char *why; /* set in a turn: the rule that was broken */
	struct virtio_counters counters;
	struct virtio_queue queues[VIRTIO_QUEUES_MAX];
};

/*
 * Puts a device on the VM's PCI bus and into the platform's list. Before the call the rest of
 * *device is zero; the caller may have set config and more features. Returns ERR_NOMEM if the list
 * is full, or an error of vpci_add or vpci_add_bar. While the VM is built.
 */
int virtio_add(struct virtio *device, struct platform *platform, const struct virtio_ops *ops);

/* --- virtio_work.c --- */

/*
 * Gives a queue's work to this vCPU, because its driver has notified the device, or because what
 * the device waited for has arrived. On the vCPU's own CPU.
 */
void virtio_kick(struct virtio *device, struct vcpu *vcpu, uint32_t queue);
/* The same for all queues: each may have buffers that were not served when they were notified. */
void virtio_kick_all(struct virtio *device, struct vcpu *vcpu);

/*
 * Like vm_hooks.work: runs a turn of one device that this vCPU has notified. A vCPU that halts also
 * takes turns that other vCPUs of the VM put off, to gather more or until their next slice.
 */
uint64_t virtio_work(struct vcpu *vcpu, bool leaves);

/* --- virtio_print.c --- */

/* The bytes that all of the VM's devices have moved; and some lines on each device. Any CPU. */
uint64_t virtio_bytes(const struct vm *vm);
void virtio_print(const struct vm *vm, void (*print)(const char *fmt, ...));

/* --- virtio.c --- */

enum virtio_rest {
	VIRTIO_NO_REST, /* nothing is to be done now */
	VIRTIO_REST,	/* there is more to do */
	VIRTIO_IN_TURN, /* another CPU's turn is in progress: it knows of all notifications so far,
			 * but may leave some of their work */
};
/*
 * Runs a turn of the device's work, on the CPU of the vCPU that takes it. Does nothing if another
 * turn is in progress, if a reset waits, or if the driver is not ready.
 */
enum virtio_rest virtio_take_turn(struct virtio *device);
/* Is a turn in progress, or is there notified work that no turn has done? Any CPU. */
bool virtio_has_work(struct virtio *device);

enum virtio_claim {
	VIRTIO_CLAIMED, /* until virtio_release, which comes in the same turn */
	VIRTIO_BUSY,	/* another CPU has it, for a moment */
	VIRTIO_CLOSED,	/* the VM stands still, or its driver does not run */
};

/*
 * Claims a passive queue of a device in a turn of another device. Until virtio_release the CPU may
 * use the queue's ring and the memory of the queue's VM. A reset and virtio_close wait for the
 * release. Any CPU.
 */
enum virtio_claim virtio_claim(struct virtio *device, uint32_t queue);
void virtio_release(struct virtio *device, uint32_t queue);

/*
 * From its return until virtio_open, no CPU can claim a passive queue of the device. May wait for
 * claims of other CPUs to end. Boot processor, no lock held.
 */
void virtio_close(struct virtio *device);
void virtio_open(struct virtio *device);
/* As vm_hooks.pause: all of the VM's devices. */
void virtio_pause(struct vm *vm, bool on);

/*
 * Sets the first bytes of what the driver can read of the device's configuration, and interrupts
 * the driver if it runs and does not know of them yet (virtio 1.2, 2.5.1 and 4.1.5.4). Call it
 * again until the driver runs. Any CPU, no lock held.
 */
void virtio_set_config(struct virtio *device, const void *bytes, size_t count);
/* An interrupt for what was given back, if the driver wants one. In a turn or a claim. */
void virtio_notify(struct virtio *device, uint32_t queue);
/*
 * The driver has broken a rule of this queue, named by `why`: the device stops until the driver
 * resets it. In a turn or a claim.
 */
void virtio_lose(struct virtio *device, uint32_t queue, const char *why);

/* For virtio_pci.c, which has the registers: */

/*
 * The driver writes its status. 0 resets the device, at the end of a turn that is in progress.
 * Returns whether it has set DRIVER_OK: what was notified before that is to be served now.
 */
bool virtio_write_status(struct virtio *device, uint8_t status);
/* May turns begin: the driver is ready, and the function is a bus master? Any CPU. */
bool virtio_runs(const struct virtio *device);
/* Accepts 32 features: half 0 or 1. Ignored after FEATURES_OK. Under the lock. */
void virtio_accept(struct virtio *device, uint32_t half, uint32_t features);
/* The driver has set up and enabled a queue. Under the lock. */
void virtio_enable_queue(struct virtio *device, struct virtio_queue *queue);
/*
 * Sets the power-up state. Under the lock and with no turn in progress, or while the VM is built.
 */
void virtio_reset(struct virtio *device);

/* Has the turn used up its bytes or its time? Asked between two pieces of work. */
static inline bool virtio_is_over(const struct virtio_turn *turn)
{
	return turn->bytes == 0 || cpu_rdtsc() >= turn->deadline;
}

/* Takes bytes that were moved, or work that costs as much, off the turn. */
static inline void virtio_spend(struct virtio_turn *turn, uint64_t bytes)
{
	turn->bytes -= MIN(turn->bytes, bytes);
}

/* Whether the driver has accepted this feature. In a turn or a claim. */
static inline bool virtio_has(const struct virtio *device, uint64_t feature)
{
	return (device->accepted & feature) != 0;
}

#endif
