/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/shell.c: a command that asks for something. What is typed is neither shown nor remembered,
 * whatever the log writes meanwhile.
 */
#include "tests/unit/test.h"
#include "boot/shell.h"
#include "boot/shell_priv.h"
#include "guest/vconsole.h"

static char heard[16];

static bool hear(uint8_t byte)
{
	const char c = (char)byte;

	strncat(heard, &c, 1);
	return byte >= ' ';
}

static void run_ask(const struct shell_call *call)
{
	heard[0] = '\0';
	shell_ask("secret: ", hear);
}

const struct shell_command shell_commands[] = {
	{ "ask", "", "asks", 0, 0, false, run_ask, NULL, false },
};
const size_t shell_command_count = ARRAY_COUNT(shell_commands);

size_t vms_count(void)
{
	return 0;
}

const struct vms_entry *vms_get(size_t index)
{
	fail();
	return NULL;
}

void shell_take_corner(uint32_t row, uint32_t column)
{
	fail();
}

static const char *type(const char *text)
{
	const size_t before = strlen(fake_console_text());

	fake_console_type(text);
	shell_poll();
	return fake_console_text() + before;
}

TEST(a_secret_is_not_shown, fake_setup, fake_teardown)
{
	static struct vconsole console;

	vconsole_attach(&console, "alpha");
	assert_non_null(strstr(type("\x1e"
				    "ask\r"),
			       "umbra> ask\r\nsecret: "));
	assert_string_equal(type("open"), "");
	shell_print("a line of the log");
	assert_string_equal(type(""), "secret: "); /* after it, as after the log's lines */
	assert_string_equal(type(" up\r"), "umbra> ");
	assert_string_equal(heard, "open up\r");
	assert_non_null(strstr(type("\x1b[A"), "ask")); /* the last line, for there is no other */
	assert_null(strstr(fake_console_text(), "open"));
	/* It asks again; the escape key gives up, and pressed once more it leads to the VM. */
	assert_non_null(strstr(type("\r"), "secret: "));
	assert_string_equal(type("x\x1e"), "umbra> ");
	assert_string_equal(heard, "x\x03"); /* as Ctrl-C */
	assert_true(vconsole_in_shell());
	(void)type("\x1e");
	assert_false(vconsole_in_shell());
	vconsole_detach(&console);
}
