/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums are those of RFC 1071: sums of big-endian words in ones' complement. */
#include "guest/dev/net_frame.h"

#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define TYPE_VLAN 0x8100

/* RFC 791 and RFC 8200: offsets in the header. */
#define IPV4_LENGTH   2
#define IPV4_ID	      4
#define IPV4_PROTOCOL 9
#define IPV4_CHECKSUM 10
#define IPV4_BYTES    20 /* at least */
#define IPV6_LENGTH   4
#define IPV6_BYTES    40

/* RFC 9293, 3.1. */
#define PROTOCOL_TCP 6
#define TCP_SEQUENCE 4
#define TCP_DATA_AT  12 /* high nibble: how many dwords the header has */
#define TCP_FLAGS    13
#define TCP_CHECKSUM 16
#define TCP_BYTES    20 /* at least */
#define TCP_FIN	     BIT(0)
#define TCP_PSH	     BIT(3)
#define TCP_CWR	     BIT(7)

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

/* The sum of big-endian words, not folded yet. An odd last byte is the high byte of a word. */
static uint64_t sum(const uint8_t *data, size_t bytes)
{
	uint64_t total = 0;
	size_t i;

	for (i = 0; i + 1 < bytes; i += 2) {
		total += get16(data + i);
	}
	return i < bytes ? total + ((uint32_t)data[i] << 8) : total;
}

static uint32_t fold(uint64_t total)
{
	while (total > 0xffff) {
		total = (total & 0xffff) + (total >> 16);
	}
	return (uint32_t)total;
}

/*
 * In ones' complement 0 and FFFFH are both zero. UDP's 0 means "no checksum", so 0 becomes FFFFH.
 */
static uint32_t finish(uint64_t total)
{
	const uint32_t value = ~fold(total) & 0xffff;

	return value != 0 ? value : 0xffff;
}

void net_checksum(uint8_t *frame, size_t bytes, const struct net_header *header)
{
	uint8_t *from = frame + header->csum_start;

	put16(from + header->csum_offset, finish(sum(from, bytes - header->csum_start)));
}

static bool find_ip(const uint8_t *frame, size_t bytes, const struct net_header *header,
		    struct net_tcp *out)
{
	uint32_t type, words;

	out->ip = NET_ETHERNET;
	if (bytes >= NET_ETHERNET + NET_VLAN_TAG && get16(frame + NET_ETHERNET - 2) == TYPE_VLAN) {
		out->ip = NET_ETHERNET + NET_VLAN_TAG;
	}
	out->v6 = header->gso_type == NET_GSO_TCPV6;
	out->tcp = header->csum_start;
	if (bytes < (size_t)out->ip + (out->v6 ? IPV6_BYTES : IPV4_BYTES)) {
		return false;
	}
	type = get16(frame + out->ip - 2);
	if (out->v6) {
		return type == TYPE_IPV6 && frame[out->ip] >> 4 == 6 &&
		       out->tcp >= out->ip + IPV6_BYTES;
	}
	words = frame[out->ip] & 0xf;
	return type == TYPE_IPV4 && frame[out->ip] >> 4 == 4 && 4 * words >= IPV4_BYTES &&
	       out->tcp == out->ip + 4 * words && frame[out->ip + IPV4_PROTOCOL] == PROTOCOL_TCP;
}

bool net_find_tcp(const uint8_t *frame, size_t bytes, const struct net_header *header,
		  struct net_tcp *out)
{
	uint32_t tcp_bytes;

	if (!find_ip(frame, bytes, header, out) || header->csum_offset != TCP_CHECKSUM ||
	    bytes < (size_t)out->tcp + TCP_BYTES) {
		return false;
	}
	tcp_bytes = 4u * (frame[out->tcp + TCP_DATA_AT] >> 4);
	out->payload = (uint16_t)(out->tcp + tcp_bytes);
	return tcp_bytes >= TCP_BYTES && out->payload <= bytes;
}

static void set_ip_length(uint8_t *frame, const struct net_tcp *tcp, uint32_t end, uint32_t index)
{
	uint8_t *ip = frame + tcp->ip;

	if (tcp->v6) {
		put16(ip + IPV6_LENGTH, end - tcp->ip - IPV6_BYTES);
		return;
	}
	put16(ip + IPV4_LENGTH, end - tcp->ip);
	put16(ip + IPV4_ID, get16(ip + IPV4_ID) + index);
	put16(ip + IPV4_CHECKSUM, 0);
	put16(ip + IPV4_CHECKSUM, finish(sum(ip, (size_t)tcp->tcp - tcp->ip)));
}

/*
 * The TCP checksum field holds the pseudo-header's sum with the length of the large frame. That
 * length is subtracted and the segment's added.
 */
void net_make_segment(uint8_t *frame, const struct net_tcp *tcp, const struct net_segment *segment)
{
	uint8_t *header = frame + tcp->tcp;
	const uint32_t header_bytes = (uint32_t)tcp->payload - tcp->tcp;
	const uint32_t whole = header_bytes + segment->of, part = header_bytes + segment->bytes;

	set_ip_length(frame, tcp, tcp->payload + segment->bytes, segment->index);
	put32(header + TCP_SEQUENCE, get32(header + TCP_SEQUENCE) + segment->at);
	if (segment->at + segment->bytes < segment->of) {
		header[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	}
	if (segment->index != 0) {
		header[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	}
	put16(header + TCP_CHECKSUM, finish(sum(header, part) + (~fold(whole) & 0xffff) + part));
}
