/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/liar/driver.h"

struct ring rings[6];
uint32_t device;
struct ring *ring;

static uint32_t config_address(uint32_t which, uint32_t at)
{
	return 0x80000000u | which << 11 | (at & 0xfc);
}

uint32_t config(uint32_t which, uint32_t at)
{
	out32(0xcf8, config_address(which, at));
	return in32(0xcfc);
}

void set_config(uint32_t which, uint32_t at, uint32_t value)
{
	out32(0xcf8, config_address(which, at));
	out32(0xcfc, value);
}

volatile uint8_t *bar_of(uint32_t which)
{
	return (volatile uint8_t *)(uintptr_t)(config(which, 0x10) & ~0xfu);
}

void choose(uint32_t which)
{
	device = which;
	ring = &rings[which];
}

uint16_t queue(void)
{
	return device == NET || device == HVC ? 1 : 0;
}

static void send_to_peer(void);

void notify(void)
{
	if (device == PEER) {
		send_to_peer();
	} else {
		out16((uint16_t)((config(device, 0x20) & ~3u) + 4u * queue()), 0);
	}
}

void wait_for_turn(void)
{
	const uint64_t end = rdtsc() + tsc_hz() / 1000000 * 1200;

	while (device == NET && rdtsc() < end && *(volatile uint16_t *)&ring->used.index == 0 &&
	       REG8(0x14) == USED_BY_DRIVER) {
		__asm__ volatile("pause" : : : "memory");
	}
}

void reset(void)
{
	set_config(device, 4, 7);
	REG8(0x14) = 0;
	while (REG8(0x14) != 0) {
	}
	memset(ring, 0, sizeof(*ring));
}

void accept(uint64_t features)
{
	REG8(0x14) = 3;
	REG32(0x08) = 0;
	REG32(0x0c) = (uint32_t)features;
	REG32(0x08) = 1;
	REG32(0x0c) = (uint32_t)(features >> 32);
	REG8(0x14) = 0xb;
}

void set_up_queue(void)
{
	REG16(0x16) = queue();
	REG16(0x18) = QUEUE;
	REG32(0x20) = (uint32_t)(uintptr_t)ring->desc;
	REG32(0x28) = (uint32_t)(uintptr_t)&ring->available;
	REG32(0x30) = (uint32_t)(uintptr_t)&ring->used;
	REG16(0x1c) = 1;
}

void drive(void)
{
	reset();
	accept(1ull << 32 | 1ull << 28);
	set_up_queue();
	REG8(0x14) = 0xf;
}

void set_desc(struct desc *desc, const volatile void *at, uint32_t bytes, uint16_t flags,
	      uint16_t next)
{
	*desc = (struct desc){ (uintptr_t)at, bytes, flags, next };
}

void offer(uint16_t head)
{
	volatile uint16_t *index = &ring->available.index;

	ring->available.entry[*index % QUEUE] = head;
	__asm__ volatile("" : : : "memory");
	*index = (uint16_t)(*index + 1);
}

void make_request(uint32_t type, uint64_t sector, uint32_t bytes, uint16_t data_flags)
{
	ring->header.type = type;
	ring->header.sector = sector;
	ring->status = 0xee;
	set_desc(&ring->desc[0], &ring->header, 16, DESC_NEXT, 1);
	set_desc(&ring->desc[1], ring->data, bytes, DESC_NEXT | data_flags, 2);
	set_desc(&ring->desc[2], &ring->status, 1, DESC_WRITE, 0);
}

static bool is_done(uint16_t count)
{
	for (unsigned i = 0; i < 100000; i++) {
		if (*(volatile uint16_t *)&ring->used.index == count) {
			return true;
		}
	}
	return false;
}

void make_frame(void)
{
	uint8_t *frame = rings[NET].data + 12;

	for (uint32_t i = 0; i < 6; i++) {
		frame[i] = bar_of(PEER)[0x2000 + i];
		frame[6 + i] = bar_of(NET)[0x2000 + i];
	}
}

static void send_to_peer(void)
{
	choose(NET);
	drive();
	make_frame();
	set_desc(&ring->desc[0], ring->data, FRAME, 0, 0);
	offer(0);
	notify();
	wait_for_turn();
	if (!is_done(1) || REG8(0x14) != USED_BY_DRIVER) {
		fail("a frame was not sent: status %x", REG8(0x14));
	}
	choose(PEER);
}

void be_honest(const char *lie)
{
	drive();
	if (device == RNG) {
		set_desc(&ring->desc[0], ring->data, 16, DESC_WRITE, 0);
	} else if (device == HVC) {
		ring->data[0] = '.';
		set_desc(&ring->desc[0], ring->data, 1, 0, 0);
	} else if (device == NET || device == PEER) {
		set_desc(&ring->desc[0], ring->data, 2048, device == PEER ? DESC_WRITE : 0, 0);
	} else {
		make_request(0, 2, 512, DESC_WRITE);
	}
	offer(0);
	notify();
	wait_for_turn();
	if (!is_done(1) || REG8(0x14) != USED_BY_DRIVER) {
		fail("%s: device %u serves no more: status %x, %u used", lie, device, REG8(0x14),
		     ring->used.index);
	}
	if (device == DISK && ring->status != 0) {
		fail("%s: the disk reads no more: %x", lie, ring->status);
	}
}
