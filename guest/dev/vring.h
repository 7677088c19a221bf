/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue (virtio 1.2, 2.7 "Split Virtqueues") from the device's side. All of it lies in
 * guest memory and is not trusted: data is copied once, then checked. There are no locks: only one
 * CPU at a time works on a queue (guest/dev/virtio.c).
 */
#ifndef UMBRA_GUEST_DEV_VRING_H
#define UMBRA_GUEST_DEV_VRING_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/*
 * The largest queue, a power of two. A chain and an indirect table have at most as many descriptors
 * as their queue.
 */
#define VRING_SIZE_MAX 256

struct vring_segment {
	uint64_t address; /* guest-physical; gmem_read and gmem_write check it */
	uint32_t bytes;
};

/* A chain of buffers: first what the device reads, then what it writes. */
struct vring_chain {
	uint16_t head;
	uint16_t count, readable; /* numbers of segments; the readable ones come first */
	uint64_t read_bytes, write_bytes;
	/* The segment that was copied last, and its offset in the readable or the writable part. */
	uint16_t near;
	uint64_t near_offset;
	struct vring_segment segments[VRING_SIZE_MAX];
};

/* 2.7.5 "The Virtqueue Descriptor Table". */
struct vring_descriptor {
	uint64_t address;
	uint32_t bytes;
	uint16_t flags;
	uint16_t next;
};

struct vring_used {
	uint32_t id;
	uint32_t bytes;
};

#define VRING_AHEAD 16u /* entries that are read or written at once */

/* Neighbours in a table of descriptors, which were read at once. */
struct vring_near {
	uint32_t first, count;
	struct vring_descriptor descriptors[VRING_AHEAD];
};

struct vring {
	/* What the driver has set up. */
	uint16_t size;
	bool event_index, indirect; /* features that the driver has accepted */
	uint64_t descriptors, available, used;

	uint16_t next_available; /* index of the next chain from the driver */
	uint16_t seen;		 /* the driver's index when it was read last */
	uint16_t next_used;	 /* index of the next used entry */
	uint16_t notified;	 /* next_used at the last vring_wants_interrupt */

	/* Each access to guest memory has a cost: several entries are read or written at once. */
	uint16_t heads[VRING_AHEAD]; /* of the chains from heads_first on */
	uint16_t heads_first, heads_count;
	struct vring_near near;		    /* descriptors of these chains */
	struct vring_used put[VRING_AHEAD]; /* what vring_put has not written yet */
	uint16_t put_at, put_count;	    /* its place in the ring */
};

/*
 * Takes the next chain. Returns 1 if there is one, 0 if there is none. Returns ERR_FORMAT,
 * ERR_RANGE or ERR_NOMEM if the ring is broken; *why then says how, and the caller must not read
 * from the ring again.
 */
int vring_take(struct vring *ring, struct gmem *gmem, struct vring_chain *chain, const char **why);

/*
 * Call after vring_take has found no chain: from now on the driver notifies again. Returns true if
 * the driver has added a chain meanwhile. Returns false if the ring cannot be accessed; the next
 * vring_take reports that.
 */
bool vring_listen(struct vring *ring, struct gmem *gmem);

/*
 * Gives a chain back to the driver, with this many bytes written at the start of its writable part.
 * Errors as vring_take.
 */
int vring_give(struct vring *ring, struct gmem *gmem, const struct vring_chain *chain,
	       uint32_t written, const char **why);

/*
 * The same for several chains, which the driver is to see all at once: vring_put notes one of them,
 * the nth since the last vring_show (from 0 on), vring_show gives back as many as were noted.
 * vring_untake makes the chains that were taken last the next ones again; what was noted of them
 * counts for nothing.
 */
int vring_put(struct vring *ring, struct gmem *gmem, uint16_t nth, uint16_t head, uint32_t written,
	      const char **why);
int vring_show(struct vring *ring, struct gmem *gmem, uint16_t count, const char **why);
void vring_untake(struct vring *ring, uint16_t count);

/* Whether the driver wants an interrupt for the chains that were given back since the last call. */
bool vring_wants_interrupt(struct vring *ring, struct gmem *gmem);

/*
 * How many of these bytes to copy at once: no more than lie in VRING_RUN segments, each of which
 * may cost a page that has to be opened. At least one if the chain has any at the offset.
 */
#define VRING_RUN 8u
size_t vring_run(const struct vring_chain *chain, bool writable, uint64_t offset, size_t bytes);

/*
 * Copy bytes of the chain from an offset on: from its readable part, or to its writable part.
 * Return ERR_RANGE if the bytes are not all in the chain or not all in RAM, or ERR_NOMEM. Parts
 * before an error may have been copied.
 */
int vring_read(struct vring_chain *chain, struct gmem *gmem, uint64_t offset, void *buf,
	       size_t bytes);
int vring_write(struct vring_chain *chain, struct gmem *gmem, uint64_t offset, const void *buf,
		size_t bytes);

#endif
