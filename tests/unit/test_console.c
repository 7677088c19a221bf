/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/console/{log,console,serial}.c together: lines, sinks that are added late, and a UART that is
 * absent, slow, or fails. One program, in order: each module exists once and keeps its state.
 */
#include <stdio.h>

#include "tests/unit/test.h"
#include "vmm/base/err.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/console/serial.h"

/* --- A sink of the test --- */

static char seen[1 << 17];
static size_t seen_bytes;
static unsigned flushes;
static bool owes;
static bool others_log; /* another CPU logs during the flush */

static void seen_write(const char *text, size_t bytes)
{
	assert_true(seen_bytes + bytes < sizeof(seen));
	memcpy(seen + seen_bytes, text, bytes);
	seen_bytes += bytes;
	seen[seen_bytes] = '\0';
}

static bool seen_flush(bool somebody_waits)
{
	flushes++;
	if (others_log) {
		others_log = false;
		log_info("from another CPU");
		assert_true(console_flush()); /* a CPU has the devices: it does the flush */
	}
	return owes && flushes < 10;
}

static const struct console_sink seen_sink = { "seen", seen_write, seen_flush, NULL };

/* There is one thread: who spins waits for the clock alone. */
void fake_pause(void)
{
}

static void forget(void)
{
	seen_bytes = 0;
	seen[0] = '\0';
	flushes = 0;
	owes = false;
}

TEST(lines)
{
	char text[301];

	forget();
	log_info("before any sink");
	assert_int_equal(console_add_sink(&seen_sink), 0);
	assert_string_equal(seen, "umbra: before any sink\r\n");

	forget();
	log_warn("%u of %s", 7u, "them");
	assert_string_equal(seen, "umbra: warning: 7 of them\r\n");
	assert_int_equal(flushes, 1); /* before the scheduler runs each line is passed on at once */
	forget();
	owes = true;
	log_error("act");
	assert_string_equal(seen, "umbra: error: act\r\n");
	assert_int_equal(flushes, 10); /* to its end */

	/* A guest stopped in mid-line: the log begins a new line, once. */
	forget();
	console_write("login: ", 7);
	log_info("a");
	log_info("b");
	assert_string_equal(seen, "login: \r\numbra: a\r\numbra: b\r\n");

	/* The rest of a line: it is not a whole line. */
	forget();
	assert_false(console_write_on("x", 1));
	console_write("login: ", 7);
	assert_true(console_write_on("me", 2));
	log_info("a");
	assert_false(console_write_on("x", 1));
	assert_string_equal(seen, "login: me\r\numbra: a\r\n");

	forget();
	log_debug("hidden");
	log_set_level(LOG_DEBUG);
	log_debug("shown");
	log_set_level(LOG_INFO);
	log_debug("hidden again");
	assert_string_equal(seen, "umbra: debug: shown\r\n");

	forget();
	log_set_level(LOG_WARN);
	log_info("hidden");
	log_show(LOG_INFO);
	log_info("answer");
	log_debug("hidden");
	log_show(LOG_ERROR);
	log_info("hidden again");
	log_warn("serious");
	log_set_level(LOG_INFO);
	assert_string_equal(seen, "umbra: answer\r\numbra: warning: serious\r\n");

	forget();
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	assert_int_equal(strlen(seen), 240 + 2);
	assert_string_equal(seen + 239, "x\r\n");
	console_write("", 0);
	assert_int_equal(strlen(seen), 240 + 2);
}

TEST(sinks)
{
	static const struct console_sink more[CONSOLE_SINK_MAX] = {
		{ "1", seen_write, NULL, NULL },
		{ "2", seen_write, NULL, NULL },
		{ "3", seen_write, NULL, NULL },
	};

	for (int i = 0; i < CONSOLE_SINK_MAX - 1; i++) {
		assert_int_equal(console_add_sink(&more[i]), 0);
	}
	assert_int_equal(console_add_sink(&more[CONSOLE_SINK_MAX - 1]), ERR_NOMEM);
	forget();
	console_write("a\n", 2);
	assert_string_equal(seen, "a\na\na\na\n");
	for (int i = 0; i < CONSOLE_SINK_MAX - 1; i++) {
		console_remove_sink(&more[i]);
	}
	forget();
	console_write("b\n", 2);
	assert_string_equal(seen, "b\n");

	/* Drain calls flush until no sink has anything left. */
	forget();
	owes = true;
	assert_true(console_flush());
	console_drain();
	assert_int_equal(flushes, 10);
}

/* The ring keeps the newest 32 KiB of the log, and no output of guests. */
TEST(replay)
{
	char last[64];

	for (int i = 0; i < 5000; i++) {
		log_info("line %d", i);
		console_write("guest\n", 6);
	}
	console_remove_sink(&seen_sink);
	forget();
	assert_int_equal(console_add_sink(&seen_sink), 0);
	assert_int_equal(seen_bytes, 32768);
	snprintf(last, sizeof(last), "umbra: line 4999\r\n");
	assert_string_equal(seen + seen_bytes - strlen(last), last);
	assert_null(strstr(seen, "guest"));
	assert_non_null(strstr(seen, "line 4000\r\numbra: line 4001\r\n"));
}

/* --- A UART --- */

#define BYTE_US 87 /* at 115200 baud */

static struct {
	bool there, dead;
	unsigned fifo_size;
	uint8_t lcr, mcr, ier, divisor, divisor_high;
	char line[1 << 18]; /* bytes that left it */
	size_t line_bytes;
	unsigned fifo;	   /* bytes in the FIFO */
	uint64_t empty_at; /* TSC */
	unsigned byte_us;
	unsigned lost;	   /* written while the FIFO was full */
	unsigned accesses; /* of registers; each takes a microsecond */
	const char *input;
	bool break_told;
	bool breaks; /* reported once: a zero byte with a flag in the status register */
} uart = { .fifo_size = 16, .byte_us = BYTE_US };

static uint32_t uart_in(uint16_t port, unsigned size)
{
	uint8_t outs = uart.mcr & 0xf;
	uint32_t flags;

	assert_int_equal(size, 1);
	uart.accesses++;
	fake_tsc += 1000;
	if (!uart.there || port < 0x3f8 || port > 0x3ff) {
		return 0xff;
	}
	switch (port - 0x3f8) {
	case 0:
		if (uart.breaks) {
			uart.breaks = false;
			return 0;
		}
		return *uart.input != '\0' ? (uint8_t)*uart.input++ : 0;
	case 2: return uart.fifo_size == 16 ? 0xc1 : 1;
	case 4: return uart.mcr;
	case 5:
		if (!uart.dead && fake_tsc >= uart.empty_at) {
			uart.fifo = 0;
		}
		flags = uart.breaks && !uart.break_told ? 0x11 : uart.breaks ? 1 : 0;
		uart.break_told = uart.breaks;
		return flags | (*uart.input != '\0' ? 1 : 0) |
		       (uart.fifo == 0 && !uart.dead ? 0x60 : 0);
	case 6: /* RTS, DTR, OUT1, OUT2 -> CTS, DSR, RI, DCD */
		if ((uart.mcr & 0x10) == 0) {
			return 0xb0;
		}
		return (uint32_t)((outs & 2) << 3 | (outs & 1) << 5 | (outs & 0xc) << 4);
	default: return 0;
	}
}

static void uart_out(uint16_t port, unsigned size, uint32_t value)
{
	assert_int_equal(size, 1);
	uart.accesses++;
	fake_tsc += 1000;
	if (port < 0x3f8) {
		return;
	}
	switch (port - 0x3f8) {
	case 0:
		if ((uart.lcr & 0x80) != 0) {
			uart.divisor = (uint8_t)value;
			break;
		}
		assert_int_equal(uart.mcr & 0x10, 0);
		uart.lost += uart.fifo == uart.fifo_size ? 1 : 0;
		uart.fifo++;
		uart.empty_at = MAX(uart.empty_at, fake_tsc) + uart.byte_us * 1000ul;
		assert_true(uart.line_bytes < sizeof(uart.line));
		uart.line[uart.line_bytes++] = (char)value;
		break;
	case 1:
		if ((uart.lcr & 0x80) != 0) {
			uart.divisor_high = (uint8_t)value;
		} else {
			uart.ier = (uint8_t)value;
		}
		break;
	case 3: uart.lcr = (uint8_t)value; break;
	case 4: uart.mcr = (uint8_t)value; break;
	default: break;
	}
}

/* What the boot processor does while a vCPU runs. */
static void listen_for(uint64_t us)
{
	const uint64_t end = fake_tsc + us * 1000;

	while (fake_tsc < end) {
		fake_tsc += CONSOLE_LISTEN_US * 1000ul;
		console_listen();
	}
}

static bool line_has(const char *text)
{
	uart.line[uart.line_bytes] = '\0';
	return strstr(uart.line, text) != NULL;
}

TEST(no_uart)
{
	fake_tsc_hz = 1000000000;
	fake_in_hook = uart_in;
	fake_out_hook = uart_out;
	uart.input = "";
	assert_int_equal(console_open_serial(&serial_com1), ERR_NOTFOUND);
	assert_int_equal(console_getc(), -1);
	log_info("nobody listens");
	assert_int_equal(uart.line_bytes, 0);
}

TEST(uart_works)
{
	static char text[40000];

	uart.there = true;
	uart.mcr = 0x08;
	uart.ier = 0x0f;
	assert_int_equal(console_open_serial(&serial_com1), 0);
	assert_int_equal(uart.divisor, 1);
	assert_int_equal(uart.lcr, 3);
	assert_int_equal(uart.ier, 0);
	assert_int_equal(uart.mcr, 0x0b);

	/* When it returns, all of the replay has left. */
	assert_int_equal(uart.fifo, 0);
	assert_int_equal(uart.line_bytes, 32768);
	assert_int_equal(uart.lost, 0);

	/* So has each line: if the machine hangs, the last line is visible. */
	uart.line_bytes = 0;
	console_write("0123456789abcdef0123456789abcdefX\n", 34);
	assert_int_equal(uart.line_bytes, 34);
	assert_memory_equal(uart.line, "0123456789abcdef0123456789abcdefX\n", 34);
	assert_int_equal(uart.fifo, 0);
	assert_false(console_flush());

	uart.line_bytes = 0;
	memset(text, 'y', sizeof(text));
	console_write(text, sizeof(text));
	assert_int_equal(uart.line_bytes, sizeof(text));
	assert_int_equal(uart.lost, 0);

	/* Input that arrives meanwhile is collected. */
	uart.input = "0123456789abcdefghijklmnop";
	console_write("x", 1);
	assert_string_equal(uart.input, "");
	assert_int_equal(console_getc(), '0');
	while (console_getc() >= 0) {
	}

	uart.input = "hi";
	assert_int_equal(console_getc(), -1); /* it does not read the chip: that is slow */
	assert_true(console_flush());
	assert_int_equal(console_getc(), 'h');
	assert_int_equal(console_getc(), 'i');
	assert_int_equal(console_getc(), -1);

	/*
	 * Input is read from the chip long before console_getc is called, in order, with a break.
	 */
	console_listen();
	assert_int_equal(console_listen_us(), CONSOLE_QUIET_US);
	uart.input = "abc";
	console_listen();
	assert_int_equal(console_listen_us(), CONSOLE_LISTEN_US);
	assert_string_equal(uart.input, "");
	uart.breaks = true;
	console_listen();
	uart.input = "d";
	console_listen();
	assert_int_equal(console_getc(), 'a');
	assert_int_equal(console_getc(), 'b');
	assert_int_equal(console_getc(), 'c');
	assert_int_equal(console_getc(), CONSOLE_BREAK);
	assert_int_equal(console_getc(), 'd');
	assert_int_equal(console_getc(), -1);
}

/*
 * Other places: first the loop-back test, then an answer. A closed line neither sends nor receives.
 */
TEST(other_places)
{
	static uint32_t registers[8];
	const struct serial_place bad[] = {
		{ .address = 0 },
		{ .address = 0xfffa },
		{ .memory = true, .stride = 2, .address = 0x1000 },
		{ .memory = true, .stride = 4, .address = 0x1002 },
	};
	const struct serial_place absent = { .address = 0x2f8, .divisor = 1 };
	const struct serial_place memory = { .memory = true,
					     .stride = 4,
					     .address = (uintptr_t)registers };
	const struct serial_place slow = { .address = 0x3f8, .divisor = 0x180 };

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_int_equal(console_open_serial(&bad[i]), ERR_INVAL);
	}
	assert_int_equal(console_open_serial(&absent), ERR_NOTFOUND);
	assert_int_equal(console_open_serial(&memory), ERR_NOTFOUND); /* plain memory */
	assert_int_equal(registers[4] & 0xff, 0);
	assert_int_equal(serial_where()->address, 0);
	uart.input = "x";
	uart.line_bytes = 0;
	console_write("y", 1);
	assert_int_equal(console_getc(), -1);
	assert_int_equal(uart.line_bytes, 0);
	assert_int_equal(console_listen_us(), 0);
	assert_true(console_has_room());

	assert_int_equal(console_open_serial(&slow), 0);
	assert_int_equal(uart.divisor, 0x80);
	assert_int_equal(uart.divisor_high, 1);
	assert_int_equal(uart.ier, 0);
	console_listen();
	assert_int_equal(console_getc(), 'x');

	/* A chip without FIFOs gets a byte at a time. */
	uart.fifo_size = 1;
	/* It replaces the first: one sink, not two. */
	assert_int_equal(console_open_serial(&serial_com1), 0);
	uart.line_bytes = 0;
	console_write("zz", 2);
	assert_int_equal(uart.line_bytes, 2);
	assert_int_equal(uart.lost, 0);
	uart.fifo_size = 16;
	assert_int_equal(console_open_serial(&serial_com1), 0);
}

/*
 * While all writers wait: a line that takes nothing costs two seconds once, a very slow line half a
 * minute in all. Output continues when the line does.
 */
TEST(uart_stalls_early)
{
	uint64_t before = fake_tsc;

	uart.dead = true;
	uart.line_bytes = 0;
	for (unsigned i = 0; i < 100; i++) {
		log_info("line %u while it stalls", i);
	}
	assert_in_range(fake_tsc - before, 1900000000ul, 2200000000ul);
	uart.input = "k"; /* typed input still arrives */
	console_listen();
	assert_int_equal(console_getc(), 'k');
	uart.dead = false;
	log_info("and goes on");
	assert_true(line_has("umbra: line 0 while it stalls\r\n"));
	assert_true(line_has("umbra: line 99 while it stalls\r\numbra: and goes on\r\n"));

	before = fake_tsc;
	uart.byte_us = 100000;
	for (unsigned i = 0; i < 100; i++) {
		log_info("line %u while it crawls", i);
	}
	assert_in_range(fake_tsc - before, 10000000000ul, 30100000000ul);
	uart.byte_us = BYTE_US;
	while (console_flush()) {
	}
	assert_true(line_has("umbra: line 99 while it crawls\r\n"));
}

/* The scheduler runs from here on: a write is only a copy, whatever the line does. */
TEST(writes_do_not_wait)
{
	static char text[1000];
	unsigned accesses;

	forget();
	console_stop_waiting();
	uart.line_bytes = uart.lost = 0;
	memset(text, 'w', sizeof(text));
	accesses = uart.accesses;
	assert_true(console_has_room());
	for (unsigned i = 0; console_has_room(); i++) {
		assert_true(i < 4);
		console_write(text, sizeof(text));
	}
	for (unsigned i = 0; i < 62; i++) {
		console_write(text, sizeof(text));
	}
	console_write(text, sizeof(text) / 2); /* 65,500 of 65,536 */
	assert_int_equal(uart.accesses, accesses);

	/* Text that is too long is dropped as a whole, and that is reported. The log keeps it. */
	console_write(text, sizeof(text));
	log_info("this finds no room");
	log_info("nor does this");

	/* The line never runs out of bytes to send: 11,494 a second. */
	listen_for(1000000);
	assert_in_range(uart.line_bytes, 11000, 11500);
	assert_int_equal(uart.lost, 0);
	assert_false(console_has_room());
	log_info("this does again");
	listen_for(6000000);
	assert_true(console_has_room());
	assert_false(line_has("this finds no room"));
	assert_true(line_has("w\r\numbra: the serial line was too slow: 1051 bytes are not here"
			     "\r\numbra: this does again\r\n"));
	forget();
	console_replay();
	assert_non_null(strstr(seen, "umbra: nor does this\r\numbra: this does again\r\n"));
	listen_for(6000000);
}

/* Another CPU leaves the line to the first CPU, unless that has not flushed it for long. */
TEST(others_help)
{
	unsigned accesses;

	uart.line_bytes = 0;
	console_listen();
	log_info("0123456789abcdef0123456789abcdef");
	fake_set_cpu_count(2);
	fake_set_cpu(1);
	accesses = uart.accesses;
	assert_false(console_flush()); /* that is not this CPU's work */
	assert_int_equal(uart.accesses, accesses);
	for (unsigned i = 0; i < 20; i++) {
		fake_tsc += 2 * CONSOLE_LISTEN_US * 1000ul;
		(void)console_flush();
	}
	assert_true(line_has("0123456789abcdef0123456789abcdef\r\n"));
	fake_set_cpu(0);

	/* Devices are used without any lock that a writer needs. */
	forget();
	others_log = true;
	(void)console_flush();
	assert_string_equal(seen, "umbra: from another CPU\r\n");
	listen_for(100000);
}

/* A line that stops taking bytes delays nobody, and typed input still arrives. */
TEST(uart_stalls)
{
	static char text[1000];

	forget();
	uart.line_bytes = 0;
	memset(text, 'z', sizeof(text));
	uart.dead = true;
	while (console_has_room()) {
		console_write(text, sizeof(text));
	}
	listen_for(1500000);
	assert_false(console_has_room());
	listen_for(600000);
	assert_true(console_has_room());
	for (unsigned i = 0; i < 100; i++) {
		console_write(text, sizeof(text));
	}
	assert_true(console_has_room());
	assert_false(console_flush());
	uart.input = "k";
	console_listen();
	assert_int_equal(console_getc(), 'k');

	uart.dead = false;
	listen_for(2000);
	assert_false(console_has_room());
	listen_for(7000000);
	log_info("here again");
	listen_for(100000);
	assert_true(line_has("bytes are not here\r\n\r\numbra: here again\r\n"));

	/* A chip that was removed reads as ones: no input comes from it. */
	uart.there = false;
	console_listen();
	assert_int_equal(console_getc(), -1);
	console_write(text, sizeof(text));
	listen_for(2200000);
	assert_true(console_has_room());
	uart.there = true;
	listen_for(200000);
}

/* Do the bytes appear in a variable of the program? */
static __attribute__((no_sanitize_address)) bool is_kept(const void *bytes, size_t count)
{
	extern volatile uint8_t __data_start[], _end[];
	const uint8_t *wanted = bytes;

	for (volatile uint8_t *at = __data_start; at + count <= _end; at++) {
		size_t same = 0;

		while (same < count && at[same] == wanted[same]) {
			same++;
		}
		if (same == count) {
			return true;
		}
	}
	return false;
}

/* Typed passwords and guests' output do not stay in Umbra's variables. */
TEST(nothing_stays)
{
	const char text[] = "0123456789abcdef-secret";
	const uint16_t typed[] = { 's', 'e', 'c', 'r' };

	uart.there = true;
	assert_int_equal(console_open_serial(&serial_com1), 0);
	uart.input = "secr";
	console_listen();
	assert_true(is_kept(typed, sizeof(typed)));
	for (size_t i = 0; i < ARRAY_COUNT(typed); i++) {
		assert_int_equal(console_getc(), typed[i]);
	}
	assert_false(is_kept(typed, sizeof(typed)));
	listen_for(7000000); /* the queue empties in at most this time */
	console_write(text, strlen(text));
	assert_true(is_kept("-secret", 7));
	listen_for(200000);
	memset(uart.line, 0, sizeof(uart.line));
	memset(seen, 0, sizeof(seen));
	assert_false(is_kept("-secret", 7));
}

/* At the end of the machine every write waits again, for ten seconds in all. */
TEST(broken_lock)
{
	uint64_t before;

	uart.line_bytes = 0;
	log_info("what was queued");
	assert_int_equal(uart.line_bytes, 0);
	console_break_lock();
	forget();
	console_write("last words\n", 11);
	assert_string_equal(seen, "last words\n");
	assert_true(line_has("umbra: what was queued\r\nlast words\n"));
	assert_int_equal(uart.fifo, 0);
	before = fake_tsc;
	uart.byte_us = 100000;
	for (unsigned i = 0; i < 100; i++) {
		log_info("line %u", i);
		console_break_lock(); /* a second call does not extend the time */
	}
	assert_in_range(fake_tsc - before, 5000000000ul, 10100000000ul);
}
