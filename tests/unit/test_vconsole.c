/* SPDX-License-Identifier: Apache-2.0 */
/* guest/vconsole.c: several guests, and who is typed to. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "guest/vconsole.h"
#include "tests/unit/fake_base.h"
#include "vmm/base/console.h"

static struct vconsole console, beta;

static int setup(void **state)
{
	memset(&console, 0, sizeof(console));
	memset(&beta, 0, sizeof(beta));
	vconsole_attach(&console, "alpha");
	return fake_setup(state);
}

static int teardown(void **state)
{
	vconsole_detach(&console);
	vconsole_detach(&beta); /* where a failed test left it */
	return fake_teardown(state);
}

static void put(struct vconsole *c, const char *text)
{
	for (; *text != '\0'; text++) {
		vconsole_put(c, (uint8_t)*text);
	}
}

static void test_two_consoles(void **state)
{
	put(&console, "one\r\n");
	vconsole_attach(&beta, "beta");
	put(&console, "two\r\n");
	put(&beta, "three\r\nfo");
	vconsole_poll(&beta); /* perhaps more is coming */
	vconsole_poll(&beta);
	put(&console, "five\r\n");
	put(&beta, "ur\r\n");
	assert_string_equal(fake_console_text(),
			    "one\r\n[alpha] two\r\n[beta] three\r\n[beta] fo\r\n"
			    "[alpha] five\r\n[beta] ur\r\n");
	put(&beta, "$ ");
	vconsole_detach(&beta);
	put(&console, "raw again\r\n");
	assert_non_null(strstr(fake_console_text(), "[beta] $ \r\nraw again\r\n"));
	/* Another line came in between: no empty line, and the prefix again. */
	vconsole_attach(&beta, "beta");
	put(&beta, "$ ");
	vconsole_poll(&beta);
	vconsole_poll(&beta);
	console_write("\r\nlog\r\n", 7);
	put(&beta, "exit\r\n");
	vconsole_detach(&beta);
	assert_non_null(strstr(fake_console_text(), "[beta] $ \r\nlog\r\n[beta] exit\r\n"));
	/* One that goes away leaves another's line alone. */
	put(&console, "left: ");
	vconsole_poll(&console);
	vconsole_attach(&beta, "beta");
	vconsole_detach(&beta);
	put(&console, "one\r\n");
	assert_non_null(strstr(fake_console_text(), "left: one\r\n"));
}

/* Harmless characters alone, and the name wherever the cursor begins a row or goes back to it. */
static void assert_rows(const char *text)
{
	char before = '\n';

	for (; *text != '\0'; before = *text++) {
		assert_true(strchr("\r\n\t", *text) != NULL || (*text >= ' ' && *text <= '~'));
		if (before == '\n' || (before == '\r' && *text != '\n')) {
			assert_int_equal(strncmp(text, "[alpha] ", 8), 0);
		}
	}
}

/*
 * Whatever a guest writes: each row that a terminal shows, and each time it begins one again,
 * starts with the guest's name, where lines carry names. In a screen of its own all bytes pass.
 */
static void test_no_guest_plays_another(void **state)
{
	static const char hostile[] =
		"a\rumbra: error: b\r\r\nc\b\b\b\b\b\b\b\b\bumbra: d\033[1G[beta] "
		"e\033[2K\033[1;31mf\033[m\n"
		"\x0b\x0cg\x18\x1a\033Ah\033]0;title\007i\033P1$r\033\\j\033(0k\x0e\x0f\x05\x7f\n"
		"\x84\x85\x8d\x9b"
		"1Gl\xc2\x9b"
		"1Gm\xe2\x80\xae"
		"n\t\033[\rumbra: o\n\033[1\n";
	size_t before;

	vconsole_attach(&beta, "beta");
	put(&console, hostile);
	assert_string_equal(
		fake_console_text(),
		"[alpha] a\r[alpha] umbra: error: b\r\n[alpha] cumbra: d[beta] ef\r\n"
		"[alpha] ghijk\r\n[alpha] 1Gl?1Gm?n\t\r[alpha] umbra: o\r\n[alpha] \r\n");
	for (unsigned i = 0; i < 256 * 256 * 2; i++) {
		fake_log_reset();
		vconsole_put(&console, (uint8_t)(i % 512 / 2));
		vconsole_put(&console, (uint8_t)(i / 512));
		vconsole_poll(&console);
		vconsole_poll(&console);
		assert_rows(fake_console_text());
	}
	/* The same by bits: a line of the log ends the row, and the name comes again. */
	fake_log_reset();
	put(&console, "\npart");
	vconsole_poll(&console);
	vconsole_poll(&console);
	console_write("\r\nlog\r\n", 7);
	put(&console, "umbra: x\r");
	vconsole_poll(&console);
	vconsole_poll(&console);
	put(&console, "y\n");
	assert_non_null(strstr(fake_console_text(),
			       "[alpha] part\r\nlog\r\n[alpha] umbra: x\r[alpha] y\r\n"));
	assert_true(vconsole_show_one("alpha"));
	before = strlen(fake_console_text());
	put(&console, hostile);
	assert_string_equal(fake_console_text() + before, hostile);
	/* Last words of one that is not in view are no part of that screen. */
	put(&beta, "umbra: z");
	before = strlen(fake_console_text());
	vconsole_detach(&beta);
	assert_string_equal(fake_console_text() + before, "[beta] umbra: z\r\n");
	vconsole_show_all();
}

/* What is typed goes to the first one; when that goes away, to the next. */
static void test_front(void **state)
{
	vconsole_attach(&beta, "beta");
	fake_console_type("a");
	assert_int_equal(vconsole_input(), -1);
	assert_int_equal(vconsole_get(&beta), -1);
	assert_int_equal(vconsole_get(&console), 'a');
	assert_true(vconsole_show_one("beta"));
	assert_false(vconsole_show_one("gamma"));
	fake_console_type("b");
	assert_int_equal(vconsole_input(), -1);
	assert_int_equal(vconsole_get(&beta), 'b');
	vconsole_detach(&beta);
	assert_non_null(strstr(fake_log_text(), "VM alpha"));
	fake_console_type("c");
	assert_int_equal(vconsole_input(), -1);
	assert_int_equal(vconsole_get(&console), 'c');
	vconsole_show_all();
	vconsole_attach(&beta, "beta"); /* started anew: the keyboard is with it again */
	fake_console_type("d");
	assert_int_equal(vconsole_input(), -1);
	assert_int_equal(vconsole_get(&beta), 'd');
	vconsole_detach(&beta);
}

/* One that has ended is there to be read again, and nobody types to it. */
static void test_ended(void **state)
{
	vconsole_attach(&beta, "beta");
	put(&console, "one\r\ntwo\r\nlast ");
	vconsole_end(&console);
	assert_non_null(strstr(fake_log_text(), "VM beta"));
	assert_non_null(strstr(fake_console_text(), "[alpha] last \r\n"));
	vconsole_end(&console); /* once is enough */
	put(&beta, "alone\r\n");
	assert_non_null(strstr(fake_console_text(), "\r\nalone\r\n"));
	assert_false(vconsole_show_one("alpha"));
	fake_console_type("x\xff");
	assert_int_equal(vconsole_input(), -1);
	assert_int_equal(vconsole_get(&console), -1);
	assert_int_equal(vconsole_get(&beta), 'x');
	assert_int_equal(vconsole_get(&beta), CONSOLE_BREAK);
	vconsole_show_shell();
	fake_console_type("\xff");
	assert_int_equal(vconsole_input(), -1); /* a break is nothing to the shell */
	vconsole_show_all();
	assert_true(vconsole_replay("alpha"));
	assert_non_null(strstr(fake_console_text(), "alone\r\none\r\ntwo\r\nlast \r\n"));
	assert_true(vconsole_replay("beta"));
	assert_false(vconsole_replay("gamma"));
	vconsole_detach(&beta);
	fake_console_type("y"); /* only an ended one is left: the shell's */
	assert_int_equal(vconsole_input(), 'y');
}

/* The last test: nothing undoes it. */
static void test_no_shell(void **state)
{
	vconsole_no_shell();
	fake_console_type("\x1e");
	assert_int_equal(vconsole_input(), -1);
	assert_int_equal(vconsole_get(&console), VCONSOLE_ESCAPE_KEY);
	assert_false(vconsole_in_shell());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_two_consoles), TEST(test_no_guest_plays_another),
		TEST(test_front),	 TEST(test_ended),
		TEST(test_no_shell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
