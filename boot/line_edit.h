/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line that a person edits on a terminal: moving, deleting, history, completion. It takes bytes
 * and writes bytes. Of the terminal it needs only backspace, so it works on the screen as well. One
 * user at a time, no locks.
 */
#ifndef UMBRA_BOOT_LINE_EDIT_H
#define UMBRA_BOOT_LINE_EDIT_H

#include "vmm/base/types.h"

#define LINE_EDIT_MAX	 127 /* characters of a line */
#define LINE_EDIT_BEFORE 16  /* lines of history */

enum line_event {
	LINE_EDITING,
	LINE_COMPLETE, /* `text` holds the line; line_edit_begin starts the next */
	LINE_TOO_LONG, /* Return after more than LINE_EDIT_MAX characters: the end is missing */
};

struct line_edit {
	/*
	 * The owner sets these. complete may be NULL. It writes the candidates for the last word of
	 * text, each terminated, into words[bytes], and returns their number.
	 */
	const char *prompt;
	void (*write)(const char *text, size_t bytes);
	size_t (*complete)(const char *text, char *words, size_t bytes);
	/* The terminal says where its cursor is (ECMA-48, CPR), both from 1 on. May be NULL. */
	void (*at)(uint32_t row, uint32_t column);

	char text[LINE_EDIT_MAX + 1]; /* terminated */
	size_t length, cursor;
	bool too_long;
	uint8_t escape; /* the state within an escape sequence */
	uint8_t escape_number;
	uint32_t numbers[2]; /* of an escape sequence: its last two parameters, below 10,000 */
	bool after_return;   /* the last byte was CR: a LF after it belongs to it */

	char before[LINE_EDIT_BEFORE][LINE_EDIT_MAX + 1]; /* ring of the last lines */
	size_t before_count;				  /* lines remembered in all */
	size_t recalled; /* how many lines back the recalled line is; 0: none */
};

/* Begins an empty line after a new prompt. */
void line_edit_begin(struct line_edit *line);
/* Shows prompt and line again after other output. The cursor must be at the left margin. */
void line_edit_show(struct line_edit *line);
/* Takes one byte from the terminal, of any value. */
enum line_event line_edit_feed(struct line_edit *line, uint8_t byte);

#endif
