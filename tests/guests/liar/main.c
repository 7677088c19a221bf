/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad guest: a driver of virtio devices that lies, in named ways: in PCI configuration space, in
 * registers, rings, and requests of the entropy device, a disk and a console (virtio 1.2; PCI 3.0).
 * It also sends bad frames from NET to PEER, and PEER's receive queue lies. After each
 * lie the device is either lost (DEVICE_NEEDS_RESET) or in use, as the table says. After a reset it
 * works, and serves an honest request. Another device is not affected.
 */
#include "tests/guests/liar/driver.h"

/* --- Lies --- */

struct lie {
	const char *name;
	void (*act)(const struct lie *lie);
	uint8_t status; /* of the device afterwards; 0: any */
	/* Arguments for act. */
	uint64_t a, b;
	uint32_t c, flags;
	uint8_t request; /* status that the request gets */
};

#define ALIVE	  USED_BY_DRIVER
#define UNTOUCHED 0xee
#define NOWHERE	  0x7000000000
/* CSUM, HOST_TSO4 and HOST_TSO6: virtio 1.2, 5.1.3. */
#define NET_OFFLOADS (1ull << 0 | 1ull << 11 | 1ull << 12)

static bool offers;

/* Offers one descriptor: address, length, flags and next. */
static void one(const struct lie *lie)
{
	set_desc(&ring->desc[0], (void *)lie->a, (uint32_t)lie->b, (uint16_t)lie->flags,
		 (uint16_t)lie->c);
}

/* As one(), with an address in the ring's own memory or the device. */
static void one_in_ring(const struct lie *lie)
{
	one(&(struct lie){
		.a = (uintptr_t)ring + lie->a, .b = lie->b, .c = lie->c, .flags = lie->flags });
}

static void one_in_device(const struct lie *lie)
{
	one(&(struct lie){ .a = (uintptr_t)bar_of(device), .b = lie->b, .flags = lie->flags });
}

static void honest(void)
{
	set_desc(&ring->desc[0], ring->data, 16, DESC_WRITE, 0);
}

/* Sets the index of the available ring, and its first entry. */
static void index(const struct lie *lie)
{
	ring->available.entry[0] = (uint16_t)lie->b;
	ring->available.index = (uint16_t)lie->a;
	offers = false;
}

static void loop(const struct lie *lie)
{
	for (uint16_t i = 0; i < QUEUE; i++) {
		set_desc(&ring->desc[i], ring->data, (uint32_t)lie->a,
			 (uint16_t)(DESC_NEXT | lie->flags), (uint16_t)((i + 1) % QUEUE));
	}
}

static void read_behind_write(const struct lie *lie)
{
	set_desc(&ring->desc[0], ring->data, 16, DESC_NEXT | DESC_WRITE, 1);
	set_desc(&ring->desc[1], ring->data, 16, 0, 0);
}

/* An indirect table of b bytes; its first descriptor has the flags a. */
static void table(const struct lie *lie)
{
	set_desc(&ring->table[0], ring->table, 16, (uint16_t)lie->a, 0);
	set_desc(&ring->desc[0], ring->table, (uint32_t)lie->b, (uint16_t)lie->flags, 1);
}

/* Places one part of the ring at another address; a = 3: all of them; a = 4: all shifted by c. */
static void rings_at(const struct lie *lie)
{
	const uint64_t parts[] = { (uintptr_t)ring->desc, (uintptr_t)&ring->available,
				   (uintptr_t)&ring->used };

	reset();
	accept(1ull << 32 | 1ull << 28);
	honest();
	ring->available.index = 1;
	REG16(0x16) = queue();
	for (uint32_t i = 0; i < 3; i++) {
		const uint64_t at = i == lie->a || lie->a == 3 ? lie->b : parts[i] + lie->c;

		REG32(0x20 + 8 * i) = (uint32_t)at;
		REG32(0x24 + 8 * i) = (uint32_t)(at >> 32);
	}
	REG16(0x18) = QUEUE;
	REG16(0x1c) = 1;
	REG8(0x14) = 0xf;
	offers = false;
}

/* --- Registers --- */

static void select_past(const struct lie *lie)
{
	for (uint32_t select = 1; select < 0x10000; select += 0x333) {
		REG16(0x16) = (uint16_t)select;
		for (uint32_t at = 0x18; at < 0x40; at += 2) {
			REG16(at) = 1;
			(void)REG16(at);
		}
		check_equal(REG16(0x18), 0);
		check_equal(REG16(0x1a), 0);
	}
	honest();
}

static void change_while_enabled(const struct lie *lie)
{
	REG16(0x16) = queue();
	REG32(0x20) = 0xdead0000;
	REG32(0x34) = 0xffffffff;
	REG16(0x18) = 1;
	REG16(0x1c) = 0;
	check_equal(REG16(0x18), QUEUE);
	check_equal(REG16(0x1c), 1);
	honest();
}

static void odd_widths(const struct lie *lie)
{
	for (uint32_t at = 0; at < 0x4000 - 8; at += 7) {
		volatile uint8_t *p = bar_of(device) + at;

		(void)*p;
		(void)*(volatile uint16_t *)p;
		(void)*(volatile uint32_t *)p;
		(void)*(volatile uint64_t *)p;
	}
	honest();
}

static void random_registers(const struct lie *lie)
{
	for (unsigned i = 0; i < 2000; i++) {
		const uint64_t random = random64();
		volatile uint8_t *p = bar_of(device) + (random & 0x3ff8);

		switch (random >> 14 & 3) {
		case 0: *p = (uint8_t)(random >> 32); break;
		case 1: *(volatile uint16_t *)p = (uint16_t)(random >> 32); break;
		case 2: *(volatile uint32_t *)p = (uint32_t)(random >> 32); break;
		default: *(volatile uint64_t *)p = random; break;
		}
	}
	offers = false;
}

static void start_with_features(const struct lie *lie)
{
	reset();
	if (lie->a != 0) {
		accept(lie->a);
	}
	check_equal(REG8(0x14) & 8, 0);
	REG8(0x14) = 0xf;
	check_equal(REG8(0x14) & 0xc, 0);
	offers = false;
}

static void many_resets(const struct lie *lie)
{
	for (unsigned i = 0; i < lie->a; i++) {
		offer(0);
		notify();
		drive();
	}
	honest();
}

static void many_notifications(const struct lie *lie)
{
	for (unsigned i = 0; i < lie->a; i++) {
		notify();
	}
	honest();
}

/* --- Configuration space --- */

static uint32_t capability(uint8_t id, uint8_t type)
{
	uint32_t at = config(device, 0x34) & 0xff;

	while (at != 0) {
		const uint32_t head = config(device, at);

		if ((head & 0xff) == id && (id != 9 || head >> 24 == type)) {
			return at;
		}
		at = head >> 8 & 0xff;
	}
	error("no capability %x", id);
}

static void window_anywhere(const struct lie *lie)
{
	const uint32_t at = capability(9, 5);

	for (unsigned i = 0; i < lie->a; i++) {
		set_config(device, at + 4, (uint32_t)random64() & lie->c);
		set_config(device, at + 8, (uint32_t)random64() & lie->c);
		set_config(device, at + 12, 1u << (i % 5));
		(void)config(device, at + 16);
	}
	honest();
}

static void config_of_all_ones(const struct lie *lie)
{
	const uint32_t low = config(device, 0x10), port = config(device, 0x20);

	for (uint32_t at = 0; at < 256; at += 4) {
		set_config(device, at, at == 4 ? 7 : 0xffffffff);
	}
	set_config(device, 0x10, low);
	set_config(device, 0x14, 0);
	set_config(device, 0x20, port);
	set_config(device, capability(0x11, 0), 0); /* disables MSI-X again */
	check_equal(config(device, 0) & 0xffff, 0x1af4);
	honest();
}

/* Places the BAR over what lies at this address (0: another device's BAR), and reads there. */
static void bar_over(const struct lie *lie)
{
	const uint32_t low = config(device, 0x10);
	const uint32_t other = config(device == RNG ? DISK : RNG, 0x10) & ~0xfu;
	const uint32_t at = lie->a != 0 ? (uint32_t)lie->a : other;

	set_config(device, 0x10, at);
	(void)*(volatile uint32_t *)(uintptr_t)at;
	set_config(device, 0x10, low);
	honest();
}

static void bar_moves(const struct lie *lie)
{
	for (uint32_t i = 0; i < lie->a; i++) {
		set_config(device, 0x10, 0xd0000000 + i * 0x4000);
		check_equal(REG8(0x14), USED_BY_DRIVER);
	}
	honest();
}

static void no_bus_master(const struct lie *lie)
{
	set_config(device, 4, 3);
	honest();
	offer(0);
	notify();
	wait_for_turn();
	check_equal(*(volatile uint16_t *)&ring->used.index, 0);
	offers = false;
}

static void message_to(const struct lie *lie)
{
	*(volatile uint64_t *)(bar_of(device) + 0x3010) = lie->a;
	*(volatile uint64_t *)(bar_of(device) + 0x3018) = lie->b;
	set_config(device, capability(0x11, 0), 0x80000000);
	REG16(0x16) = 0;
	REG16(0x1a) = 1;
	honest();
}

static void entries_past(const struct lie *lie)
{
	for (uint32_t at = 0x3000; at < 0x4000; at += 8) {
		*(volatile uint64_t *)(bar_of(device) + at) = 0;
		*(volatile uint8_t *)(bar_of(device) + at) = 0xff;
		(void)*(volatile uint16_t *)(bar_of(device) + at);
	}
	honest();
}

/* --- The disk --- */

/* a, b, c, flags: type, sector, bytes of the data, flags of its descriptor. */
static void request(const struct lie *lie)
{
	make_request((uint32_t)lie->a, lie->b, lie->c, (uint16_t)lie->flags);
}

/* A range of sectors to zero. */
static void range(const struct lie *lie)
{
	make_request(13, 0, 16, 0);
	*(uint64_t *)ring->data = lie->a;
	*(uint32_t *)(ring->data + 8) = (uint32_t)lie->b;
}

/* A read with one wrong descriptor: its number, address (0: unchanged), bytes and flags. */
static void cut(const struct lie *lie)
{
	struct desc *desc = &ring->desc[lie->a];

	make_request(0, 0, 512, DESC_WRITE);
	desc->address = lie->b != 0 ? lie->b : desc->address;
	desc->bytes = lie->c;
	desc->flags = (uint16_t)lie->flags;
}

static void data_over_the_header(const struct lie *lie)
{
	request(lie);
	ring->desc[1].address = (uintptr_t)&ring->header;
}

/* --- The console --- */

/* A buffer for input, while there is none: the device keeps it, or returns it without a byte. */
static void typed(const struct lie *lie)
{
	reset();
	accept(1ull << 32 | 1ull << 28);
	REG16(0x16) = 0;
	REG16(0x18) = QUEUE;
	REG32(0x20) = (uint32_t)(uintptr_t)ring->desc;
	REG32(0x28) = (uint32_t)(uintptr_t)&ring->available;
	REG32(0x30) = (uint32_t)(uintptr_t)&ring->used;
	REG16(0x1c) = 1;
	REG8(0x14) = 0xf;
	one(lie);
	offer(0);
	out16((uint16_t)(config(device, 0x20) & ~3u), 0);
	check_equal(*(volatile uint16_t *)&ring->used.index, lie->request);
	offers = false;
}

/* --- The network --- */

/* A frame of b bytes from NET to PEER; a and c are in its virtio-net header. */
static void framed(const struct lie *lie)
{
	choose(PEER);
	drive();
	for (uint16_t i = 0; i < QUEUE; i++) {
		set_desc(&ring->desc[i], ring->data, 4096, DESC_WRITE, 0);
		offer(i);
	}
	choose(NET);
	reset();
	accept(1ull << 32 | NET_OFFLOADS);
	set_up_queue();
	REG8(0x14) = 0xf;
	make_frame();
	memcpy(ring->data, &lie->a, 8);
	memcpy(ring->data + 8, &lie->c, 2);
	memcpy(ring->data + 12 + 12, (uint8_t[]){ 8, 0, 0x45 }, 3);
	ring->data[12 + 14 + 9] = 6;
	ring->data[12 + 34 + 12] = 0x50;
	set_desc(&ring->desc[0], ring->data, (uint32_t)lie->b, (uint16_t)lie->flags, 1);
	set_desc(&ring->desc[1], (void *)NOWHERE, 500, 0, 0);
}

/* As struct net_header of guest/dev/net_frame.h has it. */
#define ASKS(flags, gso, size, start) \
	((flags) | (uint64_t)(gso) << 8 | (uint64_t)(size) << 32 | (uint64_t)(start) << 48)

/* A row leaves out the fields that its function does not use. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
/* clang-format off */
static const struct lie ring_lies[] = {
	{ "the index jumps", index, LOST, 500, 0 },
	{ "the index goes back", index, LOST, 0xfff0, 0 },
	{ "the index jumps by one queue and one", index, LOST, QUEUE + 1, 0 },
	{ "an empty ring", index, ALIVE, 0, 0 },
	{ "a head past the queue", index, LOST, 1, QUEUE },
	{ "a head far past the queue", index, LOST, 1, 0xffff },
	{ "a next past the queue", one_in_ring, LOST, 0, 16, QUEUE, DESC_NEXT },
	{ "a next far past the queue", one_in_ring, LOST, 0, 16, 0x7fff, DESC_NEXT },
	{ "a loop of one", one_in_ring, LOST, 0, 16, 0, DESC_NEXT },
	{ "a loop of all", loop, LOST, 16 },
	{ "a loop of writes of 4 GiB", loop, LOST, 0xffffffff, 0, 0, DESC_WRITE },
	{ "a loop of nothing", loop, LOST, 0, 0, 0, DESC_WRITE },
	{ "a read behind a write", read_behind_write, LOST },
	{ "a table in a table", table, LOST, DESC_INDIRECT, 16, 0, DESC_INDIRECT },
	{ "a chain behind a table", table, LOST, DESC_WRITE, 16, 0, DESC_INDIRECT | DESC_NEXT },
	{ "a table that loops", table, LOST, DESC_NEXT | DESC_WRITE, 32, 0, DESC_INDIRECT },
	{ "a next past the table", table, LOST, DESC_NEXT, 16, 0, DESC_INDIRECT },
	{ "a table of 17 bytes", table, LOST, DESC_WRITE, 17, 0, DESC_INDIRECT },
	{ "a table of 15 bytes", table, LOST, DESC_WRITE, 15, 0, DESC_INDIRECT },
	{ "a table of nothing", table, LOST, DESC_WRITE, 0, 0, DESC_INDIRECT },
	{ "a table longer than its queue", table, LOST, DESC_WRITE, 144, 0, DESC_INDIRECT },
	{ "a table of 4 GiB", table, LOST, DESC_WRITE, 0xfffffff0, 0, DESC_INDIRECT },
	{ "a table nowhere", one, LOST, NOWHERE, 32, 0, DESC_INDIRECT },
	{ "a table that wraps", one, LOST, ~15ull, 32, 0, DESC_INDIRECT },
	{ "a table in a BAR", one_in_device, LOST, 0, 32, 0, DESC_INDIRECT },
	{ "descriptors nowhere", rings_at, LOST, 0, NOWHERE },
	{ "an available ring nowhere", rings_at, LOST, 1, NOWHERE },
	{ "a used ring nowhere", rings_at, LOST, 2, NOWHERE },
	{ "descriptors that wrap", rings_at, LOST, 0, ~15ull },
	{ "an available ring that wraps", rings_at, 0, 1, ~1ull }, /* to RAM at 0 */
	{ "a used ring in the APIC", rings_at, LOST, 2, MEMMAP_LAPIC },
	{ "rings in one place", rings_at, 0, 3, 0x3000000 },
	{ "rings at odd addresses", rings_at, 0, 4, 0, 1 },
	{ "random registers", random_registers, 0 },
	{ "a start without features", start_with_features, 0 },
	{ "all features", start_with_features, 0, ~0ull },
	{ "features of the legacy interface", start_with_features, 0, 1ull << 28 },
	{ "no bus master", no_bus_master, 0 },
};

static const struct lie rng_lies[] = {
	{ "a buffer in a BAR", one_in_device, LOST, 0, 16, 0, DESC_WRITE },
	{ "a buffer in the APIC", one, LOST, MEMMAP_LAPIC, 16, 0, DESC_WRITE },
	{ "a buffer that wraps", one, LOST, ~7ull, 4096, 0, DESC_WRITE },
	{ "a buffer past RAM", one, LOST, 64ull << 20, 4096, 0, DESC_WRITE },
	{ "a buffer over the end of RAM", one, LOST, (64ull << 20) - 8, 16, 0, DESC_WRITE },
	{ "a buffer of 4 GiB", one, ALIVE, 0x3000000, 0xffffffff, 0, DESC_WRITE },
	{ "a buffer in its ring", one_in_ring, 0, offsetof(struct ring, used), 64, 0, DESC_WRITE },
	{ "a buffer that is its descriptor", one_in_ring, ALIVE, 0, 16, 0, DESC_WRITE },
	{ "a buffer of nothing", one_in_ring, ALIVE, 0x5000, 0, 0, DESC_WRITE },
	{ "a buffer of nothing nowhere", one, ALIVE, NOWHERE, 0, 0, DESC_WRITE },
	{ "a buffer to read", one_in_ring, ALIVE, 0x5000, 16, 0, 0 },
	{ "flags of all kinds", one_in_ring, ALIVE, 0x5000, 16, 0, 0xfff8 | DESC_WRITE },
	{ "queues that are not there", select_past, ALIVE },
	{ "changes of an enabled queue", change_while_enabled, ALIVE },
	{ "odd widths", odd_widths, ALIVE },
	{ "many resets", many_resets, ALIVE, 200 },
	{ "many notifications", many_notifications, ALIVE, 2000 },
	{ "a window to anywhere", window_anywhere, ALIVE, 500, 0, 0xffffffff },
	{ "a window to registers", window_anywhere, ALIVE, 500, 0, 0x3f },
	{ "configuration of all ones", config_of_all_ones, ALIVE },
	{ "a BAR over RAM", bar_over, ALIVE, 0x100000 },
	{ "a BAR over the local APIC", bar_over, ALIVE, MEMMAP_LAPIC },
	{ "a BAR over the I/O APIC", bar_over, ALIVE, MEMMAP_IOAPIC },
	{ "a BAR over ECAM", bar_over, ALIVE, MEMMAP_ECAM },
	{ "a BAR at the end of 4 GiB", bar_over, ALIVE, 0xffffc000 },
	{ "a BAR over the other's", bar_over, ALIVE, 0 },
	{ "a BAR that moves", bar_moves, ALIVE, 64 },
	{ "a message to RAM", message_to, ALIVE, 0x3000000, 0x40 },
	{ "a message to the I/O APIC", message_to, ALIVE, MEMMAP_IOAPIC, 0x40 },
	{ "a message above 4 GiB", message_to, ALIVE, 0x1fee00000, 0x40 },
	{ "a message of vector 0", message_to, ALIVE, MEMMAP_LAPIC, 0 },
	{ "a message as ExtINT", message_to, ALIVE, MEMMAP_LAPIC, 0x740 },
	{ "a message as SMI", message_to, ALIVE, MEMMAP_LAPIC, 0x240 },
	{ "a message to nobody", message_to, ALIVE, MEMMAP_LAPIC | 0x7f000, 0x40 },
	{ "entries past the table", entries_past, ALIVE },
};

static const struct lie disk_lies[] = {
	{ "the sector at the end", request, ALIVE, 0, SECTORS, 512, DESC_WRITE, 1 },
	{ "sectors over the end", request, ALIVE, 0, SECTORS - 1, 1024, DESC_WRITE, 1 },
	{ "a sector that wraps", request, ALIVE, 0, ~0ull, 512, DESC_WRITE, 1 },
	{ "a sector whose byte wraps", request, ALIVE, 0, 1ull << 55, 512, DESC_WRITE, 1 },
	{ "half a sector", request, ALIVE, 0, 0, 256, DESC_WRITE, 1 },
	{ "data of 4 GiB", request, ALIVE, 0, 0, 0xfffffe00, DESC_WRITE, 1 },
	{ "a read of nothing", request, ALIVE, 0, 0, 0, DESC_WRITE, 0 },
	{ "a write over the end", request, ALIVE, 1, SECTORS - 3, 4096, 0, 1 },
	{ "a write that wraps", request, ALIVE, 1, ~0ull - 6, 4096, 0, 1 },
	{ "a write to what it reads", request, ALIVE, 1, 0, 512, DESC_WRITE, 0 },
	{ "an unknown type", request, ALIVE, 99, 0, 512, DESC_WRITE, 2 },
	{ "a huge type", request, ALIVE, 0x80000000, 0, 512, DESC_WRITE, 2 },
	{ "a discard of 3 bytes", request, ALIVE, 11, 0, 3, 0, 1 },
	{ "a discard of nothing", request, ALIVE, 11, 0, 0, 0, 1 },
	{ "17 ranges", request, ALIVE, 13, 0, 17 * 16, 0, 1 },
	{ "zeros past the end", range, ALIVE, SECTORS, 8, 0, 0, 1 },
	{ "zeros of 2 TiB", range, ALIVE, 0, 0xffffffff, 0, 0, 1 },
	{ "zeros that wrap", range, ALIVE, ~0ull, 8, 0, 0, 1 },
	{ "a flush with data", request, ALIVE, 4, ~0ull, 512, 0, 0 },
	{ "a name of nothing", request, ALIVE, 8, 0, 0, DESC_WRITE, 0 },
	{ "data over the header", data_over_the_header, ALIVE, 0, 0, 512, DESC_WRITE, 0 },
	{ "data nowhere", cut, LOST, 1, NOWHERE, 512, DESC_WRITE | DESC_NEXT, UNTOUCHED },
	{ "a status nowhere", cut, LOST, 2, NOWHERE, 1, DESC_WRITE, UNTOUCHED },
	{ "a header nowhere", cut, LOST, 0, NOWHERE, 16, DESC_NEXT, UNTOUCHED },
	{ "a header alone", cut, LOST, 0, 0, 16, 0, UNTOUCHED },
	{ "a header of 15 bytes", cut, LOST, 0, 0, 15, DESC_NEXT, UNTOUCHED },
	{ "a header to write", cut, LOST, 0, 0, 16, DESC_NEXT | DESC_WRITE, UNTOUCHED },
};

/* Each goes to a port that has buffers. */
static const struct lie net_lies[] = {
	{ "a frame of nothing", framed, ALIVE, 0, 0 },
	{ "half a header", framed, ALIVE, 0, 11 },
	{ "half an address", framed, ALIVE, 0, 25 },
	{ "a frame longer than the MTU", framed, ALIVE, 0, 12 + 1519 },
	{ "a frame of 4 GiB", framed, ALIVE, 0, 0xffffffff },
	{ "a frame to write", framed, ALIVE, 0, FRAME, 0, DESC_WRITE },
	{ "a checksum behind the frame", framed, ALIVE, ASKS(1, 0, 0, 72), FRAME, 16 },
	{ "a checksum far away", framed, ALIVE, ASKS(1, 0, 0, 0xffff), FRAME, 0xffff },
	{ "a checksum of an address", framed, ALIVE, ASKS(1, 0, 0, 4), FRAME, 0 },
	{ "segments of nothing", framed, ALIVE, ASKS(1, 1, 0, 34), 3000, 16 },
	{ "segments without a checksum", framed, ALIVE, ASKS(0, 1, 1000, 34), 3000, 16 },
	{ "segments of 64 KiB", framed, ALIVE, ASKS(1, 1, 0xffff, 34), 8000, 16 },
	{ "segments of UDP", framed, ALIVE, ASKS(1, 3, 1000, 34), 3000, 6 },
	{ "segments of IPv6 that is IPv4", framed, ALIVE, ASKS(1, 4, 1000, 54), 3000, 16 },
	{ "segments that lie about TCP", framed, ALIVE, ASKS(1, 1, 1000, 33), 3000, 16 },
	{ "segments of an unknown kind", framed, ALIVE, ASKS(1, 0x7f, 1000, 34), 3000, 16 },
	{ "segments with ECN", framed, ALIVE, ASKS(1, 0x81, 1000, 34), 3000, 16 },
	{ "a frame that goes on nowhere", framed, LOST, 0, 80, 0, DESC_NEXT },
	{ "segments that go on nowhere", framed, LOST, ASKS(1, 1, 1400, 34), 80, 16, DESC_NEXT },
	{ "a header nowhere", one, LOST, NOWHERE, FRAME },
	{ "a frame in a BAR", one_in_device, LOST, 0, FRAME },
	{ "a frame that wraps", one, LOST, ~15ull, FRAME },
};

/* The last ones are about its receive queue: the last number says whether the buffer comes back. */
static const struct lie console_lies[] = {
	{ "text nowhere", one, LOST, NOWHERE, 16 },
	{ "text in a BAR", one_in_device, LOST, 0, 16 },
	{ "text in the APIC", one, LOST, MEMMAP_LAPIC, 16 },
	{ "text that wraps", one, LOST, ~7ull, 4096 },
	{ "text over the end of RAM", one, LOST, (64ull << 20) - 8, 16 },
	{ "text of nothing nowhere", one, ALIVE, NOWHERE, 0 },
	{ "text to write", one_in_ring, ALIVE, 0x5000, 16, 0, DESC_WRITE },
	{ "room for input nowhere", typed, ALIVE, NOWHERE, 16, 0, DESC_WRITE, 0 },
	{ "no room for input", typed, ALIVE, NOWHERE, 0, 0, DESC_WRITE, 1 },
	{ "input to read", typed, ALIVE, NOWHERE, 16, 0, 0, 1 },
};

static const struct lie peer_lies[] = {
	{ "a buffer nowhere", one, LOST, NOWHERE, 2048, 0, DESC_WRITE },
	{ "a buffer in a BAR", one_in_device, LOST, 0, 2048, 0, DESC_WRITE },
	{ "a buffer over the end of RAM", one, LOST, (64ull << 20) - 50, 2048, 0, DESC_WRITE },
	{ "a buffer of nothing", one_in_ring, ALIVE, 0x5000, 0, 0, DESC_WRITE },
	{ "a buffer without room for a header", one_in_ring, ALIVE, 0x5000, 11, 0, DESC_WRITE },
	{ "a buffer to read", one_in_ring, ALIVE, 0x5000, 2048, 0, 0 },
	{ "a buffer in its ring", one_in_ring, 0, 0, 2048, 0, DESC_WRITE },
	{ "a buffer of 4 GiB", one, ALIVE, 0x3000000, 0xffffffff, 0, DESC_WRITE },
};
/* clang-format on */

static unsigned tried;

static void act(uint32_t which, const struct lie *lie)
{
	choose(which);
	drive();
	offers = true;
	ring->status = UNTOUCHED;
	lie->act(lie);
	if (offers) {
		offer(0);
	}
	notify();
	wait_for_turn();
	if (lie->status != 0 && REG8(0x14) != lie->status) {
		fail("%s (device %u): its status is %x, not %x", lie->name, which, REG8(0x14),
		     lie->status);
	}
	if (lie >= disk_lies && lie < disk_lies + ARRAY_COUNT(disk_lies) &&
	    ring->status != lie->request) {
		fail("%s: the request's status is %x, not %x", lie->name, ring->status,
		     lie->request);
	}
	if (lie >= net_lies && lie < net_lies + ARRAY_COUNT(net_lies) &&
	    *(volatile uint16_t *)&rings[PEER].used.index != 0) {
		fail("%s: something of it arrived", lie->name);
	}
	be_honest(lie->name);
	choose(which == RNG ? DISK : RNG);
	be_honest(lie->name);
	tried++;
}

void guest_main(void)
{
	check_equal(config(RNG, 0), 0x10441af4);
	check_equal(config(DISK, 0), 0x10421af4);
	check_equal(config(HVC, 0), 0x10431af4);
	check_equal(config(NET, 0), 0x10411af4);
	check_equal(config(PEER, 0), 0x10411af4);
	for (uint32_t which = RNG; which <= PEER; which++) {
		choose(which);
		be_honest("nothing");
		for (unsigned i = 0; i < ARRAY_COUNT(ring_lies); i++) {
			act(which, &ring_lies[i]);
		}
	}
	for (unsigned i = 0; i < ARRAY_COUNT(rng_lies); i++) {
		act(RNG, &rng_lies[i]);
	}
	for (unsigned i = 0; i < ARRAY_COUNT(disk_lies); i++) {
		act(DISK, &disk_lies[i]);
	}
	for (unsigned i = 0; i < ARRAY_COUNT(console_lies); i++) {
		act(HVC, &console_lies[i]);
	}
	for (unsigned i = 0; i < ARRAY_COUNT(net_lies); i++) {
		act(NET, &net_lies[i]);
	}
	for (unsigned i = 0; i < ARRAY_COUNT(peer_lies); i++) {
		act(PEER, &peer_lies[i]);
	}
	print("%u lies\n", tried);
}
