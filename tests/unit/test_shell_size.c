/* SPDX-License-Identifier: Apache-2.0 */
/* boot/shell_size.c: sizes that a person types, and those that a terminal reports. */
#include "tests/unit/test.h"
#include "boot/shell_priv.h"
#include "guest/vconsole.h"
#include "vmm/base/str.h"

static char said[200];
static struct vconsole_size size;

void shell_print(const char *fmt, ...)
{
	__builtin_va_list args;

	__builtin_va_start(args, fmt);
	(void)str_vprintf(said, sizeof(said), fmt, args);
	__builtin_va_end(args);
}

void vconsole_set_size(struct vconsole_size now)
{
	size = now;
}

struct vconsole_size vconsole_size(void)
{
	return size;
}

static int setup(void **state)
{
	size = (struct vconsole_size){ 0, 0 };
	said[0] = '\0';
	return fake_setup(state);
}

static const char *run(char *columns, char *rows)
{
	const struct shell_call call = {
		.words = { columns, rows },
		.count = (columns != NULL) + (rows != NULL),
	};

	shell_run_size(&call);
	return said;
}

TEST(a_person_types_it, setup, fake_teardown)
{
	assert_string_equal(run("132", "50"), "the screen has 132 columns and 50 rows");
	assert_string_equal(run("999", "1"), "the screen has 999 columns and 1 rows");
	assert_int_equal(size.columns, 999);
	assert_int_equal(size.rows, 1);
}

TEST(mistakes_change_nothing, setup, fake_teardown)
{
	static char *const wrong[][2] = {
		{ "80", NULL },		{ "0", "24" },
		{ "80", "0" },		{ "1000", "24" },
		{ "80", "x" },		{ "", "24" },
		{ "4294967376", "24" }, { "80", "24x" },
		{ "-1", "24" },		{ "80", "999999999999999999999" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		assert_string_equal(run(wrong[i][0], wrong[i][1]),
				    "usage: size [COLUMNS ROWS], each from 1 to 999");
		assert_int_equal(size.columns, 0);
	}
}

/* What a terminal reports is used once, and only if it was asked. */
TEST(the_terminal_is_asked, setup, fake_teardown)
{
	shell_take_corner(7, 7);
	assert_int_equal(size.columns, 0);
	assert_string_equal(run(NULL, NULL), "the screen's size is not known");
	assert_string_equal(fake_console_controls, "\x1b"
						   "7\x1b[999;999H\x1b[6n\x1b"
						   "8");
	shell_take_corner(24, 80);
	assert_string_equal(said, "the screen has 80 columns and 24 rows");
	shell_take_corner(7, 7);
	assert_int_equal(size.columns, 80);
	assert_int_equal(size.rows, 24);
	(void)run(NULL, NULL);
	shell_take_corner(0, 0);
	assert_int_equal(size.columns, 80);
}
