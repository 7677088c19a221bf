/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sinks, and the ring of log lines that is replayed to a sink that comes later. One lock guards
 * both; it is a leaf: nothing is called under it but the sinks.
 */
#include "vmm/base/console.h"

#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/lock.h"
#include "vmm/base/keyboard.h"
#include "vmm/base/serial.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"

#define RING_BYTES  (32u * 1024)
#define DRAIN_US    4000000u  /* a full queue of the serial port needs 2.9 s */
#define DRAIN_TURNS 40000000u /* while the clock is not known yet */

static struct lock console_lock;
static bool lock_broken;
static const struct console_sink *sinks[CONSOLE_SINK_MAX];
static bool at_line_start = true;

static char ring[RING_BYTES];
/* What was typed and nobody has asked for yet. */
#define TYPED_MAX     1024u
#define TYPED_AT_ONCE 64u
static uint16_t typed[TYPED_MAX];
static uint32_t typed_in, typed_out; /* bytes ever put and taken */

static size_t ring_total; /* bytes ever written; the last RING_BYTES of them are there */

static void take(void)
{
	if (!lock_broken) {
		lock_take(&console_lock);
	}
}

static void drop(void)
{
	if (!lock_broken) {
		lock_drop(&console_lock);
	}
}

void console_break_lock(void)
{
	lock_broken = true;
}

static void write_locked(const char *text, size_t bytes)
{
	if (bytes == 0) {
		return;
	}
	for (size_t i = 0; i < CONSOLE_SINK_MAX; i++) {
		if (sinks[i] != NULL) {
			sinks[i]->write(text, bytes);
		}
	}
	at_line_start = text[bytes - 1] == '\n';
}

static void ring_append(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		ring[ring_total++ % RING_BYTES] = text[i];
	}
}

static void ring_replay(const struct console_sink *sink)
{
	size_t first = ring_total > RING_BYTES ? ring_total - RING_BYTES : 0;
	size_t at = first % RING_BYTES;
	size_t left = ring_total - first;

	if (left > RING_BYTES - at) {
		sink->write(ring + at, RING_BYTES - at);
		left -= RING_BYTES - at;
		at = 0;
	}
	if (left != 0) {
		sink->write(ring + at, left);
	}
}

size_t console_kept(void)
{
	return ring_total;
}

size_t console_kept_since(size_t before, char *text, size_t cap)
{
	const size_t count = MIN(MIN(ring_total - before, cap), RING_BYTES);

	for (size_t i = 0; i < count; i++) {
		text[i] = ring[(before + i) % RING_BYTES];
	}
	return count;
}

int console_add_sink(const struct console_sink *sink)
{
	int err = ERR_NOMEM;

	take();
	for (size_t i = 0; i < CONSOLE_SINK_MAX; i++) {
		if (sinks[i] == NULL) {
			ring_replay(sink);
			sinks[i] = sink;
			err = 0;
			break;
		}
	}
	drop();
	return err;
}

void console_replay(void)
{
	take();
	for (size_t i = 0; i < CONSOLE_SINK_MAX; i++) {
		if (sinks[i] != NULL) {
			ring_replay(sinks[i]);
		}
	}
	at_line_start = true; /* the ring holds whole lines */
	drop();
}

void console_remove_sink(const struct console_sink *sink)
{
	take();
	for (size_t i = 0; i < CONSOLE_SINK_MAX; i++) {
		if (sinks[i] == sink) {
			sinks[i] = NULL;
		}
	}
	drop();
}

void console_write(const char *text, size_t bytes)
{
	take();
	write_locked(text, bytes);
	drop();
}

void console_control(const char *text, size_t bytes)
{
	bool was;

	take();
	was = at_line_start;
	write_locked(text, bytes);
	at_line_start = was;
	drop();
}

bool console_write_on(const char *text, size_t bytes)
{
	bool on;

	take();
	on = !at_line_start;
	if (on) {
		write_locked(text, bytes);
	}
	drop();
	return on;
}

bool console_at_line_start(void)
{
	return at_line_start;
}

void console_write_line(const char *text, size_t bytes)
{
	static const char line_break[] = { '\r', '\n' };

	take();
	if (!at_line_start) {
		write_locked(line_break, sizeof(line_break));
	}
	ring_append(text, bytes);
	ring_append(line_break, sizeof(line_break));
	write_locked(text, bytes);
	write_locked(line_break, sizeof(line_break));
	drop();
}

/* Bounded, for a broken UART may say for ever that there is one more. */
static void collect(void)
{
	int c = 0;

	for (uint32_t i = 0; i < TYPED_AT_ONCE && c >= 0 && typed_in - typed_out < TYPED_MAX; i++) {
		c = serial_getc();
		if (c < 0) {
			c = keyboard_getc();
		}
		if (c >= 0) {
			typed[typed_in++ % TYPED_MAX] = (uint16_t)c;
		}
	}
}

void console_listen(void)
{
	take();
	collect();
	drop();
}

bool console_listens(void)
{
	return serial_listens();
}

int console_getc(void)
{
	int c = -1;

	take();
	if (typed_in == typed_out) {
		collect();
	}
	if (typed_in != typed_out) {
		c = typed[typed_out++ % TYPED_MAX];
	}
	drop();
	return c;
}

bool console_flush(void)
{
	bool more = false;

	take();
	for (size_t i = 0; i < CONSOLE_SINK_MAX; i++) {
		if (sinks[i] != NULL && sinks[i]->flush != NULL) {
			more |= sinks[i]->flush();
		}
	}
	drop();
	return more;
}

void console_drain(void)
{
	const uint64_t began = cpu_rdtsc();

	for (uint32_t turn = 0; turn < DRAIN_TURNS && console_flush(); turn++) {
		if (tsc_hz() != 0 && cpu_rdtsc() - began > tsc_from_us(DRAIN_US)) {
			break;
		}
		cpu_pause();
	}
}
