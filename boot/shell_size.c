/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large the user's screen is, for guests with a virtio console. A serial line does not report
 * it, so the user gives it, or the terminal is asked.
 */
#include "boot/shell_priv.h"

#include "guest/vconsole.h"
#include "vmm/base/str.h"
#include "vmm/console/console.h"

#define SIZE_MAX_CELLS 999u

static bool asked;

static void print_size(void)
{
	const struct vconsole_size size = vconsole_size();

	if (size.columns == 0) {
		shell_print("the screen's size is not known");
	} else {
		shell_print("the screen has %u columns and %u rows", size.columns, size.rows);
	}
}

/* Returns 0 for what is not a number from 1 to SIZE_MAX_CELLS. */
static uint32_t parse(const char *text)
{
	uint32_t value = 0;

	for (; *text >= '0' && *text <= '9' && value <= SIZE_MAX_CELLS; text++) {
		value = value * 10 + (uint32_t)(*text - '0');
	}
	return *text == '\0' && value <= SIZE_MAX_CELLS ? value : 0;
}

static bool set(uint32_t columns, uint32_t rows)
{
	if (columns == 0 || columns > SIZE_MAX_CELLS || rows == 0 || rows > SIZE_MAX_CELLS) {
		return false;
	}
	vconsole_set_size((struct vconsole_size){ (uint16_t)columns, (uint16_t)rows });
	print_size();
	return true;
}

/*
 * DECSC saves the cursor's place, CUP moves it as far as the screen goes, DSR asks where that is,
 * and DECRC moves it back (ECMA-48, and DEC's VT100).
 */
static void ask(void)
{
	static const char question[] = "\x1b\x37\x1b[999;999H\x1b[6n\x1b\x38";

	asked = true;
	console_control(question, sizeof(question) - 1);
}

void shell_take_corner(uint32_t row, uint32_t column)
{
	if (asked) {
		asked = false;
		console_write("\r\n", 2);
		(void)set(column, row);
	}
}

void shell_run_size(const struct shell_call *call)
{
	if (call->count == 0) {
		print_size();
		ask();
	} else if (call->count != 2 || !set(parse(call->words[0]), parse(call->words[1]))) {
		shell_print("usage: size [COLUMNS ROWS], each from 1 to %u", SIZE_MAX_CELLS);
	}
}
