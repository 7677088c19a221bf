/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/dev/virtio_blk.c on guest/disk.c: requests in all forms, in turns, and requests that a
 * driver must not make.
 */
#include <stdio.h>

#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/base/err.h"

#define BLOCKS	48u
#define SECTORS (BLOCKS * 8)
#define SLOTS	16u

#define HEADER 0x30000ul
#define STATUS 0x30100ul
#define DATA   0x50000ul

enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP, UNTOUCHED = 0xee };

static uint8_t image[BLOCKS * 4096] __attribute__((aligned(4096)));
static struct vm_config config;

static int start(uint64_t cow_slots)
{
	int err;

	make_vm();
	config = (struct vm_config){ 0 };
	config.disks[0].file = (struct vm_file){
		.path = "\\umbra\\a-root-file-system.img",
		.data = image,
		.bytes = sizeof(image),
	};
	config.disks[0].cow_bytes = cow_slots * 4096;
	platform.config = &config;
	for (size_t i = 0; i < sizeof(image); i++) {
		image[i] = (uint8_t)(i / 512 + i);
	}
	fake_pin_rises = fake_messages = 0;
	err = virtio_blk_device.init(&platform);
	drive(BIT(28) | BIT(29), 1);
	return err;
}

static int setup(void **state)
{
	return fake_setup(state) | start(SLOTS);
}

static int setup_read_only(void **state)
{
	return fake_setup(state) | start(0);
}

static int teardown(void **state)
{
	virtio_blk_device.destroy(&platform);
	disk_forget(&config);
	end_vm();
	return fake_teardown(state);
}

static void put_header(uint32_t type, uint64_t sector)
{
	poke(HEADER, &type, 4);
	poke(HEADER + 8, &sector, 8);
}

/* Makes one request with its data at DATA. Returns its status. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t bytes)
{
	const uint16_t data_flags = type == IN || type == GET_ID ? F_WRITE : 0;
	const uint16_t before = used_index(0);

	put_header(type, sector);
	poke16(STATUS, UNTOUCHED);
	set_desc(DESC(0), 0, HEADER, 16, F_NEXT, bytes != 0 ? 1 : 2);
	set_desc(DESC(0), 1, DATA, bytes, data_flags | F_NEXT, 2);
	set_desc(DESC(0), 2, STATUS, 1, F_WRITE, 0);
	offer(0, 0);
	notify(0);
	(void)work();
	assert_int_equal(used_index(0), before + 1);
	return (uint8_t)peek(STATUS, 1);
}

static uint32_t used_bytes(void)
{
	return (uint32_t)peek(USED(0) + 8 + 8ul * ((used_index(0) - 1) % QUEUE_LEN), 4);
}

static void fill(uint64_t at, uint32_t bytes, uint8_t seed)
{
	assert_int_equal(gmem_fill(&vm->gmem, gpa(at), seed, bytes), 0);
}

static void is_image(uint64_t at, uint64_t sector, uint32_t bytes)
{
	static uint8_t got[64 * 4096];

	assert_int_equal(gmem_read(&vm->gmem, gpa(at), got, bytes), 0);
	assert_memory_equal(got, image + sector * 512, bytes);
}

TEST(the_configuration_says_what_it_is, setup, teardown)
{
	char id[21] = { 0 };

	assert_int_equal(pci_config(0, 4, false, 0), 0x10421af4);
	assert_int_equal(reg(0x2000, 4), SECTORS);
	assert_int_equal(reg(0x2004, 4), 0);
	assert_int_equal(reg(0x200c, 4), VRING_SIZE_MAX - 2);
	assert_int_equal(reg(0x2014, 4), 512);
	assert_int_equal(reg(0x2018, 1), 3);
	set_reg(0x00, 4, 0);
	assert_int_equal(reg(0x04, 4) & BIT(5), 0);
	assert_int_equal(reg(0x04, 4) & BIT(13), BIT(13));
	assert_int_equal(request(GET_ID, 0, 20), OK);
	assert_int_equal(used_bytes(), 21);
	assert_int_equal(gmem_read(&vm->gmem, gpa(DATA), id, 20), 0);
	assert_string_equal(id, "a-root-file-system.i");
	assert_int_equal(request(FLUSH, 0, 0), OK);
	assert_int_equal(used_bytes(), 1);
}

TEST(any_sectors_are_read, setup, teardown)
{
	static const struct {
		uint32_t sector, bytes;
	} rows[] = {
		{ 0, 512 },	      { 7, 1024 },   { 3, 4096 },
		{ 8, 4096 },	      { 13, 65536 }, { 0, BLOCKS * 4096 },
		{ SECTORS - 1, 512 }, { 5, 0 },	     { SECTORS, 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		fill(DATA, rows[i].bytes + 16, 0xdd);
		assert_int_equal(request(IN, rows[i].sector, rows[i].bytes), OK);
		assert_int_equal(used_bytes(), rows[i].bytes + 1);
		is_image(DATA, rows[i].sector, rows[i].bytes);
		assert_int_equal(peek(DATA + rows[i].bytes, 1), 0xdd);
	}
}
TEST_AGAIN(any_sectors_are_read, setup_read_only, teardown);

TEST(what_is_written_is_read, setup, teardown)
{
	fill(DATA, 8192, 0x61);
	assert_int_equal(request(OUT, 11, 8192), OK); /* from the middle of a block */
	assert_int_equal(used_bytes(), 1);
	fill(DATA, 16384, 0);
	assert_int_equal(request(IN, 8, 16384), OK);
	is_image(DATA, 8, 3 * 512);
	assert_int_equal(peek(DATA + 3 * 512, 8), 0x6161616161616161);
	assert_int_equal(peek(DATA + 3 * 512 + 8184, 8), 0x6161616161616161);
	is_image(DATA + 3 * 512 + 8192, 27, 4096 - 512);
	assert_int_equal(platform.disks[0]->virtio.counters.bytes.only, 8192 + 16384);
}

/* virtio 1.2, 2.7.4.2: a driver may cut a request into buffers anywhere. */
TEST(headers_and_data_may_be_cut, setup, teardown)
{
	put_header(IN, 2);
	set_desc(DESC(0), 0, HEADER, 5, F_NEXT, 1);
	set_desc(DESC(0), 1, HEADER + 5, 11, F_NEXT, 2);
	set_desc(DESC(0), 2, DATA, 100, F_WRITE | F_NEXT, 3);
	set_desc(DESC(0), 3, DATA + 100, 925, F_WRITE, 0); /* the last byte is the status */
	poke16(DATA + 1024, UNTOUCHED);
	offer(0, 0);
	notify(0);
	(void)work();
	assert_int_equal(used_index(0), 1);
	is_image(DATA, 2, 1024);
	assert_int_equal(peek(DATA + 1024, 1), OK);
}

TEST(long_requests_take_turns, setup, teardown)
{
	unsigned turns = 0;

	put_header(IN, 0);
	set_desc(DESC(0), 0, HEADER, 16, F_NEXT, 1);
	set_desc(DESC(0), 1, DATA, BLOCKS * 4096, F_WRITE | F_NEXT, 2);
	set_desc(DESC(0), 2, STATUS, 1, F_WRITE, 0);
	offer(0, 0);
	notify(0);
	while (virtio_work(vm->vcpus[0], false)) {
		turns++;
		assert_int_equal(used_index(0), turns == BLOCKS * 4096 / VIRTIO_TURN_BYTES);
		put_header(OUT, 0); /* the header was read once */
		for (size_t i = 0; i < 4096; i++) {
			assert_int_equal(platform.disks[0]->page[i], 0);
		}
	}
	assert_int_equal(turns, BLOCKS * 4096 / VIRTIO_TURN_BYTES);
	assert_int_equal(used_index(0), 1);
	is_image(DATA, 0, BLOCKS * 4096);
}

TEST(a_reset_in_the_middle_forgets_the_request, setup, teardown)
{
	put_header(OUT, 0);
	set_desc(DESC(0), 0, HEADER, 16, F_NEXT, 1);
	set_desc(DESC(0), 1, DATA, BLOCKS * 4096, F_NEXT, 2);
	set_desc(DESC(0), 2, STATUS, 1, F_WRITE, 0);
	offer(0, 0);
	notify(0);
	assert_true(virtio_work(vm->vcpus[0], false));
	set_reg(0x14, 1, 0);
	assert_false(virtio_work(vm->vcpus[0], false));
	drive(0, 1);
	assert_int_equal(request(IN, SECTORS - 8, 4096), OK);
	is_image(DATA, SECTORS - 8, 4096);
}

struct bad {
	uint32_t type;
	uint64_t sector;
	uint32_t bytes;
	uint8_t status;
};

TEST(wrong_requests_get_a_status, setup, teardown)
{
	static const struct bad rows[] = {
		{ IN, SECTORS, 512, IOERR },
		{ IN, SECTORS - 1, 1024, IOERR },
		{ IN, UINT64_MAX, 512, IOERR },
		{ IN, 1ul << 55, 512, IOERR },
		{ IN, 0, 511, IOERR },
		{ OUT, SECTORS - 7, 4096, IOERR },
		{ OUT, 0, 513, IOERR },
		{ OUT, (1ul << 55) - 1, 512, IOERR },
		{ DISCARD, 0, 15, IOERR },
		{ DISCARD, 0, 0, IOERR },
		{ ZEROES, 0, 17 * 16, IOERR },
		{ 2, 0, 512, UNSUPP },
		{ 3, 0, 0, UNSUPP },
		{ 0xffffffff, 0, 512, UNSUPP },
		{ 0x80000000, 0, 512, UNSUPP },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		if (request(rows[i].type, rows[i].sector, rows[i].bytes) != rows[i].status) {
			fail_msg("row %zu: %x", i, (unsigned)peek(STATUS, 1));
		}
		assert_int_equal(used_bytes(), 1);
	}
	assert_int_equal(reg(0x14, 1), 0xf);
	assert_int_equal(platform.disks[0]->virtio.counters.errors.only, ARRAY_COUNT(rows));
	assert_string_equal(strchr(fake_log_text(), '\n'), "\n"); /* only the disk's own line */
}

TEST(requests_without_form_lose_the_device, setup, teardown)
{
	static const struct {
		uint32_t read, write;
		uint64_t header, data;
		const char *why;
	} rows[] = {
		{ 15, 1, HEADER, DATA, "no header, or no room for its status" },
		{ 16, 0, HEADER, DATA, "no header, or no room for its status" },
		{ 16, 513, RAM_BYTES - 8, DATA, "a request's header is not in RAM" },
		{ 16, 513, HEADER, RAM_BYTES - 100, "a buffer is not in RAM" },
		{ 16, 513, HEADER, RAM_BYTES - 512, "a request's status is not in RAM" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		set_reg(0x14, 1, 0);
		drive(0, 1);
		platform.disks[0]->virtio.broke = false;
		fake_log_reset();
		put_header(IN, 0);
		set_desc(DESC(0), 0, rows[i].header, rows[i].read, rows[i].write != 0 ? F_NEXT : 0,
			 1);
		set_desc(DESC(0), 1, rows[i].data, rows[i].write, F_WRITE, 0);
		offer(0, 0);
		notify(0);
		(void)work();
		assert_int_equal(reg(0x14, 1), 0x4f);
		assert_int_equal(used_index(0), 0);
		if (strstr(fake_log_text(), rows[i].why) == NULL) {
			fail_msg("row %zu: %s", i, fake_log_text());
		}
	}
}

TEST(a_read_only_disk_takes_no_writes, setup_read_only, teardown)
{
	set_reg(0x00, 4, 0);
	assert_int_equal(reg(0x04, 4) & (BIT(5) | BIT(13) | BIT(14)), BIT(5));
	assert_int_equal(request(IN, 0, 4096), OK);
	assert_int_equal(request(OUT, 0, 4096), IOERR);
	assert_int_equal(request(DISCARD, 0, 16), IOERR);
	assert_int_equal(request(ZEROES, 0, 16), IOERR);
	assert_int_equal(request(FLUSH, 0, 0), OK);
}

TEST(a_full_overlay_is_an_error_and_logged_once, setup, teardown)
{
	fill(DATA, (SLOTS + 2) * 4096, 0x62);
	assert_int_equal(request(OUT, 0, (SLOTS + 1) * 4096), IOERR);
	assert_int_equal(request(OUT, 8 * (SLOTS + 2), 512), IOERR);
	assert_non_null(strstr(fake_log_text(),
			       "warning: vm m: \\umbra\\a-root-file-system.img: the 64 KiB of cow "
			       "are full: writes to further blocks fail; further ones are not "
			       "logged\n"));
	assert_null(strstr(strstr(fake_log_text(), "are full") + 1, "are full"));
	assert_int_equal(request(OUT, 0, SLOTS * 4096), OK);
	fill(DATA, 4096, 0);
	assert_int_equal(request(OUT, 8 * 30, 4096), OK); /* zeros */
}

static void put_range(unsigned index, uint64_t sector, uint32_t sectors)
{
	poke(DATA + 16ul * index, &sector, 8);
	poke(DATA + 16ul * index + 8, &sectors, 4);
}

TEST(ranges_become_zeros, setup, teardown)
{
	uint64_t used, bytes;

	fill(DATA, 8 * 4096, 0x63);
	assert_int_equal(request(OUT, 0, 8 * 4096), OK);
	put_range(0, 3, 8); /* parts of two blocks */
	put_range(1, 16, 16);
	assert_int_equal(request(ZEROES, 0, 32), OK);
	disk_usage(&platform.disks[0]->disk, &used, &bytes);
	assert_int_equal(used, 6 * 4096);
	put_range(0, 30, 12); /* a discard ignores parts of blocks */
	assert_int_equal(request(DISCARD, 0, 16), OK);
	disk_usage(&platform.disks[0]->disk, &used, &bytes);
	assert_int_equal(used, 5 * 4096);
	assert_int_equal(request(IN, 0, 8 * 4096), OK);
	assert_int_equal(peek(DATA + 2 * 512 + 511, 1), 0x63);
	assert_int_equal(peek(DATA + 3 * 512, 1), 0);
	assert_int_equal(peek(DATA + 10 * 512 + 511, 1), 0);
	assert_int_equal(peek(DATA + 11 * 512, 1), 0x63);
	assert_int_equal(peek(DATA + 16 * 512, 8), 0);
	assert_int_equal(peek(DATA + 32 * 512, 8), 0);
	assert_int_equal(peek(DATA + 40 * 512, 1), 0x63);
	put_range(0, SECTORS - 8, 9);
	assert_int_equal(request(ZEROES, 0, 16), IOERR);
	put_range(0, UINT64_MAX, 1);
	assert_int_equal(request(DISCARD, 0, 16), IOERR);
	put_range(0, 0, 0xffffffff);
	assert_int_equal(request(DISCARD, 0, 16), IOERR);
}

static char printed[1000];

static void print(const char *fmt, ...)
{
	const size_t at = strlen(printed);
	va_list args;

	va_start(args, fmt);
	vsnprintf(printed + at, sizeof(printed) - at, fmt, args);
	va_end(args);
	strcat(printed, "\n");
}

TEST(users_see_what_it_has_done, setup, teardown)
{
	fill(DATA, 8192, 0x64);
	assert_int_equal(request(OUT, 0, 8192), OK);
	assert_int_equal(request(IN, SECTORS, 512), IOERR);
	printed[0] = '\0';
	assert_int_equal(virtio_bytes(vm), 8192);
	virtio_print(vm, print);
	assert_string_equal(printed,
			    "  00:01.0: virtio-blk \\umbra\\a-root-file-system.img, 8 of 64 KiB "
			    "written: in use\n"
			    "           2 requests, 8 KiB, 1 errors; 3 notifications, 3 turns, 1 "
			    "interrupts\n");
	virtio_blk_device.destroy(&platform);
	disk_forget(&config);
	end_vm();
	assert_int_equal(start(0), 0);
	printed[0] = '\0';
	virtio_print(vm, print);
	assert_non_null(strstr(printed, "a-root-file-system.img, read-only: in use\n"));
	set_reg(0x14, 1, 0);
	printed[0] = '\0';
	virtio_print(vm, print);
	assert_non_null(strstr(printed, "read-only: without a driver\n"));
}

TEST(no_memory_leaves_nothing, setup, teardown)
{
	virtio_blk_device.destroy(&platform);
	disk_forget(&config);
	end_vm();
	for (int pages = 0; pages < 5; pages++) {
		make_vm();
		platform.config = &config;
		fake_pages_fail_after(pages);
		assert_int_equal(virtio_blk_device.init(&platform), ERR_NOMEM);
		fake_pages_fail_after(-1);
		assert_null(platform.disks[0]);
		disk_forget(&config);
		end_vm();
	}
	assert_int_equal(start(SLOTS), 0);
}
