/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of one virtio network device. "attack": sends frames under another's address, to nobody,
 * and to everybody as fast as it can; then it waits. "watch": checks each frame that comes, of
 * which none may be one of the first two kinds, and waits for more, woken by the device's messages.
 * Both have the APIC ID 0 and device 00:02.0.
 */
#include "tests/guests/common/guest.h"

#define DEVICE 2
#define QUEUE  64u
#define VECTOR 0x50

#define RECEIVE	 0u
#define TRANSMIT 1u

#define DESC_WRITE 2

#define HEADER 12u
#define BYTES  100u   /* of each frame */
#define GOOD   0x88b5 /* type of frames that may arrive: "local experimental" (IEEE Std 802) */
#define BAD    0x88b6

struct ring {
	struct {
		uint64_t address;
		uint32_t bytes;
		uint16_t flags, next;
	} desc[QUEUE] __attribute__((aligned(4096)));
	volatile struct {
		uint16_t flags, index, entry[QUEUE];
	} available __attribute__((aligned(4096)));
	volatile struct {
		uint16_t flags, index;
		struct {
			uint32_t id, bytes;
		} entry[QUEUE];
	} used __attribute__((aligned(4096)));
	uint8_t data[QUEUE][2048] __attribute__((aligned(4096)));
};
static struct ring rings[2];
static uint16_t seen;

static uint32_t config(uint32_t at)
{
	out32(0xcf8, 0x80000000u | DEVICE << 11 | at);
	return in32(0xcfc);
}

static void set_config(uint32_t at, uint32_t value)
{
	(void)config(at);
	out32(0xcfc, value);
}

static volatile uint8_t *bar;
static uint16_t port;
#define REG8(offset)  (*(bar + (offset)))
#define REG16(offset) (*(volatile uint16_t *)(bar + (offset)))
#define REG32(offset) (*(volatile uint32_t *)(bar + (offset)))

static void notify(uint32_t queue)
{
	out16((uint16_t)(port + 4 * queue), (uint16_t)queue);
}

static void set_up_queue(uint32_t queue)
{
	struct ring *ring = &rings[queue];

	REG16(0x16) = (uint16_t)queue;
	REG16(0x18) = QUEUE;
	REG16(0x1a) = queue == RECEIVE ? 1 : 0xffff;
	REG32(0x20) = (uint32_t)(uintptr_t)ring->desc;
	REG32(0x28) = (uint32_t)(uintptr_t)&ring->available;
	REG32(0x30) = (uint32_t)(uintptr_t)&ring->used;
	REG16(0x1c) = 1;
}

static void send_message_to(uint8_t vector)
{
	uint32_t at = config(0x34) & 0xff;

	while (at != 0 && (config(at) & 0xff) != 0x11) {
		at = config(at) >> 8 & 0xff;
	}
	*(volatile uint64_t *)(bar + 0x3010) = MEMMAP_LAPIC;
	*(volatile uint64_t *)(bar + 0x3018) = vector;
	set_config(at, 0x80000000);
}

static void offer(uint32_t queue)
{
	struct ring *ring = &rings[queue];
	const uint16_t slot = ring->available.index % QUEUE;

	ring->desc[slot].address = (uintptr_t)ring->data[slot];
	ring->desc[slot].bytes = queue == RECEIVE ? sizeof(ring->data[slot]) : HEADER + BYTES;
	ring->desc[slot].flags = queue == RECEIVE ? DESC_WRITE : 0;
	ring->available.entry[slot] = slot;
	__asm__ volatile("" : : : "memory");
	ring->available.index++;
}

static void start(void)
{
	check_equal(config(0), 0x10411af4);
	bar = (volatile uint8_t *)(uintptr_t)(config(0x10) & ~0xfu);
	port = (uint16_t)(config(0x20) & ~3u);
	set_config(4, 7);
	REG8(0x14) = 3;
	REG32(0x08) = 1;
	REG32(0x0c) = 1; /* VERSION_1 alone */
	REG8(0x14) = 0xb;
	check_equal(REG8(0x14), 0xb);
	set_up_queue(RECEIVE);
	set_up_queue(TRANSMIT);
	send_message_to(VECTOR);
	REG8(0x14) = 0xf;
	for (uint32_t i = 0; i < QUEUE; i++) {
		offer(RECEIVE);
	}
}

/* --- To send --- */

static uint8_t own[6];

/* From, to, type; the rest is zeros. */
static void send(const uint8_t *from, const uint8_t *to, uint32_t type)
{
	struct ring *ring = &rings[TRANSMIT];
	uint8_t *frame = ring->data[ring->available.index % QUEUE] + HEADER;

	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
	offer(TRANSMIT);
	notify(TRANSMIT);
	while (ring->used.index != ring->available.index) {
	}
}

static void attack(void)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	static const uint8_t group[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	uint8_t other[6], nobody[6];
	const uint64_t count = arg_number("count", 100);

	memcpy(other, own, 6);
	other[5] = (uint8_t)arg_number("victim", 0);
	memcpy(nobody, own, 6);
	nobody[5] = 0xee;
	send(own, other, GOOD);
	for (uint64_t i = 0; i < count; i++) {
		send(other, all, BAD);	  /* as the victim */
		send(nobody, other, BAD); /* as a VM that is not there */
		send(own, nobody, BAD);
		send(own, own, BAD);
	}
	for (uint64_t i = 0; i < 4 * count; i++) {
		send(own, i % 2 == 0 ? all : group, GOOD);
	}
	send(own, other, GOOD);
	print("attack: %lu frames of each kind\n", count);
}

/* --- To receive --- */

static void on_message(struct trap_frame *frame)
{
	apic_write(APIC_EOI, 0);
}

static void take(void)
{
	struct ring *ring = &rings[RECEIVE];

	for (; seen != ring->used.index; seen++) {
		const uint32_t id = ring->used.entry[seen % QUEUE].id;
		const uint8_t *frame = ring->data[id] + HEADER;

		check_equal(ring->used.entry[seen % QUEUE].bytes, HEADER + BYTES);
		check_equal(frame[12] << 8 | frame[13], GOOD);
		check_equal(frame[11], 1);
		offer(RECEIVE);
	}
}

static _Noreturn void watch(void)
{
	for (;;) {
		take();
		/* A message that comes before HLT is taken behind STI, and behind HLT. */
		if (seen == rings[RECEIVE].used.index) {
			__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
		}
	}
}

void guest_main(void)
{
	apic_start(false);
	trap_handlers[VECTOR] = on_message;
	start();
	for (uint32_t i = 0; i < 6; i++) {
		own[i] = REG8(0x2000 + i);
	}
	if (arg("attack")) {
		attack();
	} else {
		print("watch: ready\n");
	}
	watch();
}
