/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line that a person edits on a terminal: moving, deleting, history, completion. Bytes in, bytes
 * out; needs of the terminal no more than backspace, so that it works on the screen as well. One
 * user at a time, no locks.
 */
#ifndef UMBRA_BOOT_LINE_EDIT_H
#define UMBRA_BOOT_LINE_EDIT_H

#include "vmm/base/types.h"

#define LINE_EDIT_MAX	 127 /* characters of a line */
#define LINE_EDIT_BEFORE 16  /* lines remembered */

enum line_event {
	LINE_EDITING,
	LINE_COMPLETE, /* `text` holds it; line_edit_begin starts the next */
	LINE_TOO_LONG, /* Return after more than fits: what is there is not what was typed */
};

struct line_edit {
	/* Set by the owner. complete (may be NULL) writes the candidates for the word that text
	 * ends with, each terminated, into words[bytes], and returns how many. */
	const char *prompt;
	void (*write)(const char *text, size_t bytes);
	size_t (*complete)(const char *text, char *words, size_t bytes);

	char text[LINE_EDIT_MAX + 1]; /* terminated */
	size_t length, cursor;
	bool too_long;
	uint8_t escape; /* how far into an escape sequence */
	uint8_t escape_number;
	bool after_return; /* a LF that follows it belongs to it */

	char before[LINE_EDIT_BEFORE][LINE_EDIT_MAX + 1]; /* a ring */
	size_t before_count;				  /* lines ever remembered */
	size_t recalled;				  /* how many lines back; 0: the new one */
};

/* An empty line behind a new prompt. */
void line_edit_begin(struct line_edit *line);
/* Prompt and line again, after something else was written; the cursor is at the left margin. */
void line_edit_show(struct line_edit *line);
/* One byte from the terminal, whatever it is. */
enum line_event line_edit_feed(struct line_edit *line, uint8_t byte);

#endif
