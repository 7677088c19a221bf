/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys are those of Emacs, as in most shells. Cursor keys arrive as VT100 escape sequences
 * (ECMA-48, CSI).
 */
#include "boot/line_edit.h"

#include "vmm/base/str.h"

#define CTRL(letter) ((letter)&0x1f)
#define KEY_ESCAPE   0x1b
#define KEY_DELETE   0x7f
#define WORDS_BYTES  1024

enum { ESCAPE_NONE, ESCAPE_SEEN, ESCAPE_CSI, ESCAPE_SS3 };

static void put(const struct line_edit *line, const char *text, size_t bytes)
{
	if (bytes != 0) {
		line->write(text, bytes);
	}
}

static void repeat(const struct line_edit *line, char c, size_t count)
{
	for (; count > 0; count--) {
		line->write(&c, 1);
	}
}

/*
 * Writes the text from `from` on, overwrites what was longer with blanks, and moves back to the
 * cursor.
 */
static void redraw(const struct line_edit *line, size_t from, size_t blanks)
{
	put(line, line->text + from, line->length - from);
	repeat(line, ' ', blanks);
	repeat(line, '\b', line->length + blanks - line->cursor);
}

void line_edit_show(struct line_edit *line)
{
	put(line, line->prompt, strlen(line->prompt));
	redraw(line, 0, 0);
}

void line_edit_begin(struct line_edit *line)
{
	line->text[0] = '\0';
	line->length = line->cursor = line->recalled = 0;
	line->too_long = false;
	line->escape = ESCAPE_NONE;
	line_edit_show(line);
}

static void move_to(struct line_edit *line, size_t to)
{
	if (to < line->cursor) {
		repeat(line, '\b', line->cursor - to);
	} else {
		put(line, line->text + line->cursor, to - line->cursor);
	}
	line->cursor = to;
}

static void insert(struct line_edit *line, const char *text, size_t bytes)
{
	if (line->length + bytes > LINE_EDIT_MAX) {
		line->too_long = true;
		repeat(line, '\a', 1);
		return;
	}
	memmove(line->text + line->cursor + bytes, line->text + line->cursor,
		line->length - line->cursor + 1);
	memcpy(line->text + line->cursor, text, bytes);
	line->length += bytes;
	line->cursor += bytes;
	redraw(line, line->cursor - bytes, 0);
}

/*
 * Removes [from, to) and leaves the cursor at from. The cursor must be within the range or at its
 * ends.
 */
static void cut(struct line_edit *line, size_t from, size_t to)
{
	move_to(line, from);
	memmove(line->text + from, line->text + to, line->length - to + 1);
	line->length -= to - from;
	line->too_long = line->too_long && line->length != 0; /* an emptied line is a new line */
	redraw(line, from, to - from);
}

static size_t word_start(const struct line_edit *line)
{
	size_t at = line->cursor;

	while (at > 0 && str_is_space(line->text[at - 1])) {
		at--;
	}
	while (at > 0 && !str_is_space(line->text[at - 1])) {
		at--;
	}
	return at;
}

/* --- History --- */

static void remember(struct line_edit *line)
{
	const char *last = line->before[(line->before_count - 1) % LINE_EDIT_BEFORE];

	if (line->length == 0 || (line->before_count != 0 && strcmp(last, line->text) == 0)) {
		return;
	}
	memcpy(line->before[line->before_count % LINE_EDIT_BEFORE], line->text, line->length + 1);
	line->before_count++;
}

static void recall(struct line_edit *line, size_t back)
{
	const char *text = "";

	if (back > MIN(line->before_count, (size_t)LINE_EDIT_BEFORE)) {
		repeat(line, '\a', 1);
		return;
	}
	if (back != 0) {
		text = line->before[(line->before_count - back) % LINE_EDIT_BEFORE];
	}
	line->recalled = back;
	cut(line, 0, line->length);
	insert(line, text, strlen(text));
}

/* --- Completion --- */

static size_t common_length(const char *words, size_t count)
{
	const char *word = words + strlen(words) + 1;
	size_t common = strlen(words);

	for (size_t i = 1; i < count; i++, word += strlen(word) + 1) {
		size_t same = 0;

		while (same < common && words[same] == word[same]) {
			same++;
		}
		common = same;
	}
	return common;
}

static void list_words(struct line_edit *line, const char *words, size_t count)
{
	put(line, "\r\n", 2);
	for (size_t i = 0; i < count; i++, words += strlen(words) + 1) {
		put(line, words, strlen(words));
		put(line, "  ", 2);
	}
	put(line, "\r\n", 2);
	line_edit_show(line);
}

/* Completes at the line's end only; elsewhere the text after the cursor would matter, too. */
static void complete(struct line_edit *line)
{
	char words[WORDS_BYTES];
	size_t typed = line->length - word_start(line);
	size_t count, common;

	if (line->length != 0 && str_is_space(line->text[line->length - 1])) {
		typed = 0;
	}
	if (line->complete == NULL || line->cursor != line->length) {
		return;
	}
	count = line->complete(line->text, words, sizeof(words));
	if (count == 0) {
		repeat(line, '\a', 1);
		return;
	}
	common = common_length(words, count);
	if (common > typed) {
		insert(line, words + typed, common - typed);
	} else if (count > 1) {
		list_words(line, words, count);
	}
	if (count == 1) {
		insert(line, " ", 1);
	}
}

/* --- Keys --- */

static void feed_number(struct line_edit *line, uint8_t byte)
{
	if (byte >= '0' && byte <= '9') {
		line->numbers[1] = (line->numbers[1] * 10 + byte - '0') % 10000;
	} else if (byte == ';') {
		line->numbers[0] = line->numbers[1];
		line->numbers[1] = 0;
	}
}

/* Handles a byte after ESC. Unknown sequences are skipped whole. */
static void feed_escape(struct line_edit *line, uint8_t byte)
{
	if (line->escape == ESCAPE_SEEN && (byte == '[' || byte == 'O')) {
		line->escape = byte == '[' ? ESCAPE_CSI : ESCAPE_SS3;
		line->escape_number = 0;
		line->numbers[0] = line->numbers[1] = 0;
		return;
	}
	if (line->escape == ESCAPE_CSI && byte >= ' ' && byte < '@') {
		line->escape_number = byte;
		feed_number(line, byte);
		return;
	}
	if (line->escape != ESCAPE_SEEN) {
		switch (byte) {
		case 'A': recall(line, line->recalled + 1); break;
		case 'B': recall(line, line->recalled - (line->recalled != 0)); break;
		case 'C': move_to(line, MIN(line->cursor + 1, line->length)); break;
		case 'D': move_to(line, line->cursor - (line->cursor != 0)); break;
		case 'H': move_to(line, 0); break;
		case 'F': move_to(line, line->length); break;
		case 'R':
			if (line->at != NULL) {
				line->at(line->numbers[0], line->numbers[1]);
			}
			break;
		case '~':
			if (line->escape_number == '3' && line->cursor < line->length) {
				cut(line, line->cursor, line->cursor + 1);
			}
			break;
		default: break;
		}
	}
	line->escape = ESCAPE_NONE;
}

static void feed_control(struct line_edit *line, uint8_t byte)
{
	switch (byte) {
	case CTRL('A'): move_to(line, 0); break;
	case CTRL('B'): move_to(line, line->cursor - (line->cursor != 0)); break;
	case CTRL('C'):
		put(line, "^C\r\n", 4);
		line_edit_begin(line);
		break;
	case CTRL('D'):
		if (line->cursor < line->length) {
			cut(line, line->cursor, line->cursor + 1);
		}
		break;
	case CTRL('E'): move_to(line, line->length); break;
	case CTRL('F'): move_to(line, MIN(line->cursor + 1, line->length)); break;
	case CTRL('H'):
	case KEY_DELETE:
		if (line->cursor != 0) {
			cut(line, line->cursor - 1, line->cursor);
		}
		break;
	case CTRL('I'): complete(line); break;
	case CTRL('K'): cut(line, line->cursor, line->length); break;
	case CTRL('N'): recall(line, line->recalled - (line->recalled != 0)); break;
	case CTRL('P'): recall(line, line->recalled + 1); break;
	case CTRL('U'): cut(line, 0, line->cursor); break;
	case CTRL('W'): cut(line, word_start(line), line->cursor); break;
	case KEY_ESCAPE: line->escape = ESCAPE_SEEN; break;
	default: break;
	}
}

enum line_event line_edit_feed(struct line_edit *line, uint8_t byte)
{
	bool second_half = line->after_return && byte == '\n';
	char c = (char)byte;

	line->after_return = byte == '\r';
	if (line->escape != ESCAPE_NONE && byte >= ' ') {
		feed_escape(line, byte);
		return LINE_EDITING;
	}
	line->escape = ESCAPE_NONE;
	if (byte == '\r' || (byte == '\n' && !second_half)) {
		put(line, "\r\n", 2);
		if (line->too_long) {
			return LINE_TOO_LONG;
		}
		remember(line);
		return LINE_COMPLETE;
	}
	if (byte >= ' ' && byte < KEY_DELETE) {
		insert(line, &c, 1);
	} else {
		feed_control(line, byte);
	}
	return LINE_EDITING;
}
