/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender's turn writes to the receiver's buffers. A receiver whose buffers are tiny must not
 * make that turn long; nor may a sender whose frames are in many pieces.
 */
#define QUEUE_LEN 256
#include <stdio.h>

#include "tests/unit/net_driver.h"

/* A chain of so many buffers of n, from slot on. Each has these bytes, the first 12 more. */
static void post(uint32_t slot, uint32_t count, uint32_t bytes)
{
	for (uint32_t i = 0; i < count; i++) {
		const bool is_last = i + 1 == count;

		set_desc(DESC(RX), slot + i, RX_BUFFER + 64ul * (slot + i),
			 bytes + (i == 0 ? 12 : 0), F_WRITE | (is_last ? 0 : F_NEXT),
			 (uint16_t)(is_last ? 0 : slot + i + 1));
	}
	offer(RX, (uint16_t)slot);
}

static void send_to(unsigned n, uint32_t bytes)
{
	address(0, n);
	send_plain(0, bytes);
}

/* The bytes that n's driver was given in the nth used entry. */
static uint32_t given(unsigned n, unsigned entry)
{
	use(n);
	return (uint32_t)peek(USED(RX) + 8 + 8ul * (entry % QUEUE_LEN), 4);
}

TEST(a_chain_of_many_buffers, setup, teardown)
{
	use(1);
	post(0, 65, 8);
	post(65, 64, 8);
	send_to(1, 200); /* takes 25 of them, but each chain is read as a whole */
	assert_int_equal(port(1)->counters.short_buffer.only, 1);
	assert_int_equal(given(1, 0), 0); /* it came back, so that it is not in the way */
	send_to(1, 200);
	assert_int_equal(given(1, 1), 12 + 200);
	/* The longer the frame is, the more of them. */
	use(1);
	post(0, 66, 10);
	send_to(1, 600);
	assert_int_equal(given(1, 2), 12 + 600);
	use(1);
	post(0, 66, 10);
	send_to(1, 511);
	assert_int_equal(port(1)->counters.short_buffer.only, 2);
	assert_int_equal(status(1), 0xf);
}

TEST(many_chains_for_one_frame, setup, teardown)
{
	drive_with(1, NET_F_MRG_RXBUF);
	for (uint32_t i = 0; i < 64; i++) {
		post(i, 1, 0);
	}
	send_to(1, 70 * 12);
	assert_int_equal(port(1)->counters.no_buffer.only, 1); /* for want of seven more */
	use(1);
	for (uint32_t i = 64; i < 140; i++) {
		post(i, 1, 0);
	}
	send_to(1, 70 * 12);
	assert_int_equal(port(1)->counters.no_buffer.only, 2);
	assert_int_equal(arrived(1), 0);
	send_to(1, 60 * 12);		  /* they are still there */
	assert_int_equal(arrived(1), 61); /* the first has only the header */
	assert_int_equal(status(1), 0xf);
}

/* Segments that Umbra makes are frames of their own. */
TEST(segments_count_by_themselves, setup, teardown)
{
	drive_with(0, ALL);
	drive_with(1, NET_F_MRG_RXBUF);
	memcpy(frame + 12, (uint8_t[]){ 8, 0, 0x45 }, 3);
	frame[14 + 9] = 6;
	frame[34 + 12] = 0x50;
	for (uint32_t i = 0; i < 200; i++) {
		post(i, 1, 0);
	}
	address(0, 1);
	send(0, (struct net_header){ 1, NET_GSO_TCPV4, 0, 1400, 34, 16, 0 }, 3000);
	assert_int_equal(port(1)->counters.no_buffer.only, 1);
	assert_int_equal(arrived(1), 0);
}

static void send_in_pieces(uint32_t count, uint32_t bytes)
{
	use(0);
	poke(BUFFER, (uint8_t[12]){ 0 }, 12);
	poke(BUFFER + 12, frame, bytes);
	for (uint32_t i = 0; i < count; i++) {
		const bool is_last = i + 1 == count;

		set_desc(DESC(TX), i, BUFFER + i, is_last ? 12 + bytes - i : 1,
			 is_last ? 0 : F_NEXT, (uint16_t)(i + 1));
	}
	offer(TX, 0);
	notify(TX);
	(void)work();
}

TEST(a_frame_in_many_pieces, setup, teardown)
{
	use(1);
	post(0, 1, 1518);
	post(1, 1, 1518);
	address(0, 1);
	send_in_pieces(64, 255);
	assert_int_equal(given(1, 0), 12 + 255);
	send_in_pieces(65, 255);
	assert_int_equal(port(0)->counters.malformed.only, 1);
	send_in_pieces(65, 256);
	assert_int_equal(given(1, 1), 12 + 256);
	assert_int_equal(status(0), 0xf);
}
