/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that ask their network device for something: checksums and segments for a receiver that
 * does not do them, and all kinds of lies, also of the receiver.
 */
#include "tests/unit/test.h"
#include "tests/unit/net_driver.h"

/* --- Frames that ask for something --- */

static void put16(uint32_t at, uint32_t value)
{
	frame[at] = (uint8_t)(value >> 8);
	frame[at + 1] = (uint8_t)value;
}

static uint32_t get16(const uint8_t *bytes, uint32_t at)
{
	return (uint32_t)bytes[at] << 8 | bytes[at + 1];
}

static uint32_t get32(const uint8_t *bytes, uint32_t at)
{
	return get16(bytes, at) << 16 | get16(bytes, at + 2);
}

/* Written for this test: the sum of words, the long way. */
static uint32_t add(uint32_t sum, const uint8_t *bytes, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		sum += i % 2 == 0 ? bytes[i] * 256u : bytes[i];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

#define IP	14u
#define HEADERS (14u + 20 + 32)

/* Sums addresses, protocol and length as RFC 9293 and RFC 8200 say. */
static uint32_t pseudo(const uint8_t *bytes, bool v6, uint32_t tcp_bytes)
{
	const uint8_t rest[4] = { 0, 6, (uint8_t)(tcp_bytes >> 8), (uint8_t)tcp_bytes };
	const uint8_t high[2] = { 0, (uint8_t)(tcp_bytes >> 16) };
	uint32_t sum = v6 ? add(0, bytes + IP + 8, 32) : add(0, bytes + IP + 12, 8);

	return add(add(sum, high, 2), rest, 4);
}

/* A segment of TCP with options, as an IPv4 or IPv6 packet, its checksum left to the device. */
static struct net_header make_tcp(bool v6, uint32_t payload, uint32_t gso_size)
{
	const uint32_t tcp = IP + (v6 ? 40 : 20), bytes = tcp + 32 + payload;
	struct net_header header = {
		.flags = NET_NEEDS_CSUM,
		.gso_type = gso_size == 0 ? NET_GSO_NONE
			    : v6	  ? NET_GSO_TCPV6
					  : NET_GSO_TCPV4,
		.gso_size = (uint16_t)gso_size,
		.hdr_len = 0x5555, /* is not believed */
		.csum_start = (uint16_t)tcp,
		.csum_offset = 16,
	};

	for (uint32_t i = 0; i < bytes; i++) {
		frame[i] = (uint8_t)(i * 7 + i / 251);
	}
	address(0, 1);
	put16(12, v6 ? 0x86dd : 0x0800);
	frame[IP] = v6 ? 0x60 : 0x45;
	if (v6) {
		put16(IP + 4, bytes - IP - 40);
		frame[IP + 6] = 6;
	} else {
		put16(IP + 2, bytes - IP);
		put16(IP + 4, 0xfffe); /* the identification runs over */
		frame[IP + 9] = 6;
		put16(IP + 10, 0);
		put16(IP + 10, ~add(0, frame + IP, 20) & 0xffff);
	}
	put16(tcp + 4, 0xffff);
	put16(tcp + 6, 0xf000); /* so does the sequence number */
	frame[tcp + 12] = 0x80;
	frame[tcp + 13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR, ACK, PSH, FIN */
	put16(tcp + 16, pseudo(frame, v6, 32 + payload));
	return header;
}

/* A packet in got whose checksums have to be right. */
static void check_sums(const uint8_t *bytes, bool v6, uint32_t count)
{
	const uint32_t tcp = IP + (v6 ? 40 : 20), tcp_bytes = count - tcp;

	if (v6) {
		assert_int_equal(get16(bytes, IP + 4), count - IP - 40);
	} else {
		assert_int_equal(get16(bytes, IP + 2), count - IP);
		assert_int_equal(add(0, bytes + IP, 20), 0xffff);
	}
	assert_int_equal(add(pseudo(bytes, v6, tcp_bytes), bytes + tcp, tcp_bytes), 0xffff);
}

TEST(checksums_are_completed_where_the_receiver_does_not, setup, teardown)
{
	const uint32_t bytes = HEADERS + 101;
	struct net_header header;

	drive_with(0, NET_F_CSUM);
	listen(1, 2, 1530);
	send(0, make_tcp(false, 101, 0), bytes);
	assert_int_equal(take(1, 0, 0), 12 + bytes);
	assert_int_equal(got[0], 0);
	check_sums(got + 12, false, bytes);
	drive_with(1, NET_F_GUEST_CSUM);
	listen(1, 2, 1530);
	send(0, make_tcp(false, 101, 0), bytes);
	assert_int_equal(take(1, 0, 0), 12 + bytes);
	memcpy(&header, got, 12);
	assert_int_equal(header.flags, 1);
	assert_int_equal(header.hdr_len, 0);
	assert_int_equal(header.csum_start, 34);
	assert_int_equal(header.csum_offset, 16);
	assert_int_equal(header.num_buffers, 1);
	assert_memory_equal(got + 12, frame, bytes);
	/* UDP has no checksum of zero: the sum of everything is made FFFFH here. */
	drive_with(1, 0);
	listen(1, 1, 1530);
	header = make_tcp(false, 4, 0);
	memset(frame + 34, 0, 36);
	put16(34, 0xffff);
	header.csum_offset = 6;
	send(0, header, 34 + 36);
	take(1, 0, 0);
	assert_int_equal(get16(got, 12 + 34 + 6), 0xffff);
}

TEST(a_large_one_passes_whole, setup, teardown)
{
	const uint32_t payload = 14000, bytes = HEADERS + payload;
	struct net_header header;
	uint32_t at = 0;

	drive_with(0, NET_F_CSUM | NET_F_HOST_TSO4);
	drive_with(1, NET_F_GUEST_CSUM | NET_F_GUEST_TSO4);
	listen(1, 1, 0x4000);
	send(0, make_tcp(false, payload, 1400), bytes);
	assert_int_equal(take(1, 0, 0), 12 + bytes);
	memcpy(&header, got, 12);
	assert_int_equal(header.gso_type, NET_GSO_TCPV4);
	assert_int_equal(header.gso_size, 1400);
	assert_int_equal(header.hdr_len, HEADERS);
	assert_memory_equal(got + 12, frame, bytes);
	/* Over several buffers, the first of which has room for the header alone. */
	drive_with(1, NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_MRG_RXBUF);
	listen(1, 1, 12);
	listen(1, 5, 3000);
	send(0, make_tcp(false, payload, 1400), bytes);
	assert_int_equal(arrived(1), 6);
	for (unsigned i = 0; i < 6; i++) {
		at += take(1, i, at);
	}
	assert_int_equal(at, 12 + bytes);
	assert_int_equal(got[10], 6);
	assert_memory_equal(got + 12, frame, bytes);
	/* Four are too few; they stay for smaller ones. */
	listen(1, 4, 3000);
	send(0, make_tcp(false, payload, 1400), bytes);
	assert_int_equal(arrived(1), 6);
	assert_int_equal(port(1)->counters.no_buffer.only, 1);
	address(0, 1);
	send_plain(0, FRAME);
	assert_int_equal(arrived(1), 7);
	assert_int_equal(take(1, 6, 0), 12 + FRAME);
	assert_int_equal(got[10], 1);
}

static void check_segments(bool v6, uint32_t payload, uint32_t mss)
{
	const uint32_t tcp = IP + (v6 ? 40 : 20), head = tcp + 32;
	const unsigned count = (payload + mss - 1) / mss, before = arrived(1);

	listen(1, count, 1530);
	send(0, make_tcp(v6, payload, mss), head + payload);
	assert_int_equal(arrived(1), before + count);
	for (unsigned i = 0; i < count; i++) {
		const uint32_t bytes = take(1, before + i, 0) - 12;
		const bool last = i + 1 == count;
		const uint8_t *segment = got + 12;

		assert_int_equal(got[0], 0);
		assert_int_equal(got[1], NET_GSO_NONE);
		assert_int_equal(got[10], 1);
		assert_int_equal(bytes, head + (last ? payload - i * mss : mss));
		check_sums(segment, v6, bytes);
		assert_int_equal(get32(segment, tcp + 4), 0xfffff000 + i * mss);
		assert_int_equal(segment[tcp + 13], 0x10 | (last ? 9 : 0) | (i == 0 ? 0x80 : 0));
		assert_memory_equal(segment + head, frame + head + i * mss, bytes - head);
		assert_memory_equal(segment, frame, 14);
		if (!v6) {
			assert_int_equal(get16(segment, IP + 4), (0xfffe + i) & 0xffff);
		}
	}
}

TEST(a_large_one_is_segmented, setup, teardown)
{
	drive_with(0, ALL);
	drive_with(1, NET_F_GUEST_CSUM); /* checksums alone do not suffice */
	check_segments(false, 7000, 1400);
	check_segments(false, 7001, 1400);
	check_segments(false, 100, 1400);
	check_segments(true, 6001, 1200);
	drive_with(1, NET_F_GUEST_TSO4 | NET_F_MRG_RXBUF); /* without checksums it cannot be */
	check_segments(false, 4000, 1400);
	drive_with(1, NET_F_GUEST_CSUM | NET_F_GUEST_TSO4);
	check_segments(true, 3000, 1400);
	assert_int_equal(port(0)->counters.malformed.only, 0);
	/* With a tag of a VLAN, which moves all else by four bytes. */
	listen(1, 2, 1530);
	drive_with(1, 0);
	listen(1, 2, 1530);
	(void)make_tcp(false, 2000, 1400);
	memmove(frame + 18, frame + 14, HEADERS + 2000 - 14);
	memcpy(frame + 12, (uint8_t[]){ 0x81, 0, 0, 5, 8, 0 }, 6);
	send(0,
	     (struct net_header){ .flags = 1,
				  .gso_type = NET_GSO_TCPV4,
				  .gso_size = 1400,
				  .csum_start = 38,
				  .csum_offset = 16 },
	     HEADERS + 2004);
	assert_int_equal(arrived(1), 2);
	assert_int_equal(take(1, 0, 0), 12 + 4 + HEADERS + 1400);
	memmove(got + 24, got + 28, HEADERS + 1400 - 12);
	check_sums(got + 12, false, HEADERS + 1400);
}

/* A receiver that has lost a segment does not get those behind it. */
TEST(too_few_buffers_for_segments, setup, teardown)
{
	drive_with(0, ALL);
	listen(1, 2, 1530);
	send(0, make_tcp(false, 7000, 1400), HEADERS + 7000);
	assert_int_equal(arrived(1), 2);
	assert_int_equal(port(1)->counters.no_buffer.only, 1);
	use(0);
	assert_int_equal(used_index(TX), 1);
}

/* --- Lies --- */

struct lie {
	uint64_t features;
	struct net_header header;
	uint32_t bytes;
	int at; /* a byte of the frame that is changed, or -1 */
	uint8_t value;
};

#define TSO(size, start, offset)                                                  \
	{                                                                         \
		.flags = 1, .gso_type = 1, .gso_size = size, .csum_start = start, \
		.csum_offset = offset                                             \
	}
#define CSUM(start, offset)                                            \
	{                                                              \
		.flags = 1, .csum_start = start, .csum_offset = offset \
	}

static const struct lie lies[] = {
	{ 0, { 0 }, 13, -1, 0 },		   /* no Ethernet header */
	{ 0, { 0 }, 1519, -1, 0 },		   /* too long without segmentation */
	{ 0, CSUM(34, 16), 100, -1, 0 },	   /* was not agreed on */
	{ ALL, CSUM(34, 65), 100, -1, 0 },	   /* ends behind the frame */
	{ ALL, CSUM(99, 0), 100, -1, 0 },	   /* likewise */
	{ ALL, CSUM(0xffff, 0xffff), 100, -1, 0 }, /* likewise, and runs over */
	{ ALL, CSUM(13, 0), 100, -1, 0 },	   /* within the addresses */
	{ ALL, { .gso_type = 1, .gso_size = 1400 }, 3000, -1, 0 }, /* without a checksum */
	{ NET_F_CSUM, TSO(1400, 34, 16), 3000, -1, 0 },		   /* was not agreed on */
	{ ALL, TSO(0, 34, 16), 3000, -1, 0 },			   /* segments of nothing */
	{ ALL, TSO(1400, 34, 15), 3000, -1, 0 },		   /* not TCP's checksum */
	{ ALL, TSO(1400, 35, 16), 3000, -1, 0 },		   /* not where IP says */
	{ ALL, TSO(1453, 34, 16), 3000, -1, 0 },		   /* longer than a frame may be */
	{ ALL, TSO(1400, 34, 16), 3000, 12, 9 },		   /* not IP */
	{ ALL, TSO(1400, 34, 16), 3000, 14, 0x65 },		   /* another version */
	{ ALL, TSO(1400, 34, 16), 3000, 14, 0x44 },		   /* too short a header */
	{ ALL, TSO(1400, 34, 16), 3000, 23, 17 },		   /* UDP */
	{ ALL, TSO(1400, 34, 16), 3000, 46, 0x40 },		   /* too short a TCP header */
	{ ALL, TSO(1400, 34, 16), HEADERS, -1, 0 },		   /* no payload */
	{ ALL, TSO(1400, 34, 16), HEADERS - 1, -1, 0 },		   /* options that are not there */
	{ ALL, TSO(1400, 34, 16), 53, -1, 0 },			   /* half a header */
	{ ALL, { .flags = 1, .gso_type = 0x81, .gso_size = 9, .csum_start = 34 }, 900, -1, 0 },
	{ ALL, { .flags = 1, .gso_type = 5, .gso_size = 9, .csum_start = 34 }, 900, -1, 0 },
	{ ALL, { .flags = 1, .gso_type = 4, .gso_size = 9, .csum_start = 34 }, 900, -1, 0 },
};

TEST(headers_that_lie_are_dropped, setup, teardown)
{
	for (size_t i = 0; i < ARRAY_COUNT(lies); i++) {
		const struct lie *lie = &lies[i];

		/*
		 * For a receiver that gets the frame as segments, and for one that takes it
		 * whole.
		 */
		for (unsigned whole = 0; whole < 2; whole++) {
			const bool is_long = lie->header.gso_size > 1452 || lie->bytes == HEADERS;

			drive_with(0, lie->features);
			drive_with(1, whole ? ALL : 0);
			listen(1, 4, 0x4000);
			(void)make_tcp(false, 3000, 1400);
			if (lie->at >= 0) {
				frame[lie->at] = lie->value;
			}
			if (whole && is_long) {
				continue; /* the receiver's own affair */
			}
			port(0)->counters.malformed.only = 0;
			send(0, lie->header, lie->bytes);
			if (port(0)->counters.malformed.only != 1 || arrived(1) != 0) {
				fail_msg("lie %zu, %u", i, whole);
			}
			assert_int_equal(status(0), 0xf);
			use(0);
			assert_int_equal(used_index(TX), 1);
		}
	}
}

/* Of the clock: at the notification and the turn's begin, before the frame is read and given. */
#define LOOKS 4
static unsigned looks;

static void change_addresses(void)
{
	address(2, 2);
	if (++looks >= LOOKS && gmem_write(&vms[0].gmem, gpa(BUFFER + 12), frame, 12) != 0) {
		fail();
	}
}

/* What a frame's addresses are when they were checked is what arrives. */
TEST(addresses_are_read_once, setup, teardown)
{
	uint8_t before[12];

	listen(1, 1, 1530);
	address(0, 1);
	memcpy(before, frame, 12);
	looks = 0;
	meanwhile = change_addresses;
	send_plain(0, FRAME);
	meanwhile = NULL;
	assert_int_equal(arrived(1), 1);
	take(1, 0, 0);
	assert_memory_equal(got + 12, before, 12);
}

/* The TCP header grows between two segments, over the end of the frame. */
static void change_tcp(void)
{
	const uint8_t longest = 0xf0;

	if (++looks > LOOKS && gmem_write(&vms[0].gmem, gpa(BUFFER + 12 + 46), &longest, 1) != 0) {
		fail();
	}
}

TEST(headers_of_segments_are_checked_again, setup, teardown)
{
	drive_with(0, ALL);
	for (uint32_t payload = 1401; payload < 1500; payload += 7) {
		drive_with(1, 0);
		listen(1, 4, 1530);
		looks = 0;
		meanwhile = change_tcp;
		send(0, make_tcp(false, payload, 1400), HEADERS + payload);
		meanwhile = NULL;
		assert_int_equal(status(0), 0xf);
		assert_in_range(arrived(1), 1, 2);
	}
	assert_true(port(0)->counters.malformed.only > 0);
}

TEST(a_receiver_that_lies_is_lost_alone, setup, teardown)
{
	address(0, 1);
	use(1);
	set_desc(DESC(RX), 0, RAM_BYTES, 1530, F_WRITE, 0);
	offer(RX, 0);
	send_plain(0, FRAME);
	assert_int_equal(status(1), 0x4f);
	assert_int_equal(status(0), 0xf);
	use(0);
	assert_int_equal(used_index(TX), 1);
	assert_non_null(strstr(fake_log_text(), "vm b: virtio-net: queue 0: a buffer is not in "
						"RAM"));
	send_plain(0, FRAME);
	assert_int_equal(port(1)->counters.closed.only, 1);
	drive_with(1, 0);
	use(1);
	poke16(AVAIL(RX) + 2, 100);
	send_plain(0, FRAME);
	assert_int_equal(status(1), 0x4f);
	/* A second buffer without room, for a frame that needs two. */
	drive_with(1, ALL);
	listen(1, 1, 40);
	use(1);
	set_desc(DESC(RX), 1, RX_BUFFER, 100, 0, 0);
	offer(RX, 1);
	send_plain(0, FRAME);
	assert_int_equal(status(1), 0x4f);
	assert_int_equal(arrived(1), 0);
	/* The used ring lies outside of RAM. */
	drive_with(1, 0);
	listen(1, 1, 1530);
	port(1)->virtio.queues[RX].ring.used = RAM_BYTES;
	send_plain(0, FRAME);
	assert_int_equal(status(1), 0x4f);
	drive_with(1, 0);
	listen(1, 1, 20);
	port(1)->virtio.queues[RX].ring.used = RAM_BYTES;
	send_plain(0, FRAME);
	assert_int_equal(status(1), 0x4f);
	assert_int_equal(status(0), 0xf);
}

TEST(a_sender_that_lies_is_lost_alone, setup, teardown)
{
	listen(1, 4, 0x4000);
	address(0, 1);
	use(0);
	poke(RAM_BYTES - 12 - FRAME, (uint8_t[12]){ 0 }, 12);
	poke(RAM_BYTES - FRAME, frame, FRAME);
	set_desc(DESC(TX), 0, RAM_BYTES - 12 - FRAME, 12 + FRAME + 1, 0, 0);
	offer(TX, 0);
	notify(TX);
	(void)work();
	assert_int_equal(status(0), 0x4f);
	assert_int_equal(status(1), 0xf);
	assert_int_equal(arrived(1), 0);
	/* The receiver's buffers are as they were. */
	drive_with(0, ALL);
	send_plain(0, FRAME);
	assert_int_equal(arrived(1), 1);
	use(0);
	set_desc(DESC(TX), 0, RAM_BYTES - 12, 12 + FRAME, 0, 0);
	offer(TX, 0);
	notify(TX);
	(void)work();
	assert_int_equal(status(0), 0x4f);
	/* Segments whose payload is not there. */
	drive_with(0, ALL);
	use(0);
	poke(BUFFER, &(struct net_header)TSO(1400, 34, 16), 12);
	(void)make_tcp(false, 1400, 1400);
	poke(BUFFER + 12, frame, HEADERS + 1400);
	set_desc(DESC(TX), 0, BUFFER, 12 + HEADERS + 1452, F_NEXT, 1);
	set_desc(DESC(TX), 1, RAM_BYTES, 1400, 0, 0);
	offer(TX, 0);
	notify(TX);
	(void)work();
	assert_int_equal(status(0), 0x4f);
	assert_int_equal(arrived(1), 2);
	assert_int_equal(status(1), 0xf);
}

/* --- Turns --- */

TEST(much_takes_turns, setup, teardown)
{
	drive_with(0, ALL);
	drive_with(1, NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_MRG_RXBUF);
	use(0);
	poke(BUFFER, &(struct net_header)TSO(1400, 34, 16), 12);
	(void)make_tcp(false, 14000, 1400);
	poke(BUFFER + 12, frame, HEADERS + 14000);
	listen(1, 8, 0x4000);
	use(0);
	for (uint16_t i = 0; i < 8; i++) {
		set_desc(DESC(TX), i, BUFFER, 12 + HEADERS + 14000, 0, 0);
		offer(TX, i);
	}
	notify(TX);
	assert_int_equal(work(), 2); /* 8 times 14 KiB are less than two turns of 64 KiB */
	assert_int_equal(used_index(TX), 8);
	assert_int_equal(arrived(1), 8);
	/* A clock that runs: one segment a turn. */
	drive_with(1, 0);
	listen(1, 8, 1530);
	use(0);
	port(0)->virtio.queues[TX].ring.notified = 0;
	offer(TX, 0);
	notify(TX);
	for (unsigned i = 0; i < 3; i++) {
		fake_tsc += tsc_from_us(1000);
		(void)virtio_work(&vcpus[0], false);
	}
	(void)work();
	assert_int_equal(arrived(1), 8);
}
