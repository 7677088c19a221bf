/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output of text and input of keys. Sinks are the serial port, the screen and, until
 * ExitBootServices, the firmware's text console.
 *
 * No CPU waits for a device while the scheduler runs: a write is a copy into memory. The boot
 * processor passes the text on to the devices, at each of its turns and every CONSOLE_LISTEN_US;
 * another CPU does it when the boot processor has not for HELP_US. Before console_stop_waiting and
 * after console_break_lock a hang or the end of the machine would lose the text in memory. So there
 * each write waits until all text is out; the sum of these waits is bounded.
 */
#ifndef UMBRA_CONSOLE_CONSOLE_H
#define UMBRA_CONSOLE_CONSOLE_H

#include "vmm/base/types.h"

struct console_sink {
	const char *name;
	/*
	 * Takes bytes unchanged, into memory where possible. Called under the console lock, in any
	 * state.
	 */
	void (*write)(const char *text, size_t bytes);
	/*
	 * May be NULL. Passes on what was written. Never waits, and is cheap when there is nothing
	 * to do. Called on one CPU at a time, not under the console lock. somebody_waits: pass it
	 * on at once, whatever that costs. Returns true when it can pass on more soon.
	 */
	bool (*flush)(bool somebody_waits);
	/* May be NULL. How many written bytes have not left yet; 0 when no byte can leave. */
	size_t (*backlog)(void);
};

/*
 * Adds a sink and replays the kept log lines to it. Returns ERR_NOMEM when there are
 * CONSOLE_SINK_MAX sinks. Only while the boot processor is the only CPU that runs; so for
 * console_remove_sink.
 */
#define CONSOLE_SINK_MAX 4
int console_add_sink(const struct console_sink *sink);
void console_remove_sink(const struct console_sink *sink);

/*
 * Uses the serial line at this place as a sink and for input, in place of an earlier one. Registers
 * in memory must be mapped at their own address. Returns ERR_INVAL for an impossible place,
 * ERR_NOTFOUND when no UART answers; then there is no serial line. console_close_serial sends what
 * is queued, then stops using the line. Boot processor.
 */
struct serial_place;
int console_open_serial(const struct serial_place *place);
void console_close_serial(void);

/*
 * Writes bytes to every sink: used for lines of the log and for the guests' consoles. Takes the
 * console lock.
 */
void console_write(const char *text, size_t bytes);
/*
 * Continues a line: as console_write, but at the start of a line (a log line came between) it
 * writes nothing and returns false.
 */
bool console_write_on(const char *text, size_t bytes);

/* Writes bytes that do not move the terminal's cursor: console_at_line_start stays as it was. */
void console_control(const char *text, size_t bytes);

/* True when the last byte written ended a line, or nothing was written yet. */
bool console_at_line_start(void);

/*
 * Guests and the shell write only while this returns true, a line or one command's answer at a
 * time. So they never fill the queue, which the log needs too, and an answer to a user does not
 * wait behind seconds of text. Always true for a line that no longer takes any bytes. Any CPU, no
 * lock.
 */
bool console_has_room(void);

/* Shows all log lines that are still kept again, on every sink. */
void console_replay(void);

/*
 * For the record of a panic. console_kept: the number of log bytes so far. console_kept_since
 * copies the bytes that came after the first `before` ones, at most cap, and returns how many.
 * Takes no lock: no other CPU runs.
 */
size_t console_kept(void);
size_t console_kept_since(size_t before, char *text, size_t cap);

/*
 * Writes one line of the log: starts it at the left margin, ends it with a line break, and keeps it
 * for sinks that are added later. For log.c.
 */
void console_write_line(const char *text, size_t bytes);

/*
 * The next byte that a user typed on the serial line or the keyboard, CONSOLE_BREAK, or -1 for
 * none. It reads memory only: console_listen and console_flush read the devices. Boot processor.
 */
int console_getc(void);
#define CONSOLE_BREAK 0x100 /* a break on the serial line: not a byte, but Linux' SysRq needs it */

/*
 * Reads input into memory for console_getc, and keeps the serial line sending. A UART holds 16
 * bytes, which take 1.39 ms at 115200 baud: call this again within console_listen_us microseconds,
 * unless they are 0. Never waits. Boot processor, in any state.
 */
void console_listen(void);
/*
 * CONSOLE_LISTEN_US while bytes are sent or come in: half of the FIFO's time, so the line never
 * runs out of bytes to send. CONSOLE_QUIET_US on a quiet line: nothing is lost when bytes begin to
 * come. 0: there is no serial line. Boot processor.
 */
uint32_t console_listen_us(void);
#define CONSOLE_LISTEN_US 700u
#define CONSOLE_QUIET_US  1000u

/*
 * Passes on what sinks have not output yet (draws the screen, feeds the UART from its queue)
 * without waiting, and reads input, as console_listen does. Called when a CPU idles, and between
 * time slices. Returns true when this CPU has more to pass on within CONSOLE_LISTEN_US, or when
 * input waits for console_getc.
 */
bool console_flush(void);

/* Waits until all text is out, for a bounded time. For panic, reset and power-off. */
void console_drain(void);

/* The scheduler runs: from now on no write waits for a sink, and console_flush is called often. */
void console_stop_waiting(void);

/*
 * Only for the end of the machine: from now on no console lock is taken, so a CPU that stopped
 * while it held one blocks nobody else. Each write waits until it is out again.
 */
void console_break_lock(void);

#endif
