/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/vconsole_line.h"

#include "vmm/base/str.h"
#include "vmm/console/console.h"
#include "vmm/vm.h"

#define KEY_ESCAPE 0x1b
#define KEY_DELETE 0x7f
#define UTF8_FIRST 0xc0 /* from this value on: the first byte of a character */

/*
 * Whether this byte belongs to an escape sequence (ECMA-48). Leaving out whole sequences keeps the
 * rest readable. Security does not depend on it: vconsole_show_line filters all bytes.
 */
static bool is_escape(struct vconsole *console, uint8_t byte)
{
	enum { NONE, BEGUN, CONTROL, STRING };
	const uint8_t was = console->escape;

	if (byte == KEY_ESCAPE) {
		console->escape = BEGUN;
		return true;
	}
	if (byte < ' ' || was == NONE) {
		console->escape = NONE; /* BEL or ESC \ ends a string */
		return false;
	}
	if (was == BEGUN && byte == '[') {
		console->escape = CONTROL;
	} else if (was == BEGUN &&
		   (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_')) {
		console->escape = STRING;
	} else if ((was == BEGUN && byte >= '0') || (was == CONTROL && byte >= '@')) {
		console->escape = NONE; /* the final byte */
	}
	return true;
}

/*
 * Writes a line: line[0, name) is the name, the rest is the text. Writes it in one call, because
 * other CPUs may log meanwhile. Continues the console's unfinished line, without the name, if
 * possible.
 */
static void write_line(struct vconsole *console, const char *line, size_t name, size_t bytes)
{
	if (bytes == name || (console->named && console_write_on(line + name, bytes - name))) {
		return;
	}
	console_write(line, bytes);
	console->named = true;
}

void vconsole_show_line(struct vconsole *console, const char *text, size_t bytes)
{
	char line[VM_NAME_MAX + 3 + VCONSOLE_PIECE_BYTES + 2];
	const size_t name = str_printf(line, sizeof(line), "[%s] ", console->name);
	size_t used = name;

	for (size_t i = 0; i < bytes; i++) {
		const uint8_t byte = (uint8_t)text[i];
		const bool ascii = byte == '\t' || (byte >= ' ' && byte < KEY_DELETE);

		if (is_escape(console, byte)) {
			continue;
		}
		console->returned = console->returned || byte == '\r';
		if (!ascii && byte < UTF8_FIRST) {
			continue; /* a control, or a continuation byte of a character */
		}
		if (console->returned) {
			write_line(console, line, name, used);
			(void)console_write_on("\r", 1);
			console->named = console->returned = false;
			used = name;
		}
		line[used++] = ascii ? (char)byte : '?';
	}
	if (text[bytes - 1] == '\n') {
		line[used++] = '\r';
		line[used++] = '\n';
	}
	write_line(console, line, name, used);
}
