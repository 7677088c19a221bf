/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/disk.c: an image that does not change, and an overlay that keeps what was written. Tested
 * against a model, while the overlay fills, is reused and resets: no tweak is used twice, and
 * nothing is left behind.
 */
#include "tests/unit/test.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "ept/ept.h"
#include "ept/retire.h"
#include "guest/disk.h"
#include "vmm/base/err.h"
#include "vmm/host/work.h"

#define BLOCKS 24u
#define BYTES  (BLOCKS * DISK_BLOCK - 1000) /* the last sector is cut */
#define SLOTS  8u

static uint8_t image[BLOCKS * DISK_BLOCK] __attribute__((aligned(4096)));
static uint8_t page[DISK_BLOCK] __attribute__((aligned(64)));
static struct vm_config config;
static struct disk disk;
static uint64_t tweaks[4096];
static size_t tweak_count;
static int rng_err;

/* Changes every byte, depending on the tweak. */
static void cipher(const struct page_item *item)
{
	for (size_t i = 0; i < DISK_BLOCK; i++) {
		((uint8_t *)item->out)[i] = ((const uint8_t *)item->in)[i] ^ 0xa5 ^ item->tweak[0];
	}
}

void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	assert_int_equal(count, 1);
	memcpy(&tweaks[tweak_count % ARRAY_COUNT(tweaks)], items->tweak, 8);
	for (size_t i = 0; i < tweak_count; i++) {
		assert_int_not_equal(tweaks[i], tweaks[tweak_count]);
	}
	tweak_count++;
	cipher(items);
}

void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	assert_int_equal(count, 1);
	cipher(items);
}

int rng_bytes(void *buf, size_t bytes)
{
	memset(buf, 0x33, bytes);
	return rng_err;
}

static unsigned areas;

int wipe_register(void *area, size_t bytes)
{
	areas++;
	return 0;
}

void wipe_unregister(const void *area)
{
	for (size_t i = 0; i < sizeof(struct page_key); i++) {
		assert_int_equal(((const uint8_t *)area)[i], 0);
	}
	areas--;
}

static void forget(void)
{
	disk_forget(&config);
	while (retire_buries()) {
		(void)work_some();
		(void)retire_poll();
	}
	assert_int_equal(areas, 0);
}

static int setup(void **state)
{
	int err = fake_setup(state);

	ept_configure(&(struct ept_caps){ .phys_bits = 40 });
	for (size_t i = 0; i < sizeof(image); i++) {
		image[i] = (uint8_t)(i / DISK_BLOCK + 1);
	}
	config = (struct vm_config){ 0 };
	config.disks[0].file = (struct vm_file){ .path = "\\i", .data = image, .bytes = BYTES };
	config.disks[0].cow_bytes = SLOTS * DISK_BLOCK;
	rng_err = 0;
	tweak_count = 0;
	return err;
}

static int teardown(void **state)
{
	forget();
	return fake_teardown(state);
}

static void check_block(uint64_t block, uint8_t want)
{
	const size_t bytes = block == BLOCKS - 1 && want == BLOCKS ? DISK_BLOCK - 1000 : DISK_BLOCK;

	memset(page, 0xee, sizeof(page));
	assert_int_equal(disk_read(&disk, block, page), 0);
	for (size_t i = 0; i < DISK_BLOCK; i++) {
		assert_int_equal(page[i], i < bytes ? want : 0);
	}
}

static int put(uint64_t block, uint8_t byte)
{
	memset(page, byte, sizeof(page));
	return disk_write(&disk, block, page);
}

static uint64_t used(void)
{
	uint64_t in_use, bytes;

	disk_usage(&disk, &in_use, &bytes);
	assert_int_equal(bytes, disk.overlay != NULL ? SLOTS * DISK_BLOCK : 0);
	return in_use / DISK_BLOCK;
}

static int opened;

static void open_disk(void)
{
	opened = disk_open(&config.disks[0], &disk);
}

TEST(the_stack_keeps_no_key, setup, teardown)
{
	uint8_t key[32];

	memset(key, 0x33, sizeof(key));
	assert_false(fake_stack_keeps(open_disk, key, sizeof(key)));
	assert_int_equal(opened, 0);
}

TEST(an_image_is_read_as_it_is, setup, teardown)
{
	config.disks[0].cow_bytes = 0;
	assert_int_equal(disk_open(&config.disks[0], &disk), 0);
	assert_null(disk.overlay);
	assert_int_equal(disk.sectors, BYTES / 512);
	for (uint64_t i = 0; i < BLOCKS; i++) {
		check_block(i, (uint8_t)(i + 1));
	}
	assert_int_equal(used(), 0);
}

TEST(what_is_written_is_read_and_the_image_stays, setup, teardown)
{
	assert_int_equal(disk_open(&config.disks[0], &disk), 0);
	assert_int_equal(put(3, 0x77), 0);
	assert_int_not_equal(page[0], 0x77); /* it is not kept in clear */
	assert_int_equal(put(BLOCKS - 1, 0x78), 0);
	check_block(3, 0x77);
	check_block(2, 3);
	check_block(4, 5);
	check_block(BLOCKS - 1, 0x78);
	assert_int_equal(put(3, 0x79), 0);
	check_block(3, 0x79);
	assert_int_equal(used(), 2);
	for (size_t i = 0; i < sizeof(image); i++) {
		assert_int_equal(image[i], (uint8_t)(i / DISK_BLOCK + 1));
	}
}

TEST(a_full_overlay_says_so_and_zeros_make_room, setup, teardown)
{
	assert_int_equal(disk_open(&config.disks[0], &disk), 0);
	for (uint64_t i = 0; i < SLOTS; i++) {
		assert_int_equal(put(2 * i, (uint8_t)(0x40 + i)), 0);
	}
	assert_int_equal(put(1, 0x50), ERR_NOSPACE);
	check_block(1, 2);
	assert_int_equal(put(4, 0x51), 0); /* it has a block already */
	assert_int_equal(put(1, 0), 0);	   /* zeros need no block */
	check_block(1, 0);
	assert_int_equal(used(), SLOTS);
	assert_int_equal(put(6, 0), 0);
	assert_int_equal(disk_zero(&disk, 8), 0);
	assert_int_equal(disk_zero(&disk, 8), 0); /* nothing is freed twice */
	assert_int_equal(used(), SLOTS - 2);
	assert_int_equal(put(1, 0x52), 0);
	assert_int_equal(put(3, 0x53), 0);
	assert_int_equal(put(5, 0x54), ERR_NOSPACE);
	check_block(1, 0x52);
	check_block(3, 0x53);
	check_block(6, 0);
	check_block(8, 0);
	check_block(4, 0x51);
	check_block(0, 0x40);
}

TEST(anything_in_any_order_against_a_model, setup, teardown)
{
	uint8_t model[BLOCKS];
	bool has[BLOCKS] = { false };
	uint32_t seed = 1, count = 0;

	assert_int_equal(disk_open(&config.disks[0], &disk), 0);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		model[i] = (uint8_t)(i + 1);
	}
	for (unsigned step = 0; step < 3000; step++) {
		uint32_t block, byte;

		seed = seed * 1103515245 + 12345;
		block = (seed >> 16) % BLOCKS;
		byte = (seed >> 8) % 5 == 0 ? 0 : (seed >> 20) % 255 + 1;
		if (byte != 0 && !has[block] && count == SLOTS) {
			assert_int_equal(put(block, (uint8_t)byte), ERR_NOSPACE);
		} else {
			assert_int_equal(put(block, (uint8_t)byte), 0);
			count += (byte != 0) - has[block];
			has[block] = byte != 0;
			model[block] = (uint8_t)byte;
		}
		assert_int_equal(used(), count);
		check_block(block, model[block]);
	}
	for (uint32_t i = 0; i < BLOCKS; i++) {
		check_block(i, model[i]);
	}
}

/* A VM that starts again finds what it wrote; a VM that was destroyed does not. */
TEST(it_stays_until_it_is_forgotten, setup, teardown)
{
	assert_int_equal(disk_open(&config.disks[0], &disk), 0);
	assert_int_equal(put(3, 0x77), 0);
	assert_int_equal(disk_open(&config.disks[0], &disk), 0);
	check_block(3, 0x77);
	assert_int_equal(areas, 1);
	forget();
	assert_int_equal(disk_open(&config.disks[0], &disk), 0);
	check_block(3, 4);
	assert_int_equal(used(), 0);
}

TEST(two_disks_of_one_image_are_apart, setup, teardown)
{
	struct disk other;

	config.disks[1] = config.disks[0];
	assert_int_equal(disk_open(&config.disks[0], &disk), 0);
	assert_int_equal(disk_open(&config.disks[1], &other), 0);
	assert_int_equal(put(3, 0x77), 0);
	assert_int_equal(disk_read(&other, 3, page), 0);
	assert_int_equal(page[0], 4);
}

TEST(a_failed_open_leaves_nothing, setup, teardown)
{
	rng_err = ERR_UNSUPPORTED;
	assert_int_equal(disk_open(&config.disks[0], &disk), ERR_UNSUPPORTED);
	rng_err = 0;
	for (int pages = 0; pages < 3; pages++) {
		fake_pages_fail_after(pages);
		assert_int_equal(disk_open(&config.disks[0], &disk), ERR_NOMEM);
		fake_pages_fail_after(-1);
		assert_int_equal(areas, 0);
	}
	fake_frames_fail_after(0);
	assert_int_equal(disk_open(&config.disks[0], &disk), ERR_NOMEM);
	fake_frames_fail_after(-1);
	assert_null(disk.overlay);
}
