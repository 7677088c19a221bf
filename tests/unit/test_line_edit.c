/* SPDX-License-Identifier: Apache-2.0 */
/* boot/line_edit.c: keys as a terminal sends them, and what the terminal then shows. */
#include "tests/unit/test.h"
#include "boot/line_edit.h"

static char screen[64][LINE_EDIT_MAX + 32]; /* content of the terminal */
static size_t row, column, bells;

static void terminal(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		switch (text[i]) {
		case '\n': row = (row + 1) % 64, memset(screen[row], 0, sizeof(screen[0])); break;
		case '\r': column = 0; break;
		case '\b':
			assert_true(column > 0);
			column--;
			break;
		case '\a': bells++; break;
		default:
			assert_in_range(text[i], ' ', '~');
			assert_true(column < sizeof(screen[0]) - 1);
			screen[row][column++] = text[i];
		}
	}
}

static size_t offer(const char *text, char *words, size_t bytes)
{
	static const char all[] = "pause\0peek\0poweroff";

	assert_true(bytes >= sizeof(all));
	if (strcmp(text, "p") == 0) {
		memcpy(words, all, sizeof(all));
		return 3;
	}
	if (strcmp(text, "pa") == 0) {
		memcpy(words, all, 6);
		return 1;
	}
	return 0;
}

static struct line_edit line;

static void begin(void)
{
	memset(&line, 0, sizeof(line));
	memset(screen, 0, sizeof(screen));
	row = column = bells = 0;
	line.prompt = "> ";
	line.write = terminal;
	line.complete = offer;
	line_edit_begin(&line);
}

/* Returns the event of the last byte. */
static enum line_event type(const char *bytes)
{
	enum line_event event = LINE_EDITING;

	for (; *bytes != '\0'; bytes++) {
		event = line_edit_feed(&line, (uint8_t)*bytes);
		assert_true(line.cursor <= line.length && line.length <= LINE_EDIT_MAX);
		assert_int_equal(strlen(line.text), line.length);
	}
	return event;
}

/* The line has this text, the terminal shows it, and both cursors are at this place. */
static void assert_line(const char *text, size_t cursor)
{
	char shown[sizeof(screen[0])];
	size_t end;

	assert_string_equal(line.text, text);
	assert_int_equal(line.cursor, cursor);
	assert_int_equal(column, cursor + 2);
	strcpy(shown, screen[row]);
	for (end = strlen(shown); end > strlen(text) + 2 && shown[end - 1] == ' '; end--) {
		shown[end - 1] = '\0';
	}
	assert_string_equal(shown + 2, text);
}

TEST(keys_edit)
{
	begin();
	type("hello world");
	assert_line("hello world", 11);
	type("\x01X");
	assert_line("Xhello world", 1);
	type("\x05!\x02\x02\x7f");
	assert_line("Xhello word!", 10);
	type("\x1b[D\x1b[C\x1b[C\x1b[C\x1b[C");
	assert_line("Xhello word!", 12);
	type("\x17");
	assert_line("Xhello ", 7);
	type("\x1b[H\x1b[3~");
	assert_line("hello ", 0);
	type("\x06\x0b");
	assert_line("h", 1);
	type("ij\x1bOD\x15");
	assert_line("j", 0);
	type("\x03");
	assert_line("", 0);
	assert_int_equal(type("a\r"), LINE_COMPLETE);
}

TEST(unknown_sequences_leave_no_trace)
{
	begin();
	type("ab\x1b[1;5Z\x1b[200~\x1bx\x1bOP\x1b[15~\x00\x0e\x80\xff");
	assert_line("ab", 2);
	assert_int_equal(type("\r"), LINE_COMPLETE);
	assert_int_equal(line_edit_feed(&line, '\n'), LINE_EDITING); /* CR LF is one Return */
	line_edit_begin(&line);
	assert_int_equal(type("x\n"), LINE_COMPLETE);
}

static uint32_t cursor_row, cursor_column;

static void take_cursor(uint32_t at_row, uint32_t at_column)
{
	cursor_row = at_row;
	cursor_column = at_column;
}

/* CPR; also one of no numbers, of too many, and of digits without end. */
TEST(the_terminal_reports_its_cursor)
{
	begin();
	type("ab\x1b[24;80R"); /* without a taker it leaves no trace */
	line.at = take_cursor;
	type("\x1b[50;132R");
	assert_int_equal(cursor_row, 50);
	assert_int_equal(cursor_column, 132);
	type("\x1b[R");
	assert_int_equal(cursor_row, 0);
	assert_int_equal(cursor_column, 0);
	type("\x1b[1;2;3R");
	assert_int_equal(cursor_row, 2);
	assert_int_equal(cursor_column, 3);
	type("\x1b[99999999999999999999;123456R");
	assert_int_equal(cursor_row, 9999);
	assert_int_equal(cursor_column, 3456);
	assert_line("ab", 2);
}

TEST(history_is_recalled)
{
	begin();
	for (unsigned i = 0; i < LINE_EDIT_BEFORE + 3; i++) {
		const char text[] = { (char)('a' + i), '\r', '\0' };

		assert_int_equal(type(text), LINE_COMPLETE);
		line_edit_begin(&line);
	}
	type("s\r"); /* an equal line is not remembered twice */
	line_edit_begin(&line);
	type("new\x1b[A");
	assert_line("s", 1);
	type("\x10");
	assert_line("r", 1);
	type("\x0e\x1b[B");
	assert_line("", 0);
	for (unsigned i = 0; i < LINE_EDIT_BEFORE + 5; i++) {
		type("\x1b[A");
	}
	assert_line("d", 1);
	assert_true(bells > 0);
}

TEST(long_lines_are_refused)
{
	begin();
	for (unsigned i = 0; i < LINE_EDIT_MAX; i++) {
		type("x");
	}
	assert_int_equal(bells, 0);
	type("y");
	assert_int_equal(bells, 1);
	assert_int_equal(line.length, LINE_EDIT_MAX);
	assert_int_equal(type("\r"), LINE_TOO_LONG);
	line_edit_begin(&line);
	for (unsigned i = 0; i <= LINE_EDIT_MAX; i++) {
		type("x");
	}
	assert_int_equal(type("\x15y\r"), LINE_COMPLETE); /* the line was cleared: a new line */
	line_edit_begin(&line);
	assert_int_equal(type("x\r"), LINE_COMPLETE);
}

TEST(tab_completes)
{
	begin();
	type("p\t"); /* three candidates with no further common prefix: a list */
	assert_line("p", 1);
	assert_string_equal(screen[row - 1], "pause  peek  poweroff  ");
	type("a\t");
	assert_line("pause ", 6);
	type("q\t");
	assert_int_equal(bells, 1);
}
