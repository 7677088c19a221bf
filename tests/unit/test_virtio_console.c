/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/dev/virtio_console.c: bytes in both directions, none is lost, and no CPU waits for room or
 * for input.
 */
#include "tests/unit/test.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/console/console.h"

#define ROOM_STEP 16

static struct vm_config config;
static char shown[70000];
static size_t shown_count, room;
static const char *typed;
static bool deaf;
static struct vconsole_size screen;

bool vconsole_ready(const struct vconsole *console)
{
	assert_ptr_equal(console, &platform.console);
	return room >= ROOM_STEP;
}

void vconsole_put(struct vconsole *console, uint8_t byte)
{
	assert_true(room > 0);
	room--;
	shown[shown_count++] = (char)byte;
}

bool vconsole_has_input(const struct vconsole *console)
{
	return *typed != '\0';
}

int vconsole_get(struct vconsole *console)
{
	if (*typed == '\0') {
		return -1;
	}
	return *typed++ == '!' ? CONSOLE_BREAK : typed[-1];
}

void vuart_set_deaf(struct vuart *uart, bool now)
{
	assert_ptr_equal(uart, &platform.com1);
	deaf = now;
}

struct vconsole_size vconsole_size(void)
{
	return screen;
}

static int setup(void **state)
{
	int err = fake_setup(state);

	make_vm();
	config.virtio_console = true;
	platform.config = &config;
	deaf = true;
	err |= virtio_console_device.init(&platform);
	assert_false(deaf);
	shown_count = 0;
	room = sizeof(shown);
	typed = "";
	screen = (struct vconsole_size){ 0, 0 };
	drive(0, 2);
	return err;
}

static int teardown(void **state)
{
	end_vm();
	return fake_teardown(state);
}

/* Makes a buffer for input available. */
static void listen(uint32_t bytes)
{
	set_desc(DESC(0), 0, BUFFER, bytes, F_WRITE, 0);
	offer(0, 0);
	notify(0);
	(void)work();
}

static void poll(void)
{
	virtio_console_device.poll(&platform);
	(void)work();
}

static uint32_t got_bytes(uint32_t index)
{
	return (uint32_t)peek(USED(0) + 8 + 8ul * index, 4);
}

TEST(a_console_exists_only_if_configured, setup, teardown)
{
	const uint32_t before = platform.virtio_count;

	config.virtio_console = false;
	assert_int_equal(virtio_console_device.init(&platform), 0);
	assert_int_equal(platform.virtio_count, before);
	typed = "a";
	poll();
	assert_int_equal(pci_config(0, 4, false, 0), 0x10431af4);
}

TEST(input_is_passed_on_as_it_arrives, setup, teardown)
{
	typed = "ab";
	poll(); /* the driver has no buffer yet: input goes to the UART */
	assert_string_equal(typed, "ab");
	listen(100);
	assert_true(deaf);
	assert_int_equal(used_index(0), 1);
	assert_int_equal(got_bytes(0), 2);
	assert_int_equal(peek(BUFFER, 2), 'a' | 'b' << 8);
	listen(3);
	assert_int_equal(used_index(0), 1); /* the buffer is kept until there is input */
	typed = "!c!defg";
	poll();
	assert_int_equal(used_index(0), 2);
	assert_int_equal(got_bytes(1), 3);
	assert_int_equal(peek(BUFFER, 3), 'c' | 'd' << 8 | 'e' << 16);
	listen(0);
	assert_int_equal(used_index(0), 3);
	listen(64);
	assert_int_equal(used_index(0), 4);
	assert_int_equal(got_bytes(3), 2);
	set_reg(0x14, 1, 0);
	assert_false(deaf);
}

TEST(all_of_a_chain_is_shown, setup, teardown)
{
	assert_int_equal(gmem_write(&vm->gmem, gpa(BUFFER), "Hello, world of a chain", 23), 0);
	set_desc(DESC(1), 0, BUFFER, 5, F_NEXT, 1);
	set_desc(DESC(1), 1, BUFFER + 5, 18, 0, 0);
	offer(1, 0);
	notify(1);
	(void)work();
	assert_int_equal(used_index(1), 1);
	assert_memory_equal(shown, "Hello, world of a chain", shown_count);
	assert_int_equal(shown_count, 23);
}

TEST(a_full_console_keeps_the_rest, setup, teardown)
{
	assert_int_equal(gmem_fill(&vm->gmem, gpa(BUFFER), 'x', 100), 0);
	set_desc(DESC(1), 0, BUFFER, 100, 0, 0);
	room = 40;
	offer(1, 0);
	notify(1);
	(void)work();
	assert_int_equal(shown_count, 32);
	assert_int_equal(used_index(1), 0);
	poll(); /* no room yet */
	assert_int_equal(shown_count, 32);
	room = 16;
	poll();
	assert_int_equal(shown_count, 48);
	room = 1000;
	poll();
	assert_int_equal(shown_count, 100);
	assert_int_equal(used_index(1), 1);
	poll();
	assert_int_equal(used_index(1), 1);
}

TEST(much_text_takes_turns, setup, teardown)
{
	unsigned turns = 0;

	assert_int_equal(gmem_fill(&vm->gmem, gpa(BUFFER), 'y', 68000), 0);
	set_desc(DESC(1), 0, BUFFER, 68000, 0, 0);
	offer(1, 0);
	notify(1);
	turns = work();
	assert_int_equal(turns, 2);
	assert_int_equal(shown_count, 68000);
}

TEST(buffers_outside_of_ram_lose_the_device, setup, teardown)
{
	set_desc(DESC(1), 0, RAM_BYTES - 8, 100, 0, 0);
	offer(1, 0);
	notify(1);
	(void)work();
	assert_int_equal(reg(0x14, 1), 0x4f);
	drive(0, 2);
	set_reg(0x14, 1, 0);
	drive(0, 2);
	typed = "a";
	set_desc(DESC(0), 0, RAM_BYTES, 100, F_WRITE, 0);
	offer(0, 0);
	notify(0);
	(void)work();
	assert_int_equal(reg(0x14, 1), 0x4f);
}

#define ISR    0x1000
#define CONFIG 0x2000

/* The driver is interrupted for each change, and once after its start if the size was known. */
TEST(the_screens_size_is_told, setup, teardown)
{
	poll();
	assert_int_equal(reg(CONFIG, 4), 0);
	assert_int_equal(reg(ISR, 1), 0);
	screen = (struct vconsole_size){ 132, 50 };
	poll();
	assert_int_equal(reg(CONFIG, 2), 132);
	assert_int_equal(reg(CONFIG + 2, 2), 50);
	assert_int_equal(reg(0x15, 1), 1); /* the generation */
	assert_int_equal(reg(ISR, 1), 2);
	poll();
	assert_int_equal(reg(ISR, 1), 0);
	screen.rows = 25;
	poll();
	assert_int_equal(reg(CONFIG + 2, 2), 25);
	assert_int_equal(reg(0x15, 1), 2);
	assert_int_equal(reg(ISR, 1), 2);
	set_reg(0x14, 1, 0);
	poll();
	assert_int_equal(reg(ISR, 1), 0); /* no driver */
	drive(0, 2);
	poll();
	assert_int_equal(reg(CONFIG, 2), 132);
	assert_int_equal(reg(ISR, 1), 2);
}
