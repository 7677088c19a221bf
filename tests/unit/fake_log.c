/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps what was logged and written to the console, so that tests can check it. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_base.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/console/serial.h"

static char log_text[1 << 16];
static size_t log_length;
static char console_text[1 << 16];
static size_t console_length;
static const char *typed = "";
char fake_console_controls[256];
unsigned fake_console_room = UINT_MAX;

static const char *const level_names[] = { "error", "warning", "info", "debug" };

void log_printf(enum log_level level, const char *fmt, ...)
{
	char line[512];
	va_list args;
	int n;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	n = snprintf(log_text + log_length, sizeof(log_text) - log_length, "%s: %s\n",
		     level_names[level], line);
	if (n > 0 && (size_t)n < sizeof(log_text) - log_length) {
		log_length += (size_t)n;
	} else {
		log_text[log_length] = '\0'; /* when full, keeps whole lines only */
	}
}

void log_set_level(enum log_level level)
{
	/* tests get all levels */
}

enum log_level fake_log_shown;

void log_show(enum log_level level)
{
	fake_log_shown = level;
}

const char *fake_log_text(void)
{
	return log_text;
}

void fake_log_reset(void)
{
	log_length = console_length = 0;
	fake_console_is_line = false;
	fake_console_room = UINT_MAX;
	fake_console_listened = 0;
	fake_console_hook = NULL;
	fake_console_controls[0] = '\0';
	log_text[0] = console_text[0] = '\0';
	typed = "";
	fake_log_shown = LOG_ERROR;
}

int console_add_sink(const struct console_sink *sink)
{
	return 0;
}

void console_remove_sink(const struct console_sink *sink)
{
}

void console_write(const char *text, size_t bytes)
{
	fake_console_room -= fake_console_room != 0 && fake_console_room != UINT_MAX ? 1 : 0;
	if (bytes >= sizeof(console_text) - console_length) {
		bytes = sizeof(console_text) - console_length - 1;
	}
	memcpy(console_text + console_length, text, bytes);
	console_length += bytes;
	console_text[console_length] = '\0';
}

bool console_at_line_start(void)
{
	return console_length == 0 || console_text[console_length - 1] == '\n';
}

void console_control(const char *text, size_t bytes)
{
	strncat(fake_console_controls, text, bytes);
}

bool console_write_on(const char *text, size_t bytes)
{
	if (console_at_line_start()) {
		return false;
	}
	console_write(text, bytes);
	return true;
}

void console_write_line(const char *text, size_t bytes)
{
	console_write(text, bytes);
	console_write("\n", 1);
}

const char *fake_console_text(void)
{
	return console_text;
}

/* Typed input of a test is text; the byte FFH stands for a break. */
int console_getc(void)
{
	int byte = *typed != '\0' ? (unsigned char)*typed++ : -1;

	return byte == 0xff ? CONSOLE_BREAK : byte;
}

bool fake_console_is_line;
unsigned fake_console_listened;

struct serial_place fake_serial_place = { .divisor = 1, .address = 0x3f8 };

const struct serial_place *serial_where(void)
{
	return &fake_serial_place;
}

void (*fake_console_hook)(void);

void console_listen(void)
{
	fake_console_listened++;
	if (fake_console_hook != NULL) {
		fake_console_hook();
	}
}

uint32_t console_listen_us(void)
{
	return fake_console_is_line ? CONSOLE_LISTEN_US : 0;
}

void fake_console_type(const char *text)
{
	typed = text;
}

void console_replay(void)
{
	console_write(log_text, log_length);
}

bool console_has_room(void)
{
	return fake_console_room != 0;
}

void console_stop_waiting(void)
{
}

bool console_flush(void)
{
	return false;
}

void console_drain(void)
{
}

void console_break_lock(void)
{
}
