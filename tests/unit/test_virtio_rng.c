/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dev/virtio_rng.c: buffers of any length are filled with fresh bytes, up to a limit. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/base/err.h"

static uint8_t next_byte;
static int rng_err;

static uint8_t last[16]; /* of the bytes that were drawn last, which went to last_at */
static const void *last_at;
static unsigned same_places, kept;

int rng_bytes(void *buf, size_t bytes)
{
	if (buf == last_at) {
		same_places++;
		kept += memcmp(buf, last, sizeof(last)) == 0;
	}
	memset(buf, 0, bytes);
	for (size_t i = 0; i < bytes && rng_err == 0; i++) {
		((uint8_t *)buf)[i] = next_byte++ | 1;
	}
	last_at = bytes >= sizeof(last) ? buf : NULL;
	if (last_at != NULL) {
		memcpy(last, buf, sizeof(last));
	}
	return rng_err;
}

static int setup(void **state)
{
	int err = fake_setup(state);

	make_vm();
	err |= virtio_rng_device.init(&platform);
	next_byte = 1;
	rng_err = 0;
	last_at = NULL;
	same_places = kept = 0;
	fake_pin_rises = fake_messages = 0;
	drive(0, 1);
	return err;
}

static int teardown(void **state)
{
	end_vm();
	return fake_teardown(state);
}

static uint32_t ask(uint16_t head)
{
	const uint16_t before = used_index(0);

	offer(0, head);
	notify(0);
	(void)work();
	assert_int_equal(used_index(0), before + 1);
	return (uint32_t)peek(USED(0) + 8 + 8ul * (before % QUEUE_LEN), 4);
}

TEST(a_buffer_is_filled_and_nothing_behind_it, setup, teardown)
{
	assert_int_equal(pci_config(0, 4, false, 0), 0x10441af4);
	set_desc(DESC(0), 0, BUFFER, 3, F_WRITE | F_NEXT, 1);
	set_desc(DESC(0), 1, BUFFER + 100, 300, F_WRITE, 0);
	assert_int_equal(ask(0), 303);
	assert_int_equal(peek(BUFFER, 4), 0x030301);
	assert_int_equal(peek(BUFFER + 98, 4), 0x05050000);
	assert_int_not_equal(peek(BUFFER + 399, 1), 0);
	assert_int_equal(peek(BUFFER + 400, 1), 0);
	assert_int_equal(fake_pin_rises + fake_messages, 1);
	assert_int_equal(platform.rng.virtio.counters.bytes.only, 303);
}

/* Each piece is drawn to where the last one was. A guest's random bytes are its secret. */
TEST(the_stack_keeps_no_piece, setup, teardown)
{
	set_desc(DESC(0), 0, BUFFER, 1024, F_WRITE, 0);
	assert_int_equal(ask(0), 1024);
	assert_int_equal(same_places, 3);
	assert_int_equal(kept, 0);
}

TEST(a_request_of_four_gib_is_cut, setup, teardown)
{
	set_desc(DESC(0), 0, 0, 0xffffffff, F_WRITE, 0);
	set_desc(DESC(0), 1, BUFFER, 64, 0, 0); /* no writable buffer */
	assert_int_equal(ask(0), 1024);
	assert_int_equal(ask(1), 0);
}

TEST(buffers_outside_of_ram, setup, teardown)
{
	set_desc(DESC(0), 0, RAM_BYTES, 16, F_WRITE, 0);
	offer(0, 0);
	notify(0);
	(void)work();
	assert_int_equal(reg(0x14, 1), 0x4f);
	assert_non_null(strstr(fake_log_text(), "virtio-rng: queue 0: a buffer is not in RAM"));
}

TEST(a_generator_that_fails_gives_nothing, setup, teardown)
{
	rng_err = ERR_IO;
	set_desc(DESC(0), 0, BUFFER, 64, F_WRITE, 0);
	assert_int_equal(ask(0), 0);
	assert_int_equal(ask(0), 0);
	assert_int_equal(peek(BUFFER, 8), 0);
	assert_string_equal(fake_log_text(), "error: vm m: virtio-rng: no random bytes can be "
					     "drawn; its driver gets none\n");
	rng_err = 0;
	assert_int_equal(ask(0), 64);
}

/* A turn of 64 KiB serves 64 of the longest requests. */
TEST(a_flood_takes_turns, setup, teardown)
{
	unsigned turns = 0;

	set_desc(DESC(0), 0, BUFFER, 4096, F_WRITE, 0);
	for (unsigned round = 0; round < 16; round++) {
		for (unsigned i = 0; i < QUEUE_LEN; i++) {
			offer(0, 0);
		}
		notify(0);
		turns += work();
	}
	assert_int_equal(turns, 16); /* 8 KiB each */
	assert_int_equal(platform.rng.virtio.counters.bytes.only, 16 * QUEUE_LEN * 1024);
}
