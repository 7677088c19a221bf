/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyboard controller 8042 (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
 * Auxiliary Device Controller"), which translates to scan code set 1.
 */
#include "vmm/console/keyboard.h"

#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

#define PORT_DATA    0x60
#define PORT_COMMAND 0x64 /* also status */

#define STATUS_OUTPUT BIT(0) /* a byte can be read */
#define STATUS_INPUT  BIT(1) /* the last byte written is not taken yet */
#define STATUS_MOUSE  BIT(5) /* the byte comes from the auxiliary device */

#define COMMAND_READ_MODE  0x20
#define COMMAND_WRITE_MODE 0x60
#define MODE_INTERRUPTS	   (BIT(0) | BIT(1))
#define MODE_KEYBOARD_OFF  BIT(4)
#define MODE_TRANSLATE	   BIT(6)

#define KEYBOARD_SCAN 0xf4 /* enable scanning */
#define KEYBOARD_ACK  0xfa

#define WAIT_TURNS 50000u /* reads of the status, each about a microsecond on metal */
#define DRAIN_MAX  32u	  /* at most this many bytes left by firmware */

#define SCAN_RELEASED 0x80
#define SCAN_EXTENDED 0xe0
#define SCAN_PAUSE    0xe1 /* five more bytes follow */
#define SCAN_CTRL     0x1d
#define SCAN_SHIFT    0x2a
#define SCAN_SHIFT_R  0x36
#define SCAN_CAPS     0x3a
#define SCAN_6	      0x07

#define CTRL_CIRCUMFLEX 0x1e

/* By scan code; 0: no byte. The keypad begins at 47H. */
static const char plain[] = "\0\x1b"
			    "1234567890-=\x7f\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 "
			    "\0\0\0\0\0\0\0\0\0\0\0\0\0"
			    "789-456+1230.";
static const char shifted[] = "\0\x1b"
			      "!@#$%^&*()_+\x7f\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 "
			      "\0\0\0\0\0\0\0\0\0\0\0\0\0"
			      "789-456+1230.";
_Static_assert(sizeof(plain) == 0x54 + 1 && sizeof(shifted) == sizeof(plain), "one for each code");

/* Codes that follow SCAN_EXTENDED. */
static const struct {
	uint8_t code;
	const char *bytes;
} extended_keys[] = {
	{ 0x48, "\x1b[A" },  { 0x50, "\x1b[B" }, { 0x4d, "\x1b[C" },
	{ 0x4b, "\x1b[D" },  { 0x47, "\x1b[H" }, { 0x4f, "\x1b[F" },
	{ 0x53, "\x1b[3~" }, { 0x1c, "\r" },	 { 0x35, "/" },
};

static struct {
	bool present;
	bool shift, ctrl, caps, extended;
	uint8_t skip;	   /* bytes still to ignore of a code that gives no byte */
	const char *bytes; /* the rest of an escape sequence; or NULL */
} keyboard;

/* --- The controller --- */

static bool wait_for(uint8_t mask, uint8_t value)
{
	for (uint32_t turn = 0; turn < WAIT_TURNS; turn++) {
		if ((cpu_in8(PORT_COMMAND) & mask) == value) {
			return true;
		}
		cpu_pause();
	}
	return false;
}

static bool put(uint16_t port, uint8_t byte)
{
	if (!wait_for(STATUS_INPUT, 0)) {
		return false;
	}
	cpu_out8(port, byte);
	return true;
}

static bool get(uint8_t *byte)
{
	if (!wait_for(STATUS_OUTPUT, STATUS_OUTPUT)) {
		return false;
	}
	*byte = cpu_in8(PORT_DATA);
	return true;
}

static void drain(void)
{
	for (uint32_t i = 0; i < DRAIN_MAX && (cpu_in8(PORT_COMMAND) & STATUS_OUTPUT) != 0; i++) {
		(void)cpu_in8(PORT_DATA);
	}
}

/* Enables translation to set 1 and disables interrupts. */
static bool set_mode(void)
{
	uint8_t mode;

	return put(PORT_COMMAND, COMMAND_READ_MODE) && get(&mode) &&
	       put(PORT_COMMAND, COMMAND_WRITE_MODE) &&
	       put(PORT_DATA,
		   (uint8_t)((mode & ~(MODE_INTERRUPTS | MODE_KEYBOARD_OFF)) | MODE_TRANSLATE));
}

/*
 * Does a keyboard answer? The codes of keys that are pressed meanwhile may come before its answer.
 */
static bool answers(void)
{
	uint8_t byte = 0;

	if (!put(PORT_DATA, KEYBOARD_SCAN)) {
		return false;
	}
	for (uint32_t i = 0; i < DRAIN_MAX && byte != KEYBOARD_ACK; i++) {
		if (!get(&byte)) {
			return false;
		}
	}
	return byte == KEYBOARD_ACK;
}

int keyboard_init(void)
{
	memset(&keyboard, 0, sizeof(keyboard));
	if (cpu_in8(PORT_COMMAND) == 0xff) {
		return ERR_NOTFOUND; /* no keyboard answers */
	}
	drain();
	keyboard.present = set_mode() && answers();
	return keyboard.present ? 0 : ERR_NOTFOUND;
}

/* --- Codes --- */

static int begin_sequence(uint8_t code)
{
	for (size_t i = 0; i < ARRAY_COUNT(extended_keys); i++) {
		if (extended_keys[i].code == code) {
			keyboard.bytes = extended_keys[i].bytes + 1;
			return extended_keys[i].bytes[0];
		}
	}
	return -1;
}

static int character(uint8_t code)
{
	char c;

	if (code >= sizeof(plain) - 1) {
		return -1;
	}
	if (keyboard.ctrl && code == SCAN_6) {
		return CTRL_CIRCUMFLEX; /* with Shift or without */
	}
	c = keyboard.shift ? shifted[code] : plain[code];
	if (((c | 0x20) >= 'a' && (c | 0x20) <= 'z')) {
		c = keyboard.caps ? c ^ 0x20 : c;
		c = keyboard.ctrl ? c & 0x1f : c;
	}
	return c != '\0' ? c : -1;
}

/* The byte that a code gives, or -1. */
static int decode(uint8_t code)
{
	const bool extended = keyboard.extended, pressed = (code & SCAN_RELEASED) == 0;
	const uint8_t key = code & MASK(6, 0);

	if (keyboard.skip != 0) {
		keyboard.skip--;
		return -1;
	}
	keyboard.extended = code == SCAN_EXTENDED;
	if (code == SCAN_EXTENDED) {
		return -1;
	}
	if (code == SCAN_PAUSE) {
		keyboard.skip = 5;
		return -1;
	}
	if (key == SCAN_CTRL) {
		keyboard.ctrl = pressed;
		return -1;
	}
	if (extended) {
		/* Shift codes after SCAN_EXTENDED are not keys. */
		return pressed ? begin_sequence(key) : -1;
	}
	if (key == SCAN_SHIFT || key == SCAN_SHIFT_R) {
		keyboard.shift = pressed;
		return -1;
	}
	keyboard.caps ^= key == SCAN_CAPS && pressed;
	return pressed ? character(key) : -1;
}

int keyboard_getc(void)
{
	uint8_t status;

	if (!keyboard.present) {
		return -1;
	}
	if (keyboard.bytes != NULL && *keyboard.bytes != '\0') {
		return *keyboard.bytes++;
	}
	for (uint32_t i = 0; i < DRAIN_MAX; i++) {
		uint8_t code;
		int byte;

		status = cpu_in8(PORT_COMMAND);
		if ((status & STATUS_OUTPUT) == 0) {
			return -1;
		}
		code = cpu_in8(PORT_DATA);
		byte = (status & STATUS_MOUSE) != 0 ? -1 : decode(code);
		if (byte >= 0) {
			return byte;
		}
	}
	return -1;
}
