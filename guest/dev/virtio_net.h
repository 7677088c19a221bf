/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device (virtio 1.2, 5.1): a port of a switch between the VMs that name the same net in
 * their `net` lines. There is no other way into a net or out of it.
 *
 * All is done in the sender's turn: a frame is read from its VM's memory a page at a time, through
 * a page of the CPU's own, and written to the buffers of the port it is for, whose receive queue
 * is claimed meanwhile. The memory of one VM alone is open at a time. A receiver without buffers
 * loses the frame: nobody waits, and nothing is kept.
 */
#ifndef UMBRA_GUEST_DEV_VIRTIO_NET_H
#define UMBRA_GUEST_DEV_VIRTIO_NET_H

#include "guest/dev/net_frame.h"
#include "guest/dev/virtio.h"
#include "guest/vm_config.h"

struct net;

/* Frames and what became of them. Written by whichever CPU has a turn; atomic. */
struct net_counters {
	/* That the VM has sent, and what of it reached nobody. */
	uint64_t sent, sent_bytes;
	uint64_t forged;    /* another source address than the port's */
	uint64_t nowhere;   /* a destination that no port of the net has */
	uint64_t malformed; /* what it asks of the device cannot be done */
	uint64_t limited;   /* to a group, sooner than the limit allows */
	/* That came to the port, and what the VM lost of it. */
	uint64_t received, received_bytes;
	uint64_t no_buffer;
	uint64_t short_buffer;
	uint64_t closed; /* while it was paused, or without a driver */
};

/* The frame that the port's turn is at. What was checked of it is not read again. */
struct net_sending {
	bool begun, ended;
	struct net_header header;
	uint8_t ethernet[NET_ETHERNET];
	uint32_t bytes;	   /* of the frame */
	uint64_t after;	   /* ports up to this one (virtio_net.order) have had it */
	uint32_t at;	   /* payload that the next one has had, in segments */
	uint32_t segments; /* how many these were */
	uint32_t moved;	   /* bytes that net_give has copied */
};

struct virtio_net {
	struct virtio virtio;
	const struct vm_net *config;
	uint8_t address[NET_ADDRESS];
	/* Of the switch: net_switch.c. */
	struct net *net;
	struct virtio_net *next;
	uint64_t order; /* in the net; later ports have greater ones */
	/* The transmit turn's alone. */
	struct net_sending sending;
	uint32_t group_tokens; /* frames to groups that may be sent at once */
	uint64_t group_since;  /* TSC of the last one that was added */
	/* Of who has claimed the receive queue. */
	struct vring_chain first; /* of a frame that takes several */
	struct net_counters counters;
};

#define NET_QUEUE_RECEIVE  0
#define NET_QUEUE_TRANSMIT 1

/* 5.1.3 "Feature bits". */
#define NET_F_CSUM	 BIT(0) /* the device completes checksums */
#define NET_F_GUEST_CSUM BIT(1) /* the driver does */
#define NET_F_MTU	 BIT(3)
#define NET_F_MAC	 BIT(5)
#define NET_F_GUEST_TSO4 BIT(7)
#define NET_F_GUEST_TSO6 BIT(8)
#define NET_F_HOST_TSO4	 BIT(11)
#define NET_F_HOST_TSO6	 BIT(12)
#define NET_F_MRG_RXBUF	 BIT(15)
#define NET_F_STATUS	 BIT(16)

/* --- net_switch.c --- */

/* The address of a VM's nth port, where its section gives none: the same at each start. */
void net_derive_address(const char *vm, uint32_t n, uint8_t address[NET_ADDRESS]);

/*
 * Adds a port to the net that its configuration names; it has its address. ERR_EXISTS: a port of
 * that net has this address; ERR_NOMEM. Boot processor.
 */
int net_join(struct virtio_net *port);
/* Takes it out. No CPU is at its receive queue on return. Boot processor, no turn of it is on. */
void net_leave(struct virtio_net *port);

enum net_found {
	NET_NOBODY,  /* there is no further port that the frame is for */
	NET_CLAIMED, /* its receive queue is the caller's (virtio_release) */
	NET_BUSY,    /* there is one, and another CPU has its queue for a moment */
	NET_CLOSED,  /* there is one, which loses the frame; that was counted */
};
/*
 * The next port behind sending->after that the frame is for, which is not its sender. For
 * NET_CLAIMED and NET_CLOSED *order is its order. Any CPU.
 */
enum net_found net_find(const struct virtio_net *from, struct virtio_net **to, uint64_t *order);

/* This CPU's page, on which data of one VM lies while it is copied to another's. In a turn. */
uint8_t *net_page(void);

/* --- virtio_net_receive.c --- */

enum net_gave {
	NET_GAVE_ALL,	/* the frame is the receiver's, or lost for it, which was counted */
	NET_GAVE_PART,	/* a segment of it is: there are more */
	NET_UNREADABLE, /* the sender's buffers are not in RAM */
	NET_MALFORMED,	/* it is not what its header says */
};
/*
 * Gives the frame that `from` sends to a port whose receive queue is claimed; of one that has to be
 * segmented, the next segment. In a turn of `from`.
 */
enum net_gave net_give(struct virtio_net *from, struct virtio_net *to);

extern const struct vdev_ops virtio_net_device;

#endif
