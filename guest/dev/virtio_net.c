/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device, and the turns of its transmit queue. A frame's header and addresses are read once and
 * kept; the rest is read when a port gets it.
 */
#include "guest/dev/virtio_net.h"

#include "guest/platform_state.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/log.h"
#include "vmm/host/page_alloc.h"

#define OFFLOADS                                                                                 \
	(NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_HOST_TSO4 | \
	 NET_F_HOST_TSO6)

/* 5.1.4 "Device configuration layout". */
struct config {
	uint8_t mac[NET_ADDRESS];
	uint16_t status;
	uint16_t max_virtqueue_pairs;
	uint16_t mtu;
} __attribute__((packed));
_Static_assert(sizeof(struct config) == 12, "virtio 1.2, 5.1.4");
#define STATUS_LINK_UP BIT(0)

/* Limits of frames to groups: in a second, and at once after a pause. */
#define GROUP_PER_S 1000u
#define GROUP_BURST 256u

/* Bytes of a turn that each frame costs for each port that it is for, however short it is. */
#define FRAME_COST 256u

/* After a frame that was larger than a segment, so many smaller ones are part of its stream. */
#define BULK_FRAMES 8u

/* May the port send a frame to a group now? */
static bool is_within_limit(struct virtio_net *net)
{
	const uint64_t step = MAX(tsc_from_us(1000000 / GROUP_PER_S), 1u);
	const uint64_t now = cpu_rdtsc(), more = (now - net->group_since) / step;

	if (more != 0) {
		net->group_tokens = (uint32_t)MIN(net->group_tokens + more, GROUP_BURST);
		net->group_since = now;
	}
	if (net->group_tokens == 0) {
		return false;
	}
	net->group_tokens--;
	return true;
}

/*
 * Does the header ask only for features that the driver has accepted, and do its fields lie within
 * the frame? A frame that is not to be segmented is at most NET_FRAME_MAX bytes long, so if Umbra
 * completes its checksum, all of it lies in one page.
 */
static bool is_in_order(const struct virtio_net *net)
{
	const struct net_sending *sending = &net->sending;
	const struct net_header *header = &sending->header;
	const bool csum = (header->flags & NET_NEEDS_CSUM) != 0;
	const uint64_t wanted = header->gso_type == NET_GSO_TCPV4   ? NET_F_HOST_TSO4
				: header->gso_type == NET_GSO_TCPV6 ? NET_F_HOST_TSO6
								    : 0;

	if (csum && (!virtio_has(&net->virtio, NET_F_CSUM) || header->csum_start < NET_ETHERNET ||
		     (uint32_t)header->csum_start + header->csum_offset + 2 > sending->bytes)) {
		return false;
	}
	if (header->gso_type == NET_GSO_NONE) {
		return sending->bytes <= NET_FRAME_MAX;
	}
	return csum && virtio_has(&net->virtio, wanted) && header->gso_size != 0 &&
	       sending->bytes <= NET_GSO_MAX;
}

/* Returns the counter for the reason to drop the frame; NULL: the frame may be sent. */
static virtio_counter *refuse(struct virtio_net *net)
{
	const uint8_t *ethernet = net->sending.ethernet;

	if (memcmp(ethernet + NET_ADDRESS, net->address, NET_ADDRESS) != 0) {
		return &net->counters.forged;
	}
	if (!is_in_order(net)) {
		return &net->counters.malformed;
	}
	return (ethernet[0] & NET_GROUP_BIT) != 0 && !is_within_limit(net) ? &net->counters.limited
									   : NULL;
}

/* What a frame's chain begins with. */
struct head {
	struct net_header header;
	uint8_t ethernet[NET_ETHERNET];
} __attribute__((packed));

/*
 * Decides whether the port's stream goes on, and so how long the next turn may wait for more
 * frames. A sender of large TCP frames usually sends more of them, and gains by fewer turns,
 * interrupts and acknowledgements. For other senders, and after a pause, every microsecond may
 * count.
 */
static void set_gathering(struct virtio_net *net)
{
	if (net->sending.bytes > NET_FRAME_MAX) {
		net->bulk = BULK_FRAMES;
		net_streams(net);
	} else if (net->bulk == 0 || --net->bulk == 0) {
		atomic_store_relaxed(&net->virtio.stream_end, 0);
	}
}

static bool is_for_group(const struct virtio_net *net)
{
	return (net->sending.ethernet[0] & NET_GROUP_BIT) != 0;
}

/*
 * Notes the destination: a frame must not wait because of a stream from another neighbour (answers
 * in virtio_net_receive.c).
 */
static void note_peer(struct virtio_net *net)
{
	const uint64_t before = atomic_load_relaxed(&net->peer);
	const uint64_t now = net_number(net->sending.ethernet);

	if (!is_for_group(net) && now != before) {
		atomic_store_relaxed(&net->others_end,
				     before == 0 ? 0 : cpu_rdtsc() + tsc_from_us(NET_PAUSE_US));
		atomic_store_relaxed(&net->peer, now);
	}
}

/* Reads and checks the headers of a new frame. Returns false if they cannot be read. */
static bool begin(struct virtio_net *net, struct vring_chain *chain)
{
	struct net_sending *sending = &net->sending;
	const uint64_t bytes = chain->read_bytes - sizeof(sending->header);
	struct gmem *gmem = &net->virtio.vm->gmem;
	virtio_counter *refused = &net->counters.malformed;
	struct head head;

	*sending = (struct net_sending){ .begun = true };
	atomic_add(&net->counters.sent, 1);
	if (chain->read_bytes >= sizeof(head) && bytes <= NET_GSO_MAX &&
	    chain->count <= net_pieces_max(bytes)) {
		sending->bytes = (uint32_t)bytes;
		if (vring_read(chain, gmem, 0, &head, sizeof(head)) != 0) {
			return false;
		}
		sending->header = head.header;
		memcpy(sending->ethernet, head.ethernet, NET_ETHERNET);
		atomic_add(&net->counters.sent_bytes, bytes);
		atomic_add(&net->virtio.counters.bytes, bytes);
		refused = refuse(net);
		set_gathering(net);
		note_peer(net);
	}
	if (refused != NULL) {
		atomic_add(refused, 1);
		sending->ended = true;
	}
	return true;
}

/* The port of this order has received or lost the frame: continue with the port after it. */
static void pass(struct virtio_net *net, uint64_t order)
{
	struct net_sending *sending = &net->sending;

	sending->after = order;
	sending->at = 0;
	sending->segments = 0;
	sending->ended = !is_for_group(net);
}

/* Gives the frame to a claimed port. Returns false if the sender's buffers are not in RAM. */
static bool give(struct virtio_net *net, struct virtio_net *to, uint64_t order)
{
	enum net_gave gave = net_give(net, to);

	virtio_release(&to->virtio, NET_QUEUE_RECEIVE);
	switch (gave) {
	case NET_GAVE_PART: break;
	case NET_GAVE_ALL: pass(net, order); break;
	case NET_MALFORMED:
		atomic_add(&net->counters.malformed, 1);
		net->sending.ended = true;
		break;
	case NET_UNREADABLE:
	default: return false;
	}
	return true;
}

static enum virtio_step serve(struct virtio *device, uint32_t number, struct virtio_turn *turn,
			      uint32_t *written)
{
	struct virtio_net *net = (struct virtio_net *)device;
	struct net_sending *sending = &net->sending;
	struct virtio_net *to;
	uint64_t order;

	device->why = "a frame is not in RAM";
	if (!sending->begun && !begin(net, &device->queues[number].chain)) {
		return VIRTIO_BROKEN;
	}
	while (!sending->ended) {
		if (virtio_is_over(turn)) {
			return VIRTIO_MORE;
		}
		sending->moved = 0;
		switch (net_find(net, &to, &order)) {
		case NET_CLAIMED:
			if (!give(net, to, order)) {
				return VIRTIO_BROKEN;
			}
			break;
		case NET_CLOSED: pass(net, order); break;
		case NET_BUSY: return VIRTIO_MORE;
		case NET_NO_PORT:
		default:
			atomic_add(&net->counters.nowhere, !is_for_group(net));
			sending->ended = true;
			break;
		}
		virtio_spend(turn, FRAME_COST + sending->moved);
	}
	virtio_spend(turn, FRAME_COST);
	sending->begun = false;
	return VIRTIO_DONE;
}

static void reset(struct virtio *device)
{
	struct virtio_net *net = (struct virtio_net *)device;

	net->sending = (struct net_sending){ .begun = false };
	net->bulk = 0;
	atomic_store_relaxed(&net->peer, 0);
	atomic_store_relaxed(&net->others_end, 0);
	atomic_store_relaxed(&device->stream_end, 0);
}

/* --- For people --- */

static void describe(const struct virtio *device, char *buf, size_t bytes)
{
	const struct virtio_net *net = (const struct virtio_net *)device;
	const uint8_t *a = net->address;

	(void)str_printf(buf, bytes, " %s %02x:%02x:%02x:%02x:%02x:%02x", net->config->name, a[0],
			 a[1], a[2], a[3], a[4], a[5]);
}

static void print_counters(const struct virtio *device, void (*print)(const char *fmt, ...))
{
	const struct virtio_net *net = (const struct virtio_net *)device;
	const struct net_counters *now = &net->counters;

	print("           sent %lu frames, %lu KiB; dropped: %lu with a forged source, %lu to an "
	      "unknown address, %lu malformed, %lu over the limit of broadcasts",
	      atomic_load_relaxed(&now->sent), atomic_load_relaxed(&now->sent_bytes) >> 10,
	      atomic_load_relaxed(&now->forged), atomic_load_relaxed(&now->nowhere),
	      atomic_load_relaxed(&now->malformed), atomic_load_relaxed(&now->limited));
	print("           received %lu frames, %lu KiB; lost: %lu without a buffer, %lu longer "
	      "than the buffers, %lu while it could not receive",
	      atomic_load_relaxed(&now->received), atomic_load_relaxed(&now->received_bytes) >> 10,
	      atomic_load_relaxed(&now->no_buffer), atomic_load_relaxed(&now->short_buffer),
	      atomic_load_relaxed(&now->closed));
}

/* --- The device --- */

static const struct virtio_ops net_ops = {
	.name = "virtio-net",
	.type = 1,
	.class_code = 0x020000,
	.features = NET_F_MTU | NET_F_MAC | NET_F_MRG_RXBUF | NET_F_STATUS,
	.queues = 2,
	.passive = BIT(NET_QUEUE_RECEIVE),
	.config_bytes = sizeof(struct config),
	.serve = serve,
	.reset = reset,
	.describe = describe,
	.print = print_counters,
};

static void configure(struct virtio_net *net, uint32_t n)
{
	struct config config = { .status = STATUS_LINK_UP, .mtu = NET_MTU };

	if (net->config->has_address) {
		memcpy(net->address, net->config->address, NET_ADDRESS);
	} else {
		net_derive_address(net->virtio.vm->name, n, net->address);
	}
	memcpy(config.mac, net->address, NET_ADDRESS);
	memcpy(net->virtio.config, &config, sizeof(config));
	net->virtio.features = net->config->offload_off ? 0 : OFFLOADS;
	net->virtio.gather_us = NET_GATHER_US;
	net->virtio.stream_us = NET_STREAM_US;
	net->group_since = cpu_rdtsc();
	net->group_tokens = GROUP_BURST;
}

static int add_port(struct platform *platform, struct virtio_net *net, uint32_t n)
{
	char words[80];
	int err;

	net->config = &platform->config->nets[n];
	net->virtio.vm = platform->vm;
	configure(net, n);
	describe(&net->virtio, words, sizeof(words));
	err = virtio_add(&net->virtio, platform, &net_ops);
	if (err == 0) {
		err = net_join(net);
	}
	if (err == ERR_EXISTS) {
		log_error("vm %s: net%s: another port of this net has the address",
			  platform->vm->name, words);
	} else if (err == 0) {
		log_info("vm %s: net%s%s", platform->vm->name, words,
			 net->config->offload_off ? ", without offloads" : "");
	}
	return err;
}

#define NET_PAGES (ALIGN_UP(sizeof(struct virtio_net), PAGE_SIZE) / PAGE_SIZE)

static void destroy(struct platform *platform)
{
	for (size_t i = 0; i < VM_NETS_MAX; i++) {
		if (platform->nets[i] != NULL) {
			net_leave(platform->nets[i]);
		}
		page_free(platform->nets[i], NET_PAGES);
		platform->nets[i] = NULL;
	}
}

static int init(struct platform *platform)
{
	int err = 0;

	for (uint32_t i = 0; i < VM_NETS_MAX && err == 0; i++) {
		if (platform->config->nets[i].name[0] == '\0') {
			break;
		}
		platform->nets[i] = page_alloc(NET_PAGES);
		err = platform->nets[i] == NULL ? ERR_NOMEM
						: add_port(platform, platform->nets[i], i);
	}
	if (err != 0) {
		destroy(platform);
	}
	return err;
}

const struct vdev_ops virtio_net_device = { .name = "network", .init = init, .destroy = destroy };
