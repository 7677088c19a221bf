/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where text goes and where keys come from: sinks are the serial port, the screen and, until
 * ExitBootServices, the firmware's text console. A sink is added once and may be removed.
 */
#ifndef UMBRA_BASE_CONSOLE_H
#define UMBRA_BASE_CONSOLE_H

#include "vmm/base/types.h"

struct console_sink {
	const char *name;
	/* Writes bytes as they are; called under the console lock with any CPU state. */
	void (*write)(const char *text, size_t bytes);
	/* May be NULL. Shows what was written and not yet shown; cheap when there is nothing. Never
	 * waits. Returns true when something is left to be passed on soon. */
	bool (*flush)(void);
};

/* At most CONSOLE_SINK_MAX sinks; ERR_NOMEM beyond. Log lines of before are replayed to it. */
#define CONSOLE_SINK_MAX 4
int console_add_sink(const struct console_sink *sink);
void console_remove_sink(const struct console_sink *sink);

/* Writes bytes to every sink: the log's lines and the guests' consoles. Takes the console lock. */
void console_write(const char *text, size_t bytes);
/* The same, but nothing and false at the start of a line: one of the log came between. */
bool console_write_on(const char *text, size_t bytes);

/* Bytes that move nothing on the terminal: whether it is at a line's start stays as it was. */
void console_control(const char *text, size_t bytes);

/* True while the last byte written was a line's end (or none was written yet). */
bool console_at_line_start(void);

/* Shows the lines of the log again that are still kept, on every sink. */
void console_replay(void);

/*
 * For the record of a panic: bytes of the log that were ever kept, and those that came since then,
 * cut at cap; the bytes copied. No lock: no other CPU runs.
 */
size_t console_kept(void);
size_t console_kept_since(size_t before, char *text, size_t cap);

/*
 * One line of the log: starts at the left margin, is kept for sinks that come later, ends with a
 * line break of its own. For log.c.
 */
void console_write_line(const char *text, size_t bytes);

/* The next byte a person typed, on the serial line or the keyboard, CONSOLE_BREAK, or -1. */
int console_getc(void);
#define CONSOLE_BREAK 0x100 /* the line was held low: no byte, but Linux' SysRq waits for it */

/*
 * Takes what has arrived into memory, for console_getc. A UART holds 16 bytes, which come in 1.4 ms
 * at 115200 baud: at most CONSOLE_LISTEN_US lie between two calls while console_listens says so.
 * Never waits. Boot processor, any state.
 */
void console_listen(void);
bool console_listens(void);
#define CONSOLE_LISTEN_US 1000u

/*
 * Passes on what sinks still owe (the screen is drawn, the serial port's queue moves on), without
 * waiting. Called when a CPU is idle and at the end of a time slice. Returns true when there is
 * more that should go out within about a millisecond.
 */
bool console_flush(void);

/* Waits until all text has left, at most four seconds. For panic, reset and power-off. */
void console_drain(void);

/* For panic alone: from now on no lock is taken, so that a CPU that died inside cannot block. */
void console_break_lock(void);

#endif
