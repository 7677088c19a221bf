/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a frame into the receive buffers of a port, on behalf of another VM, the sender. The
 * buffers are taken from the ring one by one. If there are too few, they are put back, so that they
 * are the next ones again.
 */
#include "guest/dev/virtio_net.h"

#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

/* A frame that is being written. The driver sees it once it is complete. */
struct filling {
	struct virtio_net *port;
	struct virtio_queue *queue; /* queue->chain is the chain that is written to */
	uint32_t most;		    /* buffers that the chains may have, see net_pieces_max */
	uint32_t buffers;	    /* buffers that they have */
	uint16_t chains;	    /* number of chains that were taken */
	uint64_t at;		    /* next byte to write in that chain */
	uint32_t bytes;		    /* bytes of the frame that were written */
};

/* Why a frame does not fit into the buffers. */
enum trouble {
	FINE,
	NO_BUFFER,
	SHORT_BUFFER,
	BROKEN_RING, /* virtio_lose was called */
};

static enum trouble broken(struct filling *fill, const char *why)
{
	virtio_lose(&fill->port->virtio, NET_QUEUE_RECEIVE, why);
	return BROKEN_RING;
}

/* Copies only those segments that the chain has. */
static void copy_chain(struct vring_chain *to, const struct vring_chain *from)
{
	memcpy(to, from,
	       offsetof(struct vring_chain, segments) + from->count * sizeof(from->segments[0]));
}

static enum trouble take(struct filling *fill)
{
	struct virtio *device = &fill->port->virtio;
	struct vring *ring = &fill->queue->ring;
	const char *why;
	int got;

	if (fill->chains == 1) {
		copy_chain(&fill->port->first, &fill->queue->chain);
	}
	if (fill->chains != 0 &&
	    vring_put(ring, &device->vm->gmem, (uint16_t)(fill->chains - 1),
		      fill->queue->chain.head, (uint32_t)fill->at, &why) != 0) {
		return broken(fill, why);
	}
	got = vring_take(ring, &device->vm->gmem, &fill->queue->chain, &why);
	if (got < 0) {
		return broken(fill, why);
	}
	if (got == 0) {
		return NO_BUFFER;
	}
	fill->at = fill->chains == 0 ? sizeof(struct net_header) : 0;
	fill->chains++;
	fill->buffers += fill->queue->chain.count;
	if (fill->buffers > fill->most) {
		return fill->chains == 1 ? SHORT_BUFFER : NO_BUFFER;
	}
	if (fill->queue->chain.write_bytes >= MAX(fill->at, 1u)) {
		return FINE;
	}
	return fill->chains == 1 ? SHORT_BUFFER : broken(fill, "a buffer has no room");
}

static enum trouble put(struct filling *fill, const uint8_t *data, size_t bytes)
{
	struct virtio *device = &fill->port->virtio;

	while (bytes != 0) {
		const uint64_t room = fill->queue->chain.write_bytes - fill->at;
		const size_t now = MIN(bytes, room);
		enum trouble trouble = FINE;

		if (room == 0) {
			trouble = virtio_has(device, NET_F_MRG_RXBUF) ? take(fill) : SHORT_BUFFER;
		} else if (vring_write(&fill->queue->chain, &device->vm->gmem, fill->at, data,
				       now) != 0) {
			return broken(fill, "a buffer is not in RAM");
		}
		if (trouble != FINE) {
			return trouble;
		}
		fill->at += now;
		fill->bytes += (uint32_t)now;
		data += now;
		bytes -= now;
	}
	return FINE;
}

/* Writes the header and makes all chains of the frame visible to the driver at once. */
static enum trouble show(struct filling *fill, struct net_header header)
{
	struct virtio *device = &fill->port->virtio;
	struct vring_chain *chain = &fill->queue->chain;
	struct vring_chain *first = fill->chains > 1 ? &fill->port->first : chain;
	struct gmem *gmem = &device->vm->gmem;
	const char *why = "a buffer is not in RAM";

	header.num_buffers = fill->chains;
	if (vring_write(first, gmem, 0, &header, sizeof(header)) != 0 ||
	    vring_put(&fill->queue->ring, gmem, (uint16_t)(fill->chains - 1), chain->head,
		      (uint32_t)fill->at, &why) != 0 ||
	    vring_show(&fill->queue->ring, gmem, fill->chains, &why) != 0) {
		return broken(fill, why);
	}
	virtio_notify(device, NET_QUEUE_RECEIVE);
	atomic_add(&device->counters.requests, 1);
	atomic_add(&device->counters.bytes, fill->bytes);
	atomic_add(&fill->port->counters.received, 1);
	atomic_add(&fill->port->counters.received_bytes, fill->bytes);
	return FINE;
}

/*
 * Ends a frame that does not fit. If the frame has one chain, and this is too short or in too many
 * pieces, the chain is returned with 0 bytes. Otherwise every later frame would meet it first. If
 * there are too few chains, or several with too many pieces, they stay in the ring.
 */
static enum trouble give_up(struct filling *fill, enum trouble trouble)
{
	struct virtio *device = &fill->port->virtio;
	struct vring *ring = &fill->queue->ring;
	const char *why;

	if (trouble == NO_BUFFER) {
		vring_untake(ring, fill->chains);
		atomic_add(&fill->port->counters.no_buffer, 1);
	} else if (trouble == SHORT_BUFFER) {
		atomic_add(&fill->port->counters.short_buffer, 1);
		if (vring_give(ring, &device->vm->gmem, &fill->queue->chain, 0, &why) != 0) {
			return broken(fill, why);
		}
		virtio_notify(device, NET_QUEUE_RECEIVE);
	}
	return trouble;
}

static struct filling begin(struct virtio_net *to, uint32_t bytes)
{
	return (struct filling){
		.port = to,
		.most = net_pieces_max(bytes),
		.queue = &to->virtio.queues[NET_QUEUE_RECEIVE],
	};
}

/* --- Reading from the sender --- */

/*
 * Reads bytes of the frame into the CPU's page. The sender may have changed the Ethernet addresses
 * since they were checked, so the checked copy replaces them.
 */
static bool read_frame(struct virtio_net *from, uint8_t *page, uint32_t at, size_t bytes)
{
	const struct net_sending *sending = &from->sending;
	struct virtio *device = &from->virtio;

	if (vring_read(&device->queues[NET_QUEUE_TRANSMIT].chain, &device->vm->gmem,
		       sizeof(struct net_header) + at, page, bytes) != 0) {
		return false;
	}
	from->sending.moved += (uint32_t)bytes;
	if (at == 0) {
		memcpy(page, sending->ethernet, MIN(bytes, sizeof(sending->ethernet)));
	}
	return true;
}

/* The header that the receiver gets. It asks only for what the receiver's driver has accepted. */
static struct net_header header_for(const struct virtio_net *from, const struct virtio_net *to)
{
	const struct net_header *sent = &from->sending.header;

	if ((sent->flags & NET_NEEDS_CSUM) == 0 || !virtio_has(&to->virtio, NET_F_GUEST_CSUM)) {
		return (struct net_header){ .gso_type = NET_GSO_NONE };
	}
	return (struct net_header){
		.flags = NET_NEEDS_CSUM,
		.gso_type = sent->gso_type,
		.gso_size = sent->gso_size,
		.csum_start = sent->csum_start,
		.csum_offset = sent->csum_offset,
	};
}

static enum net_gave ended(struct filling *fill, enum trouble trouble)
{
	(void)give_up(fill, trouble);
	return NET_GAVE_ALL;
}

/* The sender is at fault: the receiver's driver sees nothing of what was written. */
static enum net_gave failed(struct filling *fill, enum net_gave why)
{
	vring_untake(&fill->queue->ring, fill->chains);
	return why;
}

/*
 * Returns how many bytes to copy next. The first piece has all of the frame's headers. A later
 * piece ends with the receive buffer if that still has half a page of room, because then one write
 * is enough.
 */
static uint32_t piece(const struct filling *fill, uint32_t at, uint32_t bytes)
{
	const uint64_t room = fill->queue->chain.write_bytes - fill->at;
	const uint64_t most = at != 0 && room >= PAGE_SIZE / 2 ? MIN(room, PAGE_SIZE) : PAGE_SIZE;

	return (uint32_t)MIN(bytes - at, most);
}

/*
 * Does the port send to this neighbour, and lately to no other? Then its next frames probably
 * acknowledge the neighbour's stream, and may be delayed like the frames of that stream. Frames for
 * others must not wait.
 */
static bool answers(const struct virtio_net *port, const struct virtio_net *neighbour)
{
	return atomic_load_relaxed(&port->peer) == net_number(neighbour->address) &&
	       cpu_rdtsc() >= atomic_load_relaxed(&port->others_end);
}

/* Gives the whole frame, piece by piece. */
static enum net_gave give_whole(struct virtio_net *from, struct virtio_net *to)
{
	const struct net_sending *sending = &from->sending;
	struct net_header header = header_for(from, to);
	struct filling fill = begin(to, sending->bytes);
	uint8_t *page = net_page();
	enum trouble trouble = take(&fill);
	struct net_tcp tcp;

	for (uint32_t at = 0, now; at < sending->bytes && trouble == FINE; at += now) {
		now = piece(&fill, at, sending->bytes);
		if (!read_frame(from, page, at, now)) {
			return failed(&fill, NET_UNREADABLE);
		}
		if (at == 0 && header.gso_type != NET_GSO_NONE) {
			if (!net_find_tcp(page, now, &header, &tcp)) {
				return failed(&fill, NET_MALFORMED);
			}
			header.hdr_len = tcp.payload;
		}
		/* A frame whose checksum Umbra completes fits in one page: see is_in_order. */
		if ((sending->header.flags & NET_NEEDS_CSUM) != 0 && header.flags == 0) {
			net_checksum(page, now, &sending->header);
		}
		trouble = put(&fill, page, now);
	}
	if (trouble == FINE) {
		trouble = show(&fill, header);
	}
	if (trouble == FINE && sending->bytes > NET_FRAME_MAX &&
	    (sending->ethernet[0] & NET_GROUP_BIT) == 0 && answers(to, from)) {
		net_streams(to);
	}
	return ended(&fill, trouble);
}

/* --- Segments --- */

/*
 * Does the receiver take the frame whole? A frame that was begun in segments goes on in segments.
 */
static bool takes_whole(const struct net_sending *sending, const struct virtio_net *to)
{
	const uint64_t wanted = sending->header.gso_type == NET_GSO_TCPV6 ? NET_F_GUEST_TSO6
									  : NET_F_GUEST_TSO4;

	return sending->header.gso_type == NET_GSO_NONE ||
	       (sending->segments == 0 && virtio_has(&to->virtio, NET_F_GUEST_CSUM) &&
		virtio_has(&to->virtio, wanted));
}

/*
 * Gives the next segment. The headers are read and checked again for each segment. If the sender
 * changes them meanwhile, the receiver gets a frame that the sender could have sent anyway.
 */
static enum net_gave give_segment(struct virtio_net *from, struct virtio_net *to)
{
	struct net_sending *sending = &from->sending;
	const uint32_t head = MIN(sending->bytes, NET_FRAME_MAX);
	struct net_segment segment = { .index = sending->segments, .at = sending->at };
	struct filling fill = begin(to, head);
	uint8_t *page = net_page();
	enum trouble trouble;
	struct net_tcp tcp;

	if (!read_frame(from, page, 0, head)) {
		return NET_UNREADABLE;
	}
	if (!net_find_tcp(page, head, &sending->header, &tcp) ||
	    tcp.payload + (uint32_t)sending->header.gso_size > NET_FRAME_MAX ||
	    tcp.payload + sending->at >= sending->bytes) {
		return NET_MALFORMED;
	}
	segment.of = sending->bytes - tcp.payload;
	segment.bytes = MIN(segment.of - segment.at, (uint32_t)sending->header.gso_size);
	if (!read_frame(from, page + tcp.payload, tcp.payload + segment.at, segment.bytes)) {
		return NET_UNREADABLE;
	}
	net_make_segment(page, &tcp, &segment);
	trouble = take(&fill);
	if (trouble == FINE) {
		trouble = put(&fill, page, tcp.payload + segment.bytes);
	}
	if (trouble == FINE) {
		trouble = show(&fill, (struct net_header){ .gso_type = NET_GSO_NONE });
	}
	if (trouble != FINE) {
		return ended(&fill, trouble); /* without this segment the others are of no use */
	}
	sending->at += segment.bytes;
	sending->segments++;
	return segment.at + segment.bytes < segment.of ? NET_GAVE_PART : NET_GAVE_ALL;
}

enum net_gave net_give(struct virtio_net *from, struct virtio_net *to)
{
	const bool whole = takes_whole(&from->sending, to);
	enum net_gave gave = whole ? give_whole(from, to) : give_segment(from, to);

	secure_zero(net_page(), whole ? MIN(from->sending.bytes, PAGE_SIZE) : PAGE_SIZE);
	return gave;
}
