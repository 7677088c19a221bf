/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests whose buffers are a byte long each: every one may cost a page that has to be opened. So
 * a turn looks at the clock after a few of them.
 */
#define QUEUE_LEN 256
#include "tests/unit/test.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/base/err.h"
#include "vmm/base/tsc.h"

#define HEADER 0x30000ul
#define PIECES 248u

static uint8_t image[2 * PAGE_SIZE] __attribute__((aligned(4096)));
static struct vm_config config;
static uint64_t look_ticks; /* how much time passes between two looks at the clock */

uint64_t fake_rdtsc(void)
{
	return fake_tsc += look_ticks;
}

int rng_bytes(void *buf, size_t bytes)
{
	memset(buf, 0x77, bytes);
	return 0;
}

static int setup(void **state)
{
	const int err = fake_setup(state);

	look_ticks = 0;
	make_vm();
	config = (struct vm_config){ 0 };
	config.disks[0].file = (struct vm_file){
		.path = "disk.img",
		.data = image,
		.bytes = sizeof(image),
	};
	config.disks[0].cow_bytes = 16 * PAGE_SIZE;
	platform.config = &config;
	for (size_t i = 0; i < sizeof(image); i++) {
		image[i] = (uint8_t)(i / 256 + i);
	}
	return err;
}

static int teardown(void **state)
{
	virtio_blk_device.destroy(&platform);
	disk_forget(&config);
	end_vm();
	return fake_teardown(state);
}

/* Where the nth piece is: each is in a page of its own, as far as there are any. */
static uint64_t place(unsigned i)
{
	return BUFFER + (i % 128) * PAGE_SIZE + i;
}

/* PIECES pieces of a byte, from this descriptor on; the last one has the rest. */
static void scatter(uint16_t from, uint32_t bytes, uint16_t flags, uint16_t next)
{
	for (uint16_t i = 0; i < PIECES; i++) {
		const bool is_last = i + 1u == PIECES;

		set_desc(DESC(0), from + i, place(i), is_last ? bytes - i : 1,
			 flags | (is_last && next == 0 ? 0 : F_NEXT),
			 is_last ? next : (uint16_t)(from + i + 1));
	}
}

/* The turns that the request takes if each of them is over after one copy. */
static unsigned turns(const struct virtio *device)
{
	const uint64_t before = atomic_load_relaxed(&device->counters.turns);

	look_ticks = tsc_from_us(VIRTIO_TURN_US) / 3 + 1;
	offer(0, 0);
	notify(0);
	(void)work();
	look_ticks = 0;
	assert_int_equal(reg(0x14, 1), 0xf);
	return (unsigned)(atomic_load_relaxed(&device->counters.turns) - before);
}

TEST(a_disk_reads_and_writes_a_few_at_once, setup, teardown)
{
	static uint8_t got[2 * PAGE_SIZE];

	assert_int_equal(virtio_blk_device.init(&platform), 0);
	drive(0, 1);
	poke(HEADER, (uint32_t[4]){ 0 }, 16);
	set_desc(DESC(0), 0, HEADER, 16, F_NEXT, 1);
	scatter(1, 512, F_WRITE, PIECES + 1);
	set_desc(DESC(0), PIECES + 1, HEADER + 0x100, 1, F_WRITE, 0);
	assert_in_range(turns(&platform.disks[0]->virtio), PIECES / VRING_RUN, 100);
	assert_int_equal(used_index(0), 1);
	assert_int_equal(peek(HEADER + 0x100, 1), 0);
	for (unsigned i = 0; i < PIECES; i++) {
		assert_int_equal(peek(place(i), 1), image[i]);
	}
	/* And back, to the second block. */
	poke(HEADER, (uint32_t[4]){ 1, 0, 9 }, 16);
	scatter(1, 512, 0, PIECES + 1);
	assert_in_range(turns(&platform.disks[0]->virtio), PIECES / VRING_RUN, 100);
	assert_int_equal(peek(HEADER + 0x100, 1), 0);
	assert_int_equal(disk_read(&platform.disks[0]->disk, 1, got), 0);
	assert_memory_equal(got, image + PAGE_SIZE, 512);
	assert_memory_equal(got + 512, image, 512);
	assert_memory_equal(got + 1024, image + PAGE_SIZE + 1024, PAGE_SIZE - 1024);
}

TEST(random_bytes_come_a_few_at_once, setup, teardown)
{
	assert_int_equal(virtio_rng_device.init(&platform), 0);
	drive(0, 1);
	scatter(0, 1024, F_WRITE, 0);
	assert_in_range(turns(&platform.rng.virtio), PIECES / VRING_RUN, 100);
	assert_int_equal(peek(USED(0) + 8, 4), 1024);
	for (unsigned i = 0; i < PIECES; i++) {
		assert_int_equal(peek(place(i), 1), 0x77);
	}
}
