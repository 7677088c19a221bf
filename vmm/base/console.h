/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where text goes and where keys come from: sinks are the serial port, the screen and, until
 * ExitBootServices, the firmware's text console.
 *
 * No CPU waits for a device while the scheduler runs: a write is a copy into memory, and the boot
 * processor passes on what was written, at its turns and each CONSOLE_LISTEN_US. Another CPU does
 * so when the boot processor has not for HELP_US. Before (console_stop_waiting) and after
 * (console_break_lock), when a hang or the end would lose what is in memory, each write waits until
 * all of it is out, for a bounded time in all.
 */
#ifndef UMBRA_BASE_CONSOLE_H
#define UMBRA_BASE_CONSOLE_H

#include "vmm/base/types.h"

struct console_sink {
	const char *name;
	/* Takes bytes as they are, into memory if it can; under the console lock, in any state. */
	void (*write)(const char *text, size_t bytes);
	/*
	 * May be NULL. Passes on what was written; never waits, and is cheap when there is nothing.
	 * One CPU at a time, not under the console lock; somebody_waits: at once, whatever it
	 * costs. Returns true when something is left that can be passed on soon.
	 */
	bool (*flush)(bool somebody_waits);
	/* May be NULL. Bytes that were written and have not left; 0 when they do not leave. */
	size_t (*backlog)(void);
};

/*
 * At most CONSOLE_SINK_MAX sinks; ERR_NOMEM beyond. Log lines of before are replayed to it. Sinks
 * come and go while the boot processor is alone.
 */
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

/*
 * Guests and the shell write only while this says so, a line or one command's answer at a time:
 * they never fill the memory that the log needs too, and what a person asks for does not wait
 * behind seconds of text. Always true of a line that takes nothing in any more. Any CPU, no lock.
 */
bool console_has_room(void);

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

/*
 * The next byte a person typed, on the serial line or the keyboard, CONSOLE_BREAK, or -1. Boot
 * processor.
 */
int console_getc(void);
#define CONSOLE_BREAK 0x100 /* the line was held low: no byte, but Linux' SysRq waits for it */

/*
 * Takes what has arrived into memory, for console_getc, and keeps the serial line sending. A UART
 * holds 16 bytes, which come or go in 1.39 ms at 115200 baud: at most CONSOLE_LISTEN_US lie between
 * two calls while console_listens says so, half as long, so that the line is never idle for want of
 * them. Never waits. Boot processor, any state.
 */
void console_listen(void);
bool console_listens(void);
#define CONSOLE_LISTEN_US 700u

/*
 * Passes on what sinks still owe (the screen is drawn, the serial port's queue moves on), without
 * waiting. Called when a CPU is idle and at the end of a time slice; see above for who does the
 * work. Returns true when this CPU has more to pass on within CONSOLE_LISTEN_US.
 */
bool console_flush(void);

/* Waits until all text has left, for a bounded time. For panic, reset and power-off. */
void console_drain(void);

/* The scheduler runs: from now on nobody waits for a sink, and console_flush is called often. */
void console_stop_waiting(void);

/*
 * For the end of the machine alone: from now on no lock is taken, so that a CPU that died inside
 * cannot block, and each write waits again.
 */
void console_break_lock(void);

#endif
