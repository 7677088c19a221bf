/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/base/{log,console,serial}.c together: lines, sinks that come late, and a UART that is absent,
 * slow, or dies. One program, in order: each module exists once and keeps its state.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_base.h"
#include "vmm/base/console.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/serial.h"

/* --- A sink of our own --- */

static char seen[1 << 17];
static size_t seen_bytes;
static unsigned flushes;
static bool owes;

static void seen_write(const char *text, size_t bytes)
{
	assert_true(seen_bytes + bytes < sizeof(seen));
	memcpy(seen + seen_bytes, text, bytes);
	seen_bytes += bytes;
	seen[seen_bytes] = '\0';
}

static bool seen_flush(void)
{
	flushes++;
	return owes && flushes < 10;
}

static const struct console_sink seen_sink = { "seen", seen_write, seen_flush };

static void forget(void)
{
	seen_bytes = 0;
	seen[0] = '\0';
	flushes = 0;
	owes = false;
}

static void lines(void **state)
{
	char text[301];

	(void)state;
	forget();
	log_info("before any sink");
	assert_int_equal(console_add_sink(&seen_sink), 0);
	assert_string_equal(seen, "umbra: before any sink\r\n");

	forget();
	log_warn("%u of %s", 7u, "them");
	assert_string_equal(seen, "umbra: warning: 7 of them\r\n");
	assert_int_equal(flushes, 0);
	forget();
	log_error("act");
	assert_string_equal(seen, "umbra: error: act\r\n");
	assert_int_equal(flushes, 1);

	/* A guest stopped in mid-line: the log begins a new one, once. */
	forget();
	console_write("login: ", 7);
	log_info("a");
	log_info("b");
	assert_string_equal(seen, "login: \r\numbra: a\r\numbra: b\r\n");

	/* The rest of a line, which is none any more. */
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

static void sinks(void **state)
{
	static const struct console_sink more[CONSOLE_SINK_MAX] = { { "1", seen_write, NULL },
								    { "2", seen_write, NULL },
								    { "3", seen_write, NULL } };

	(void)state;
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

	/* Drain asks until nobody owes anything. */
	forget();
	owes = true;
	assert_true(console_flush());
	console_drain();
	assert_int_equal(flushes, 10);
}

/* The ring keeps the newest 32 KiB, and guests' output is no part of it. */
static void replay(void **state)
{
	char last[64];

	(void)state;
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

static struct {
	bool there, dead;
	uint8_t lcr, mcr, ier, divisor, divisor_high;
	char line[1 << 17]; /* what left it */
	size_t line_bytes;
	unsigned fifo;	/* bytes in it */
	unsigned ticks; /* status reads until the FIFO is empty */
	unsigned lost;	/* written while the FIFO was not empty */
	const char *input;
	bool break_told;
	bool breaks; /* a zero byte with a flag in the status register, which is told once */
} uart;

static uint32_t uart_in(uint16_t port, unsigned size)
{
	uint8_t outs = uart.mcr & 0xf;
	uint32_t flags;

	assert_int_equal(size, 1);
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
	case 4: return uart.mcr;
	case 5:
		if (uart.ticks > 0 && !uart.dead && --uart.ticks == 0) {
			uart.fifo = 0;
		}
		flags = uart.breaks && !uart.break_told ? 0x11 : uart.breaks ? 1 : 0;
		uart.break_told = uart.breaks;
		return flags | (*uart.input != '\0' ? 1 : 0) | (uart.fifo == 0 ? 0x60 : 0);
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
		uart.lost += uart.fifo == 16 ? 1 : 0;
		uart.fifo++;
		uart.ticks = 5;
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

static void no_uart(void **state)
{
	(void)state;
	fake_in_hook = uart_in;
	fake_out_hook = uart_out;
	uart.input = "";
	assert_int_equal(serial_init(&serial_com1), ERR_NOTFOUND);
	assert_int_equal(console_getc(), -1);
	log_info("nobody listens");
	assert_int_equal(uart.line_bytes, 0);
}

static void uart_works(void **state)
{
	static char text[40000];

	(void)state;
	uart.there = true;
	uart.mcr = 0x08;
	uart.ier = 0x0f;
	assert_int_equal(serial_init(&serial_com1), 0);
	assert_int_equal(uart.divisor, 1);
	assert_int_equal(uart.lcr, 3);
	assert_int_equal(uart.ier, 0);
	assert_int_equal(uart.mcr, 0x0b);

	/* The replay fills the queue beyond its size and so has to wait; nothing gets lost. */
	console_drain();
	assert_int_equal(uart.fifo, 0);
	assert_int_equal(uart.line_bytes, 32768);
	assert_int_equal(uart.lost, 0);

	/* A short write returns at once with bytes in the queue; a flush moves sixteen. */
	uart.line_bytes = 0;
	console_write("0123456789abcdef0123456789abcdefX\n", 34);
	assert_int_equal(uart.line_bytes, 16);
	while (console_flush()) {
	}
	assert_int_equal(uart.line_bytes, 34);
	assert_memory_equal(uart.line, "0123456789abcdef0123456789abcdefX\n", 34);
	assert_int_equal(uart.fifo, 0);

	uart.line_bytes = 0;
	memset(text, 'y', sizeof(text));
	console_write(text, sizeof(text));
	console_drain();
	assert_int_equal(uart.line_bytes, sizeof(text));
	assert_int_equal(uart.lost, 0);

	uart.input = "hi";
	assert_int_equal(console_getc(), 'h');
	assert_int_equal(console_getc(), 'i');
	assert_int_equal(console_getc(), -1);

	/* Taken off the chip long before somebody asks, in order, a break among them. */
	assert_true(console_listens());
	uart.input = "abc";
	console_listen();
	assert_string_equal(uart.input, "");
	uart.breaks = true;
	console_write("x", 1); /* reads the status register, which forgets the break */
	console_listen();
	uart.input = "d";
	assert_int_equal(console_getc(), 'a');
	assert_int_equal(console_getc(), 'b');
	assert_int_equal(console_getc(), 'c');
	assert_int_equal(console_getc(), CONSOLE_BREAK);
	assert_int_equal(console_getc(), 'd');
	assert_int_equal(console_getc(), -1);
}

/* Other places: sense is asked for, then an answer. What is closed neither sends nor receives. */
static void other_places(void **state)
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

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_int_equal(serial_init(&bad[i]), ERR_INVAL);
	}
	assert_int_equal(serial_init(&absent), ERR_NOTFOUND);
	assert_int_equal(serial_init(&memory), ERR_NOTFOUND); /* plain memory is no UART */
	assert_int_equal(registers[4] & 0xff, 0);
	assert_int_equal(serial_where()->address, 0);
	uart.input = "x";
	uart.line_bytes = 0;
	console_write("y", 1);
	assert_int_equal(console_getc(), -1);
	assert_int_equal(uart.line_bytes, 0);
	assert_false(console_listens());

	assert_int_equal(serial_init(&slow), 0);
	assert_int_equal(uart.divisor, 0x80);
	assert_int_equal(uart.divisor_high, 1);
	assert_int_equal(uart.ier, 0);
	assert_int_equal(console_getc(), 'x');
	assert_int_equal(serial_init(&serial_com1), 0); /* in its place: one sink, not two */
	console_drain();
	uart.line_bytes = 0;
	console_write("z", 1);
	console_drain();
	assert_int_equal(uart.line_bytes, 1);
}

/* A UART that never gets ready costs a bounded time once, and nothing from then on. */
static void uart_dies(void **state)
{
	static char text[50000];

	(void)state;
	forget();
	uart.dead = true;
	memset(text, 'z', sizeof(text));
	console_write(text, sizeof(text));
	console_write(text, sizeof(text));
	assert_false(console_flush());
	uart.input = "k"; /* what a person types still comes in */
	assert_int_equal(console_getc(), 'k');
	forget();
	log_info("still seen elsewhere");
	assert_string_equal(seen + 2, "umbra: still seen elsewhere\r\n"); /* after a line break */
}

static void broken_lock(void **state)
{
	(void)state;
	console_break_lock();
	forget();
	console_write("last words\n", 11);
	assert_string_equal(seen, "last words\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),      cmocka_unit_test(sinks),
		cmocka_unit_test(replay),     cmocka_unit_test(no_uart),
		cmocka_unit_test(uart_works), cmocka_unit_test(other_places),
		cmocka_unit_test(uart_dies),  cmocka_unit_test(broken_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
