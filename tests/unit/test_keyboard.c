/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/console/keyboard.c with a fake controller 8042. */
#include "tests/unit/test.h"
#include "vmm/base/err.h"
#include "vmm/console/keyboard.h"

static struct {
	bool there, keyboard_there;
	uint8_t mode, command;
	uint8_t queue[64];
	bool mouse[64];
	unsigned first, end;
	bool scans;
} chip;

static void send(uint8_t byte, bool mouse)
{
	assert_true(chip.end < 64);
	chip.mouse[chip.end] = mouse;
	chip.queue[chip.end++] = byte;
}

static uint32_t chip_in(uint16_t port, unsigned size)
{
	assert_int_equal(size, 1);
	if (!chip.there) {
		return UINT32_MAX;
	}
	if (port == 0x64) {
		return chip.first == chip.end ? 0x14 : chip.mouse[chip.first] ? 0x35 : 0x15;
	}
	assert_int_equal(port, 0x60);
	return chip.first == chip.end ? 0 : chip.queue[chip.first++];
}

static void chip_out(uint16_t port, unsigned size, uint32_t value)
{
	assert_true(size == 1 && chip.there);
	if (port == 0x64) {
		chip.command = (uint8_t)value;
		if (value == 0x20) {
			send(chip.mode, false);
		}
	} else if (chip.command == 0x60) {
		chip.mode = (uint8_t)value;
		chip.command = 0;
	} else if (value == 0xf4 && chip.keyboard_there) {
		chip.scans = true;
		send(0x1e, false); /* a user holds a key */
		send(0xfa, false);
	}
}

static int setup(void **state)
{
	int err = fake_setup(state);

	memset(&chip, 0, sizeof(chip));
	chip.there = chip.keyboard_there = true;
	chip.mode = 0x33; /* interrupts on, keyboard off, not translated */
	fake_in_hook = chip_in;
	fake_out_hook = chip_out;
	return err;
}

TEST(presence, setup, fake_teardown)
{
	chip.there = false;
	assert_int_equal(keyboard_init(), ERR_NOTFOUND);
	assert_int_equal(keyboard_getc(), -1);
	chip.there = true;
	chip.keyboard_there = false;
	assert_int_equal(keyboard_init(), ERR_NOTFOUND);
	send(0x1e, false);
	assert_int_equal(keyboard_getc(), -1);
	chip.keyboard_there = true;
	assert_int_equal(keyboard_init(), 0);
	assert_int_equal(chip.mode, 0x60);
	assert_true(chip.scans);
	assert_int_equal(keyboard_getc(), -1);
}

/* These codes must give the bytes that a terminal would have sent. */
static void assert_keys(const char *codes, size_t count, const char *bytes)
{
	char got[64] = { 0 };
	size_t used = 0;
	int byte;

	chip.first = chip.end = 0;
	for (size_t i = 0; i < count; i++) {
		send((uint8_t)codes[i], false);
	}
	while ((byte = keyboard_getc()) >= 0) {
		got[used++] = (char)byte;
	}
	assert_string_equal(got, bytes);
}

#define KEYS(codes, bytes) assert_keys(codes, sizeof(codes) - 1, bytes)

TEST(keys, setup, fake_teardown)
{
	assert_int_equal(keyboard_init(), 0);
	KEYS("\x1e\x9e\x30\xb0\x02\x82\x39\xb9\x1c\x9c\x0e\x8e\x0f\x8f", "ab1 \r\x7f\t");
	KEYS("\x2a\x1e\x9e\x02\x82\xaa\x1e\x9e\x36\x27\xb6\x27", "A!a:;");
	KEYS("\x3a\xba\x1e\x2a\x1e\xaa\x02\x3a\xba\x1e", "Aa1a"); /* caps lock: for letters only */
	KEYS("\x1d\x2e\x9d\x2e", "\x03"
				 "c");
	KEYS("\x1d\x07\x87\x9d\x1d\x2a\x07\xaa\x9d\xe0\x1d\x07\xe0\x9d\x07", "\x1e\x1e\x1e"
									     "6");
	KEYS("\xe0\x48\xe0\xc8\xe0\x50\xe0\x4b\xe0\x4d\xe0\x53\xe0\x47\xe0\x4f",
	     "\x1b[A\x1b[B\x1b[D\x1b[C\x1b[3~\x1b[H\x1b[F");
	KEYS("\xe0\x2a\xe0\x48\xe0\xc8\xe0\xaa\x1e", "\x1b[Aa"); /* not a shift key */
	KEYS("\xe1\x1d\x45\xe1\x9d\xc5\x1e", "a");		 /* Pause */
	KEYS("\x3b\x57\x7f\x54\xe0\x5b\x1e", "a");		 /* keys that give no byte */
	KEYS("\x2b\x35\x28\x29\x0c\x0d\x1a\x1b\x33\x34", "\\/'`-=[],.");
	KEYS("\x47\x48\x4f\x52\x53\x4a\x37\xe0\x35\xe0\x1c", "7810.-*/\r");
	send(0x1e, true); /* from the mouse */
	assert_int_equal(keyboard_getc(), -1);
}

/* Any bytes: the result is plain text only, and the code never hangs. */
TEST(noise, setup, fake_teardown)
{
	uint32_t random = 1;

	assert_int_equal(keyboard_init(), 0);
	for (unsigned i = 0; i < 100000; i++) {
		chip.first = chip.end = 0;
		random = random * 1664525 + 1013904223;
		send((uint8_t)(random >> 24), (random >> 20 & 7) == 0);
		for (unsigned calls = 0; calls < 8; calls++) {
			assert_in_range(keyboard_getc() + 1, 0, 0x80);
		}
	}
}
