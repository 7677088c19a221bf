/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of one virtio network device. "attack": sends frames under another's address, to nobody,
 * and to everybody as fast as it can; then it waits. "watch": checks each frame that comes, of
 * which none may be one of the first two kinds, and waits for more, woken by the device's messages.
 * "last": sends one frame and ends at once: "triple" by a fault without an IDT, "halts" for good,
 * else by turning itself off. All have the APIC ID 0 and device 00:02.0.
 */
#include "tests/guests/common/virtio.h"

#define DEVICE	2
#define NETWORK 1 /* its type */
#define MESSAGE 1
#define VECTOR	0x50

#define RECEIVE	 0u
#define TRANSMIT 1u

#define HEADER	     12u
#define BYTES	     100u /* of each frame */
#define BUFFER_BYTES 2048u
/* Types of frames that may arrive, and may not: "local experimental" (IEEE Std 802). */
#define GOOD 0x88b5
#define BAD  0x88b6

static struct virtio_device device;
static struct ring rings[2];
static uint8_t buffers[2][RING_SLOTS][BUFFER_BYTES];
static uint16_t seen;

static void offer(uint32_t queue)
{
	struct ring *ring = &rings[queue];
	const uint16_t slot = ring->available.index % RING_SLOTS;

	ring_offer_buffer(ring, slot, buffers[queue][slot],
			  queue == RECEIVE ? BUFFER_BYTES : HEADER + BYTES,
			  queue == RECEIVE ? DESC_WRITE : 0);
}

static void start(void)
{
	virtio_find(&device, DEVICE, NETWORK);
	virtio_begin(&device);
	virtio_set_queue(&device, RECEIVE, &rings[RECEIVE], MESSAGE);
	virtio_set_queue(&device, TRANSMIT, &rings[TRANSMIT], VIRTIO_NO_MESSAGE);
	virtio_set_message(&device, MESSAGE, VECTOR);
	virtio_run(&device);
	for (uint32_t i = 0; i < RING_SLOTS; i++) {
		offer(RECEIVE);
	}
}

/* --- To send --- */

static uint8_t own[6];

/*
 * Sends a frame with these addresses and this type; the rest of it is zeros. Notifies the device,
 * and does not wait.
 */
static void begin_send(const uint8_t *from, const uint8_t *to, uint32_t type)
{
	struct ring *ring = &rings[TRANSMIT];
	uint8_t *frame = buffers[TRANSMIT][ring->available.index % RING_SLOTS] + HEADER;

	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
	offer(TRANSMIT);
	virtio_notify(&device, TRANSMIT);
}

static void send(const uint8_t *from, const uint8_t *to, uint32_t type)
{
	const struct ring *ring = &rings[TRANSMIT];

	begin_send(from, to, type);
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

/* The device may put the frame off for a moment to gather more, but the VM must not end first. */
static _Noreturn void say_last_words(void)
{
	uint8_t other[6];

	memcpy(other, own, 6);
	other[5] = (uint8_t)arg_number("victim", 0);
	begin_send(own, other, GOOD);
	if (arg("triple")) {
		load_idt(idt, 0);
		__asm__ volatile("ud2");
	} else if (arg("halts")) {
		__asm__ volatile("cli\n\thlt");
	}
	out16(PORT_PM1_CONTROL, PM1_SLP_TYP_S5 << 10 | BIT(13));
	fail("it goes on behind its end");
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
		const uint32_t id = ring->used.entry[seen % RING_SLOTS].id;
		const uint8_t *frame = buffers[RECEIVE][id] + HEADER;

		check_equal(ring->used.entry[seen % RING_SLOTS].bytes, HEADER + BYTES);
		check_equal(frame[12] << 8 | frame[13], GOOD);
		check(frame[11] == 1 || frame[11] >= 4); /* none is the victim's own, or nobody's */
		check(frame[11] < 0x10);
		offer(RECEIVE);
	}
}

static _Noreturn void watch(void)
{
	for (;;) {
		take();
		/*
		 * STI keeps a message back until after HLT: one that has come before ends the
		 * HLT.
		 */
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
		own[i] = virtio_config(&device, i);
	}
	if (arg("last")) {
		say_last_words();
	} else if (arg("attack")) {
		attack();
	} else {
		print("watch: ready\n");
	}
	watch();
}
