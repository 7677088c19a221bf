/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet frames of virtio network devices, in Umbra's own memory. A sender's driver may leave
 * checksums and the division into TCP segments to the device. This code does them for a receiver
 * whose driver does not do them either. Fields of frames are big-endian, those of the device's
 * header little-endian. No state, no locks.
 */
#ifndef UMBRA_GUEST_DEV_NET_FRAME_H
#define UMBRA_GUEST_DEV_NET_FRAME_H

#include "vmm/base/types.h"

/* virtio 1.2, 5.1.6 "Device Operation": struct virtio_net_hdr, before each frame. */
struct net_header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len; /* of Ethernet, IP and TCP together */
	uint16_t gso_size;
	uint16_t csum_start, csum_offset;
	uint16_t num_buffers;
} __attribute__((packed));
_Static_assert(sizeof(struct net_header) == 12, "virtio 1.2, 5.1.6");

#define NET_NEEDS_CSUM BIT(0) /* of flags */

enum {
	NET_GSO_NONE = 0,
	NET_GSO_TCPV4 = 1,
	NET_GSO_TCPV6 = 4,
};

#define NET_ADDRESS   6u    /* bytes */
#define NET_ETHERNET  14u   /* bytes: two addresses and a type */
#define NET_MTU	      1500u /* the most that follows these in a frame that is not segmented */
#define NET_VLAN_TAG  4u
#define NET_FRAME_MAX (NET_ETHERNET + NET_VLAN_TAG + NET_MTU)
#define NET_GSO_MAX   (NET_ETHERNET + NET_VLAN_TAG + 65536u) /* largest that may be segmented */
#define NET_GROUP_BIT BIT(0) /* of an address' first byte: broadcast or multicast */

/*
 * Completes the checksum that covers a frame from csum_start on. The field holds the sum of the
 * pseudo-header already. The caller has checked that the header's fields lie within the frame.
 */
void net_checksum(uint8_t *frame, size_t bytes, const struct net_header *header);

/* Where the headers of a TCP segment lie. */
struct net_tcp {
	uint16_t ip, tcp, payload;
	bool v6;
};

/*
 * Finds the headers in a frame's first bytes. Returns false if they are not what the device's
 * header says, or not complete. The caller has checked that header->csum_start lies in the frame.
 */
bool net_find_tcp(const uint8_t *frame, size_t bytes, const struct net_header *header,
		  struct net_tcp *out);

/* One segment of a large frame. */
struct net_segment {
	uint32_t index; /* from 0 on */
	uint32_t at;	/* offset of its payload in that of the large frame */
	uint32_t bytes; /* of its payload */
	uint32_t of;	/* bytes of the large frame's payload */
};

/*
 * frame holds the headers of the large frame and, behind them, the segment's payload. Turns the
 * headers into those of the segment and computes all checksums (RFC 9293; RFC 791 for the
 * identification; as Linux' tcp_gso_segment does).
 */
void net_make_segment(uint8_t *frame, const struct net_tcp *tcp, const struct net_segment *segment);

#endif
