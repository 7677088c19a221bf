/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many lives of a VM ("victim") that receives frames, has a disk and a share, beside a VM ("peer")
 * that never stops to send to it, reads the same image and is the other member of the share.
 *
 * The peer writes the number of each frame to the share before it sends the frame. So the victim
 * knows, before it starts its network device, the least number that may still come. A frame with a
 * smaller number is stale: the switch has kept it for a port that was closed, and this fails in the
 * victim's first life. Memory of a VM begins as zeros. Memory that a device used belongs to the
 * driver alone once the device shows that it has been reset.
 *
 * The image's pages hold markers. The victim writes to one of them. What it wrote is there after a
 * reset, and gone after any other end: the lives in a row are started, reset, and started again. A
 * key ends the peer; the victim ends by the power button (ACPI, "PM1 Event Grouping").
 */
#include "tests/bus/marker.h"
#include "tests/guests/common/virtio.h"

#define DISK	     2 /* numbers of the PCI devices */
#define NETWORK	     3
#define TYPE_NETWORK 1
#define TYPE_DISK    2
#define MESSAGE	     1
#define VECTOR	     0x50
#define TIMER	     0x51
#define DEADLINE     BIT(18) /* mode of the timer's LVT entry */

/* Words of the share. */
static volatile uint64_t *const share = (volatile uint64_t *)MEMMAP_HIGH_RAM;
#define SHARE_SENT 0 /* the number of the last frame that the peer began to send */
#define SHARE_LIFE 1 /* the number of the victim's life */

/* Memory that nothing but the network device writes to, and that the victim looks through. */
#define LOOKED		     0x400000ull
#define LOOKED_END	     0x500000ull
#define BUFFER_BYTES	     2048u
#define RECEIVE_BUFFER(slot) ((uint8_t *)LOOKED + (slot) * (uint64_t)BUFFER_BYTES)
#define PATTERN		     0xa5

#define STATUS	 0x14u /* of the common configuration, which is where the BAR begins */
#define RECEIVE	 0u
#define TRANSMIT 1u
#define HEADER	 12u
#define WORDS	 60u
struct frame {
	uint8_t header[HEADER]; /* virtio_net_hdr */
	uint8_t to[6], from[6];
	uint8_t type[2]; /* 88B5H, "local experimental" (IEEE Std 802) */
	uint8_t unused[6];
	uint64_t words[WORDS]; /* all are the frame's number */
};

#define PAGES	     16u /* of the image */
#define WRITTEN_PAGE 5u
#define WRITTEN	     1000u /* and the number of the life: the page's markers */
#define LIVES	     3u	   /* after the second life of three the disk's overlay is kept */
#define SECTORS	     8u	   /* in a page */

static struct virtio_device disk, network;
static struct ring disk_ring, rings[2];
static uint16_t seen;
static uint64_t taken, last;
static struct frame out_frame;
static const uint8_t peer_address[6] = { 0x52, 0x54, 0, 0, 0, 1 };
static const uint8_t victim_address[6] = { 0x52, 0x54, 0, 0, 0, 2 };

/* --- Disk --- */

static struct marker page[MARKER_PAGE_BLOCKS];

static void access_disk(bool write, uint64_t number)
{
	static struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	static volatile uint8_t status;

	header.type = write;
	header.sector = number * SECTORS;
	status = 0xff;
	disk_ring.desc[0].address = (uintptr_t)&header;
	disk_ring.desc[0].bytes = sizeof(header);
	disk_ring.desc[0].flags = DESC_NEXT;
	disk_ring.desc[0].next = 1;
	disk_ring.desc[1].address = (uintptr_t)page;
	disk_ring.desc[1].bytes = sizeof(page);
	disk_ring.desc[1].flags = DESC_NEXT | (write ? 0 : DESC_WRITE);
	disk_ring.desc[1].next = 2;
	disk_ring.desc[2].address = (uintptr_t)&status;
	disk_ring.desc[2].bytes = 1;
	disk_ring.desc[2].flags = DESC_WRITE;
	ring_offer(&disk_ring, 0);
	virtio_notify(&disk, 0);
	while (disk_ring.used.index != disk_ring.available.index) {
		__asm__ volatile("pause");
	}
	check_equal(status, 0);
}

static void check_page(uint64_t number, uint64_t markers)
{
	access_disk(false, number);
	for (uint64_t block = 0; block < MARKER_PAGE_BLOCKS; block++) {
		const struct marker want = marker_make(markers, block);

		check_equal(page[block].first, want.first);
		check_equal(page[block].second, want.second);
	}
}

static void write_page(uint64_t number, uint64_t markers)
{
	for (uint64_t block = 0; block < MARKER_PAGE_BLOCKS; block++) {
		page[block] = marker_make(markers, block);
	}
	access_disk(true, number);
}

static void start_disk(void)
{
	virtio_find(&disk, DISK, TYPE_DISK);
	virtio_begin(&disk);
	virtio_set_queue(&disk, 0, &disk_ring, VIRTIO_NO_MESSAGE);
	virtio_run(&disk);
}

/* --- Network --- */

static void offer_receive(void)
{
	const uint16_t slot = rings[RECEIVE].available.index % RING_SLOTS;

	ring_offer_buffer(&rings[RECEIVE], slot, RECEIVE_BUFFER(slot), BUFFER_BYTES, DESC_WRITE);
}

static void start_network(void)
{
	memset(rings, 0, sizeof(rings));
	seen = 0;
	virtio_begin(&network);
	virtio_set_queue(&network, RECEIVE, &rings[RECEIVE], MESSAGE);
	virtio_set_queue(&network, TRANSMIT, &rings[TRANSMIT], VIRTIO_NO_MESSAGE);
	for (unsigned i = 0; i < RING_SLOTS; i++) {
		offer_receive();
	}
	virtio_run(&network);
}

/*
 * Halts meanwhile. Umbra gathers what a vCPU sends while it runs, and gives it to the receiver once
 * the vCPU halts.
 */
static void rest(uint64_t us)
{
	const uint64_t before = trap_count[TIMER];

	wrmsr(MSR_IA32_TSC_DEADLINE, rdtsc() + tsc_hz() / 1000000 * us);
	while (trap_count[TIMER] == before) {
		__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
	}
}

static void send(const uint8_t *from, const uint8_t *to, uint64_t number)
{
	struct ring *ring = &rings[TRANSMIT];

	memcpy(out_frame.to, to, sizeof(out_frame.to));
	memcpy(out_frame.from, from, sizeof(out_frame.from));
	out_frame.type[0] = 0x88;
	out_frame.type[1] = 0xb5;
	for (unsigned i = 0; i < WORDS; i++) {
		out_frame.words[i] = number;
	}
	ring_offer_buffer(ring, 0, &out_frame, sizeof(out_frame), 0);
	virtio_notify(&network, TRANSMIT);
	while (ring->used.index != ring->available.index) {
		rest(20);
	}
}

/* Takes what has come. Numbers rise, from `least` on. */
static void take(const uint8_t *from, uint64_t least)
{
	struct ring *ring = &rings[RECEIVE];

	for (; seen != ring->used.index; seen++) {
		const uint32_t slot = ring->used.entry[seen % RING_SLOTS].id;
		const struct frame *frame = (const struct frame *)RECEIVE_BUFFER(slot);

		check_equal(ring->used.entry[seen % RING_SLOTS].bytes, sizeof(*frame));
		check_equal(memcmp(frame->from, from, sizeof(frame->from)), 0);
		if (frame->words[0] < least || frame->words[0] < last) {
			fail("frame %lu came after %lu and %lu", frame->words[0], least, last);
		}
		last = frame->words[0];
		for (unsigned i = 1; i < WORDS; i++) {
			check_equal(frame->words[i], last);
		}
		memset((void *)frame, 0, sizeof(*frame));
		taken++;
		offer_receive();
	}
}

static void on_interrupt(struct trap_frame *frame)
{
	apic_write(APIC_EOI, 0);
}

/* --- The peer --- */

static void be_peer(void)
{
	const uint64_t pause_us = arg_number("pause", 100);
	uint64_t number = 0;

	start_network();
	print("peer: ready\n");
	while ((in8(PORT_COM1 + 5) & 1) == 0) {
		for (unsigned i = 0; i < 4; i++) {
			share[SHARE_SENT] = ++number;
			send(peer_address, victim_address, number);
		}
		take(victim_address, 1);
		check(last <= share[SHARE_LIFE]);
		if (number % 64 == 0) {
			check_page(number / 64 % PAGES, number / 64 % PAGES);
		}
		rest(pause_us);
	}
	print("peer: sent %lu frames, took %lu\n", number, taken);
}

/* --- The victim --- */

/* The memory is full of this byte, so no device has written to it. */
static void check_untouched(uint8_t byte)
{
	for (uint64_t at = LOOKED; at < LOOKED_END; at += 8) {
		check_equal(*(volatile uint64_t *)at, byte * 0x0101010101010101ull);
	}
}

/*
 * A few bytes of each buffer, where a frame's header and its end would be. That takes much less
 * time than a frame, so the rest of one that comes after the reset is not overwritten by the marks.
 */
#define MARK 0x5a5a5a5a5a5a5a5aull
static volatile uint64_t *mark_of(unsigned slot, bool end)
{
	return (volatile uint64_t *)(RECEIVE_BUFFER(slot) + (end ? sizeof(struct frame) - 8 : 0));
}

static void mark_buffers(void)
{
	for (unsigned slot = 0; slot < RING_SLOTS; slot++) {
		*mark_of(slot, false) = *mark_of(slot, true) = MARK;
	}
}

static void check_marks(void)
{
	for (unsigned slot = 0; slot < RING_SLOTS; slot++) {
		check_equal(*mark_of(slot, false), MARK);
		check_equal(*mark_of(slot, true), MARK);
	}
}

/*
 * Once the device has been reset, nothing of what the peer goes on to send comes, nor the rest of a
 * frame that it is sending: the reset begins at another point of one in each life.
 */
static void check_reset(uint64_t life)
{
	uint64_t sent = share[SHARE_SENT];
	uint16_t index;

	while (share[SHARE_SENT] == sent) {
	}
	for (uint64_t i = 0; i < life % 64 * 16; i++) {
		__asm__ volatile("");
	}
	virtio_reset(&network);
	index = rings[RECEIVE].used.index;
	mark_buffers();
	sent = share[SHARE_SENT];
	while (share[SHARE_SENT] < sent + 2) {
		__asm__ volatile("pause");
	}
	check_marks();
	memset((void *)LOOKED, PATTERN, LOOKED_END - LOOKED);
	sent = share[SHARE_SENT];
	while (share[SHARE_SENT] < sent + 4) {
		__asm__ volatile("pause");
	}
	check_untouched(PATTERN);
	check_equal(rings[RECEIVE].used.index, index);
	/* Nobody drives the device now, so it cannot have found an error in a ring. */
	check_equal(network.bar[STATUS], 0);
}

static void wait_for_frames(uint64_t least)
{
	const uint64_t before = taken;

	while (taken < before + 3) {
		take(peer_address, least);
	}
}

static void be_victim(void)
{
	const uint64_t life = ++share[SHARE_LIFE];
	uint64_t least;

	check_untouched(0);
	out8(PORT_PM1_EVENT + 3, 1); /* PWRBTN_EN */
	check_page(WRITTEN_PAGE, life % LIVES == 2 ? WRITTEN + life - 1 : WRITTEN_PAGE);
	check_page(life % PAGES == WRITTEN_PAGE ? 0 : life % PAGES,
		   life % PAGES == WRITTEN_PAGE ? 0 : life % PAGES);
	least = share[SHARE_SENT];
	start_network();
	wait_for_frames(least);
	check_reset(life);
	least = share[SHARE_SENT];
	start_network();
	wait_for_frames(least);
	write_page(WRITTEN_PAGE, WRITTEN + life);
	send(victim_address, peer_address, life);
	print("victim: ready for end %lu\n", life);
	while ((in8(PORT_PM1_EVENT + 1) & 1) == 0) { /* PWRBTN_STS */
		take(peer_address, least);
		send(victim_address, peer_address, life);
		write_page(WRITTEN_PAGE, WRITTEN + life);
		__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
	}
}

void guest_main(void)
{
	apic_start(false);
	map_high();
	trap_handlers[VECTOR] = trap_handlers[TIMER] = on_interrupt;
	apic_write(APIC_LVT_TIMER, DEADLINE | TIMER);
	start_disk();
	virtio_find(&network, NETWORK, TYPE_NETWORK);
	virtio_set_message(&network, MESSAGE, VECTOR);
	if (arg("peer")) {
		be_peer();
	} else {
		be_victim();
	}
}
