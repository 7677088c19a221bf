/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue (virtio 1.2, 2.7 "Split Virtqueues") as its device sees it. All of it lies in
 * guest memory and is hostile: what is read is copied once, then checked. Nobody here locks: one
 * CPU at a time works on a queue (guest/dev/virtio.c).
 */
#ifndef UMBRA_GUEST_DEV_VRING_H
#define UMBRA_GUEST_DEV_VRING_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/* A power of two. A chain is no longer than its queue, an indirect table no longer either. */
#define VRING_SIZE_MAX 128

struct vring_segment {
	uint64_t address; /* guest-physical, not checked: the door does that */
	uint32_t bytes;
};

/* A chain of buffers: first what the device reads, then what it writes. */
struct vring_chain {
	uint16_t head;
	uint16_t count, readable; /* segments; the first ones are those to read */
	uint64_t read_bytes, write_bytes;
	struct vring_segment segments[VRING_SIZE_MAX];
};

struct vring {
	/* What the driver has set up. */
	uint16_t size;
	bool event_index, indirect; /* features that it has accepted */
	uint64_t descriptors, available, used;

	uint16_t next_available; /* index of the next chain that the driver gives */
	uint16_t next_used;	 /* index of the next used entry */
	uint16_t notified;	 /* next_used when the driver was last asked about */
};

/*
 * Takes the next chain. 1: there is one; 0: there is none; ERR_FORMAT, ERR_RANGE or ERR_NOMEM: the
 * ring, and *why says what is wrong with it; nothing more is to be read from it.
 */
int vring_take(struct vring *ring, struct gmem *gmem, struct vring_chain *chain, const char **why);

/*
 * After vring_take has found none: from here on the driver notifies again. True: it has added some
 * meanwhile. False also when the ring cannot be written; the next vring_take says so.
 */
bool vring_listen(struct vring *ring, struct gmem *gmem);

/* Gives a chain back, with this many bytes written at its beginning. Errors as vring_take. */
int vring_give(struct vring *ring, struct gmem *gmem, const struct vring_chain *chain,
	       uint32_t written, const char **why);

/* Does the driver want an interrupt for what was given back since the last call? */
bool vring_wants_interrupt(struct vring *ring, struct gmem *gmem);

/*
 * Bytes of the chain from an offset on: of what the device reads, or writes. ERR_RANGE: they are
 * not all in the chain, or not all in RAM; ERR_NOMEM. Parts before an error may have been copied.
 */
int vring_read(const struct vring_chain *chain, struct gmem *gmem, uint64_t offset, void *buf,
	       size_t bytes);
int vring_write(const struct vring_chain *chain, struct gmem *gmem, uint64_t offset,
		const void *buf, size_t bytes);

#endif
