/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sinks, and the ring of log lines that is replayed to a sink that is added later.
 *
 * The console lock orders what is written. A CPU that holds it takes no other lock and only copies
 * in memory. The devices (the UART's registers, the frame buffer, the keyboard) belong to the CPU
 * that holds the device lock. No CPU waits for the device lock: a CPU that does not get it leaves
 * the work to its holder.
 */
#include "vmm/console/console.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/lock.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/keyboard.h"
#include "vmm/console/serial.h"

#define RING_BYTES (32u * 1024)
#define ROOM_BYTES 2048u /* 180 ms at 115200 baud; refilled at least each 10 ms */
#define HELP_US	   (4 * CONSOLE_LISTEN_US)

/*
 * Bounds the sum of all waits before console_stop_waiting, and of all waits at the end of the
 * machine, where a full queue takes 5.7 s at 115200 baud.
 */
#define BOOT_WAIT_US 30000000u
#define END_WAIT_US  10000000u
/* Bound before the TSC's frequency is known: each turn reads a register. */
#define WAIT_TURNS 30000000u

static struct lock console_lock, device_lock;
static bool lock_broken;
static const struct console_sink *sinks[CONSOLE_SINK_MAX];
static ATOMIC(bool) at_line_start = { true }; /* read without the lock */

static bool writers_wait = true;
static uint64_t waited_ticks, waited_turns, wait_us = BOOT_WAIT_US;
static ATOMIC(uint64_t) passed_on; /* TSC of the last pass_on */

static char ring[RING_BYTES];
/*
 * Bytes that were typed and that console_getc has not returned. The holder of the device lock adds
 * them; the counts are atomic.
 */
#define TYPED_MAX     1024u
#define TYPED_AT_ONCE 64u
static uint16_t typed[TYPED_MAX];
static ATOMIC(uint32_t) typed_in, typed_out; /* bytes added and removed since the start */
static ATOMIC(bool) typing;		     /* the last look found bytes */

/* Bytes written since the start; the ring holds the last RING_BYTES of them. */
static size_t ring_total;

static void take(void)
{
	if (!lock_broken) {
		lock_take(&console_lock, LOCK_CONSOLE);
	}
}

static void drop(void)
{
	if (!lock_broken) {
		lock_drop(&console_lock);
	}
}

static bool take_devices(void)
{
	return lock_broken || lock_try(&device_lock, LOCK_CONSOLE_DEVICE);
}

static void drop_devices(void)
{
	if (!lock_broken) {
		lock_drop(&device_lock);
	}
}

/* Bounded, because a broken UART may always report another byte. */
static void collect(void)
{
	uint32_t at = atomic_load_relaxed(&typed_in);
	const uint32_t end = MIN(atomic_load_acquire(&typed_out) + TYPED_MAX - at, TYPED_AT_ONCE) +
			     at;
	bool any = false;

	while (at != end) {
		int c = serial_getc();

		if (c < 0) {
			c = keyboard_getc();
		}
		if (c < 0) {
			break;
		}
		typed[at++ % TYPED_MAX] = (uint16_t)c;
		any = true;
	}
	atomic_store_relaxed(&typing, any);
	atomic_store_release(&typed_in, at);
}

/* Passes output on to the devices. Also reads input: no byte is lost during a wait for output. */
static bool pass_on(bool somebody_waits)
{
	bool more = false;

	if (!take_devices()) {
		return true;
	}
	collect();
	for (size_t i = 0; i < CONSOLE_SINK_MAX; i++) {
		if (sinks[i] != NULL && sinks[i]->flush != NULL) {
			more |= sinks[i]->flush(somebody_waits);
		}
	}
	atomic_store_relaxed(&passed_on, cpu_rdtsc());
	drop_devices();
	return more;
}

/* The bound is for all waits together, so that a very slow line delays the boot only once. */
static void wait_until_out(void)
{
	const uint64_t before = waited_ticks, began = cpu_rdtsc();

	while (pass_on(true)) {
		waited_ticks = before + (cpu_rdtsc() - began);
		waited_turns++;
		if (tsc_hz() != 0 ? waited_ticks > tsc_from_us(wait_us)
				  : waited_turns > WAIT_TURNS) {
			return;
		}
		cpu_pause();
	}
}

/* Releases the lock that take() took, after something was written. */
static void drop_written(void)
{
	drop();
	if (writers_wait) {
		wait_until_out();
	}
}

void console_stop_waiting(void)
{
	writers_wait = false;
}

void console_break_lock(void)
{
	if (!lock_broken) {
		waited_ticks = waited_turns = 0;
		wait_us = END_WAIT_US;
	}
	lock_broken = writers_wait = true;
}

static size_t backlog(void)
{
	size_t most = 0;

	for (size_t i = 0; i < CONSOLE_SINK_MAX; i++) {
		if (sinks[i] != NULL && sinks[i]->backlog != NULL) {
			most = MAX(most, sinks[i]->backlog());
		}
	}
	return most;
}

bool console_has_room(void)
{
	return backlog() < ROOM_BYTES;
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
	atomic_store_relaxed(&at_line_start, text[bytes - 1] == '\n');
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
	drop_written();
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
	atomic_store_relaxed(&at_line_start, true); /* the ring holds whole lines */
	drop_written();
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
	drop_written();
}

void console_control(const char *text, size_t bytes)
{
	bool was;

	take();
	was = atomic_load_relaxed(&at_line_start);
	write_locked(text, bytes);
	atomic_store_relaxed(&at_line_start, was);
	drop_written();
}

bool console_write_on(const char *text, size_t bytes)
{
	bool on;

	take();
	on = !atomic_load_relaxed(&at_line_start);
	if (on) {
		write_locked(text, bytes);
	}
	drop_written();
	return on;
}

bool console_at_line_start(void)
{
	return atomic_load_relaxed(&at_line_start);
}

void console_write_line(const char *text, size_t bytes)
{
	static const char line_break[] = { '\r', '\n' };

	take();
	if (!atomic_load_relaxed(&at_line_start)) {
		write_locked(line_break, sizeof(line_break));
	}
	ring_append(text, bytes);
	ring_append(line_break, sizeof(line_break));
	write_locked(text, bytes);
	write_locked(line_break, sizeof(line_break));
	drop_written();
}

void console_listen(void)
{
	if (take_devices()) {
		collect();
		(void)serial_send();
		atomic_store_relaxed(&passed_on, cpu_rdtsc());
		drop_devices();
	}
}

uint32_t console_listen_us(void)
{
	if (!serial_listens()) {
		return 0;
	}
	return serial_sends() || atomic_load_relaxed(&typing) ? CONSOLE_LISTEN_US
							      : CONSOLE_QUIET_US;
}

static bool is_typed(void)
{
	return atomic_load_acquire(&typed_in) != atomic_load_relaxed(&typed_out);
}

int console_getc(void)
{
	const uint32_t at = atomic_load_relaxed(&typed_out);
	int c;

	if (!is_typed()) {
		return -1;
	}
	c = typed[at % TYPED_MAX];
	typed[at % TYPED_MAX] = 0; /* passwords do not stay in memory */
	atomic_store_release(&typed_out, at + 1);
	return c;
}

/* The boot processor does the work. If every CPU did, each would read the UART at each turn. */
static bool was_done_lately(void)
{
	const uint64_t since = cpu_rdtsc() - atomic_load_relaxed(&passed_on);

	/* signed, because the CPUs' clocks may differ a little */
	return (int64_t)since < (int64_t)tsc_from_us(HELP_US);
}

bool console_flush(void)
{
	if (percpu_self()->index == 0) {
		return pass_on(writers_wait) || is_typed();
	}
	return (writers_wait || !was_done_lately()) && pass_on(writers_wait);
}

void console_drain(void)
{
	wait_until_out();
}

void console_close_serial(void)
{
	if (serial_listens()) {
		console_drain();
		console_remove_sink(&serial_sink);
	}
	serial_close();
}

int console_open_serial(const struct serial_place *place)
{
	int err;

	console_close_serial();
	err = serial_init(place);
	return err == 0 ? console_add_sink(&serial_sink) : err;
}
