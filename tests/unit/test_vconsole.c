/* SPDX-License-Identifier: Apache-2.0 */
/* guest/vconsole.c: several guests, and which of them gets the input. */
#include <limits.h>
#include <stdio.h>

#include "tests/unit/test.h"
#include "guest/vconsole.h"
#include "vmm/console/console.h"

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
	vconsole_detach(&beta); /* a failed test may have left it attached */
	return fake_teardown(state);
}

static void write(struct vconsole *c, const char *text)
{
	for (; *text != '\0'; text++) {
		vconsole_put(c, (uint8_t)*text);
	}
}

/* The guest writes, and then the boot processor polls each console. */
static void put(struct vconsole *c, const char *text)
{
	write(c, text);
	for (unsigned turn = 0; turn < 8; turn++) {
		vconsole_show();
	}
}

static void let_time_pass(void)
{
	fake_tsc += 10 * 1000000;
	vconsole_show();
}

TEST(test_two_consoles, setup, teardown)
{
	put(&console, "one\r\n");
	vconsole_attach(&beta, "beta");
	put(&console, "two\r\n");
	put(&beta, "three\r\nfo");
	assert_null(strstr(fake_console_text(), "fo")); /* more of the line may follow */
	let_time_pass();
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
	let_time_pass();
	console_write("\r\nlog\r\n", 7);
	put(&beta, "exit\r\n");
	vconsole_detach(&beta);
	assert_non_null(strstr(fake_console_text(), "[beta] $ \r\nlog\r\n[beta] exit\r\n"));
	/* A console that is detached does not affect another's line. */
	put(&console, "left: ");
	vconsole_attach(&beta, "beta");
	vconsole_detach(&beta);
	put(&console, "one\r\n");
	assert_non_null(strstr(fake_console_text(), "left: one\r\n"));
}

/*
 * Only harmless characters, and the name wherever the cursor begins a row or returns to its start.
 */
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
 * Whatever a guest writes: where lines have names, each row on a terminal begins with the guest's
 * name, also when the cursor returns to its start. In the guest's own view all bytes pass.
 */
TEST(test_no_guest_plays_another, setup, teardown)
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
		vconsole_show();
		let_time_pass();
		assert_rows(fake_console_text());
	}
	/* The same in pieces: a log line ends the row, and the name comes again. */
	fake_log_reset();
	put(&console, "\npart");
	let_time_pass();
	console_write("\r\nlog\r\n", 7);
	put(&console, "umbra: x\r");
	let_time_pass();
	put(&console, "y\n");
	assert_non_null(strstr(fake_console_text(),
			       "[alpha] part\r\nlog\r\n[alpha] umbra: x\r[alpha] y\r\n"));
	assert_true(vconsole_show_one("alpha"));
	before = strlen(fake_console_text());
	put(&console, hostile);
	assert_string_equal(fake_console_text() + before, hostile);
	/* The last output of a guest that is not in view does not appear in that view. */
	put(&beta, "umbra: z");
	before = strlen(fake_console_text());
	vconsole_detach(&beta);
	assert_string_equal(fake_console_text() + before, "[beta] umbra: z\r\n");
	vconsole_show_all();
}

/* Input goes to the first guest; when that ends, to the next. */
TEST(test_front, setup, teardown)
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
	vconsole_attach(&beta, "beta"); /* started again: it has the keyboard again */
	fake_console_type("d");
	assert_int_equal(vconsole_input(), -1);
	assert_int_equal(vconsole_get(&beta), 'd');
	vconsole_detach(&beta);
}

/* The output of a VM that has ended can be shown again; it gets no input. */
TEST(test_ended, setup, teardown)
{
	vconsole_attach(&beta, "beta");
	put(&console, "one\r\ntwo\r\nlast ");
	vconsole_end(&console);
	assert_non_null(strstr(fake_log_text(), "VM beta"));
	assert_non_null(strstr(fake_console_text(), "[alpha] last \r\n"));
	vconsole_end(&console); /* a second call changes nothing */
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
	assert_int_equal(vconsole_input(), -1); /* the shell ignores a break */
	vconsole_show_all();
	assert_true(vconsole_replay("alpha"));
	assert_true(vconsole_replays());
	vconsole_show();
	assert_false(vconsole_replays());
	assert_non_null(strstr(fake_console_text(), "alone\r\none\r\ntwo\r\nlast \r\n"));
	assert_true(vconsole_replay("beta"));
	assert_false(vconsole_replay("gamma"));
	vconsole_detach(&beta);
	fake_console_type("y"); /* only one that has ended is left: input goes to the shell */
	assert_int_equal(vconsole_input(), 'y');
}

/*
 * In view no output is lost, and the guest waits. Out of view the newest output is kept, and it
 * does not wait.
 */
TEST(test_full_ring, setup, teardown)
{
	char number[16];
	unsigned lines = 0;

	fake_console_room = 0;
	while (vconsole_ready(&console)) {
		snprintf(number, sizeof(number), "%05u\n", lines++);
		put(&console, number);
	}
	assert_in_range(lines, (VCONSOLE_RING_BYTES - 24) / 6, VCONSOLE_RING_BYTES / 6);
	for (unsigned i = 0; i < VCONSOLE_FIFO_BYTES; i++) {
		vconsole_put(&console, '+');
	}
	write(&console, "lost");
	assert_string_equal(fake_console_text(), "");
	fake_console_room = UINT_MAX;
	while (console.shown.only != console.written.only) {
		vconsole_show();
	}
	assert_true(vconsole_ready(&console));
	assert_memory_equal(fake_console_text(), "00000\n00001\n00002\n", 18);
	assert_int_equal(strlen(fake_console_text()), console.written.only);
	assert_null(strstr(fake_console_text(), "lost"));

	fake_log_reset();
	vconsole_show_shell();
	for (unsigned i = 0; i < 10000; i++) {
		assert_true(vconsole_ready(&console));
		snprintf(number, sizeof(number), "%05u\n", i);
		put(&console, number);
	}
	assert_int_equal(console.written.only - console.shown.only, VCONSOLE_KEPT_BYTES);
	vconsole_show_all();
	while (console.shown.only != console.written.only) {
		vconsole_show();
	}
	assert_null(strstr(fake_console_text(), "09000"));
	assert_non_null(strstr(fake_console_text(), "09400\n09401\n"));
	assert_non_null(strstr(fake_console_text(), "09998\n09999\n"));
	/* A view that is left with a full ring, and the guest writes on. */
	fake_console_room = 0;
	while (vconsole_ready(&console)) {
		vconsole_put(&console, 'x');
	}
	vconsole_show_shell();
	assert_true(vconsole_ready(&console));
	vconsole_put(&console, 'y');
	assert_int_equal(console.written.only - console.shown.only, VCONSOLE_KEPT_BYTES);
	vconsole_show_all();
}

static unsigned count(const char *word)
{
	unsigned found = 0;

	for (const char *at = fake_console_text(); (at = strstr(at, word)) != NULL; at++) {
		found++;
	}
	return found;
}

/* Room for one line at a time: each guest gets it in turn, whatever the others write. */
TEST(test_turns, setup, teardown)
{
	static struct vconsole gamma;

	memset(&gamma, 0, sizeof(gamma));
	vconsole_attach(&beta, "beta");
	vconsole_attach(&gamma, "gamma");
	for (unsigned i = 0; i < 1000; i++) {
		write(&console, "flood\n");
		write(&beta, "flood\n");
	}
	for (unsigned i = 0; i < 10; i++) {
		fake_console_room = 1;
		vconsole_show();
	}
	assert_int_equal(count("[alpha] "), 5);
	assert_int_equal(count("[beta] "), 5);
	write(&gamma, "one word\n");
	for (unsigned i = 0; i < 3; i++) {
		fake_console_room = 1;
		vconsole_show();
	}
	assert_int_equal(count("[gamma] one word"), 1);
	/* With unlimited room, as on a line that takes nothing, a turn ends all the same. */
	fake_console_room = UINT_MAX;
	fake_log_reset();
	vconsole_show();
	assert_in_range(count("] "), 2, 8);
	vconsole_detach(&gamma);
	/* The guest that had the last turn is detached, and the one behind it is next. */
	vconsole_detach(&console);
	fake_log_reset();
	vconsole_show();
	assert_in_range(count("flood"), 2, 8);
}

/* Waits for a VM's last output, but not for ever. */
TEST(test_finish, setup, teardown)
{
	vconsole_show_shell();
	write(&console, "last words\nlogin: ");
	fake_console_room = 0;
	assert_false(vconsole_finish(&console));
	vconsole_show();
	assert_false(vconsole_finish(&console));
	fake_tsc += 2000000000;
	assert_false(vconsole_finish(&console));
	fake_console_room = UINT_MAX;
	vconsole_show();
	assert_true(vconsole_finish(&console));
	assert_string_equal(fake_console_text(), "[alpha] last words\r\n[alpha] login: \r\n");
	fake_console_room = 0;
	write(&console, "more");
	fake_tsc += 2000000000;
	assert_true(vconsole_finish(&console));
	fake_console_room = UINT_MAX;
	vconsole_show_all();
}

/*
 * A command's answer is output before the next command runs. The escape key works even during a
 * flood.
 */
TEST(test_shell_waits_for_room, setup, teardown)
{
	fake_console_room = 0;
	fake_console_type("a\x1e"
			  "bc");
	assert_int_equal(vconsole_input(), VCONSOLE_ESCAPE_KEY);
	assert_int_equal(vconsole_get(&console), 'a');
	assert_int_equal(vconsole_input(), -1);
	fake_console_room = UINT_MAX;
	assert_int_equal(vconsole_input(), 'b');
	assert_int_equal(vconsole_input(), 'c');
	vconsole_show_all();
}

/* The last test: its effect cannot be undone. */
TEST(test_no_shell, setup, teardown)
{
	vconsole_no_shell();
	fake_console_type("\x1e");
	assert_int_equal(vconsole_input(), -1);
	assert_int_equal(vconsole_get(&console), VCONSOLE_ESCAPE_KEY);
	assert_false(vconsole_in_shell());
}
