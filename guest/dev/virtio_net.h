/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device (virtio 1.2, 5.1): a port of a switch between the VMs that name the same net in
 * their `net` lines. There is no other way into a net or out of it.
 *
 * The sender's turn does all the work. It claims the receive queue of the port that the frame is
 * for. Then it reads the frame from the sender's memory into a page that belongs to the CPU, and
 * writes it from there to the receiver's buffers, one page after the other. So the memory of only
 * one VM is open at a time. A receiver without buffers loses the frame: no VM waits for another,
 * and Umbra keeps no frames.
 */
#ifndef UMBRA_GUEST_DEV_VIRTIO_NET_H
#define UMBRA_GUEST_DEV_VIRTIO_NET_H

#include "guest/dev/net_frame.h"
#include "guest/dev/virtio.h"
#include "guest/vm_config.h"
#include "vmm/base/tsc.h"

struct net;

/* Counts of frames by what became of them. Any CPU that has a turn writes them; atomic. */
struct net_counters {
	/* Frames that the VM sent, and how many of them reached no port, by cause. */
	virtio_counter sent, sent_bytes;
	virtio_counter forged;	  /* the source address is not the port's */
	virtio_counter nowhere;	  /* a destination that no port of the net has */
	virtio_counter malformed; /* its header asks for what cannot be done; too many pieces */
	virtio_counter limited;	  /* to a group, above the limit of the port */
	/* Frames that came to the port, and how many of them the VM lost, by cause. */
	virtio_counter received, received_bytes;
	virtio_counter no_buffer;
	virtio_counter short_buffer;
	virtio_counter closed; /* the VM was paused or had no driver */
};

/* The frame that the port sends now. What was checked of it is not read again. */
struct net_sending {
	bool begun, ended;
	struct net_header header;
	uint8_t ethernet[NET_ETHERNET];
	uint32_t bytes;	   /* of the frame */
	uint64_t after;	   /* ports up to this one (virtio_net.order) have had it */
	uint32_t at;	   /* bytes of payload that the next port has received, in segments */
	uint32_t segments; /* how many segments it has received */
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
	/* Only the transmit turn changes these. */
	struct net_sending sending;
	uint32_t bulk;	       /* how many more small frames count as part of a stream */
	uint32_t group_tokens; /* frames to groups that may be sent at once */
	uint64_t group_since;  /* TSC of the last one that was added */
	/*
	 * The destination of the last frame that was not to a group, as a number; 0: none yet.
	 * Until others_end (TSC) frames for the destination before it may still follow.
	 */
	ATOMIC(uint64_t) peer, others_end;
	/* Only the CPU that has claimed the receive queue uses this. */
	struct vring_chain first; /* the first chain of a frame that takes several */
	struct net_counters counters;
};

/* How long a turn waits for more frames while the sender's vCPU runs: in a stream; otherwise. */
#define NET_STREAM_US 1000
#define NET_GATHER_US 100
/* A stream ends after so long without a large frame: longer than other vCPUs' slices in between. */
#define NET_PAUSE_US 10000

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

/*
 * Returns how many buffers a frame of so many bytes may take at most, at the sender or at the
 * receiver. For each, a page may have to be opened, all in one turn of the sender. Drivers need
 * only a few, and one for each 2 KiB.
 */
static inline uint32_t net_pieces_max(uint64_t bytes)
{
	return 64 + (uint32_t)(bytes / 256);
}

/* An address as a number. */
static inline uint64_t net_number(const uint8_t address[NET_ADDRESS])
{
	uint64_t number = 0;

	for (unsigned i = 0; i < NET_ADDRESS; i++) {
		number = number << 8 | address[i];
	}
	return number;
}

/*
 * The port has sent a large frame or received one: its stream goes on. In a turn, or a claim of its
 * queue.
 */
static inline void net_streams(struct virtio_net *port)
{
	atomic_store_relaxed(&port->virtio.stream_end, cpu_rdtsc() + tsc_from_us(NET_PAUSE_US));
}

/* --- net_switch.c --- */

/* The address of a VM's nth port if its section gives none. It is the same at each start. */
void net_derive_address(const char *vm, uint32_t n, uint8_t address[NET_ADDRESS]);

/*
 * Adds a port, whose address is set, to the net that its configuration names. Returns ERR_EXISTS if
 * another port of that net has the address, or ERR_NOMEM. Boot processor.
 */
int net_join(struct virtio_net *port);
/*
 * Removes the port from its net. On return no CPU uses its receive queue. No turn of the port may
 * be on. Boot processor.
 */
void net_leave(struct virtio_net *port);

enum net_found {
	NET_NO_PORT, /* there is no further port that the frame is for */
	NET_CLAIMED, /* the caller has claimed its receive queue (virtio_release) */
	NET_BUSY,    /* there is one, but another CPU has claimed its queue for a moment */
	NET_CLOSED,  /* there is one, but it loses the frame, which was counted */
};
/*
 * Finds the next port after from->sending.after that the frame is for, apart from the sender. For
 * NET_CLAIMED and NET_CLOSED *order is that port's order. Any CPU.
 */
enum net_found net_find(const struct virtio_net *from, struct virtio_net **to, uint64_t *order);

/* This CPU's page, which holds data while it is copied from one VM to another. Only in a turn. */
uint8_t *net_page(void);

/* --- virtio_net_receive.c --- */

enum net_gave {
	NET_GAVE_ALL,	/* the receiver has the frame, or has lost it, which was counted */
	NET_GAVE_PART,	/* the receiver has a segment of it, and there are more */
	NET_UNREADABLE, /* the sender's buffers are not in RAM */
	NET_MALFORMED,	/* the frame is not what its header says */
};
/*
 * Gives the frame that `from` sends to a port whose receive queue is claimed. If the frame must be
 * segmented, gives only the next segment. In a turn of `from`.
 */
enum net_gave net_give(struct virtio_net *from, struct virtio_net *to);

extern const struct vdev_ops virtio_net_device;

#endif
