/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dev/vuart.c, driven as Linux' 8250 driver drives a 16550A. */
#include <limits.h>

#include "tests/unit/test.h"
#include "guest/dev/vuart.h"
#include "guest/memmap.h"
#include "vmm/console/console.h"

enum {
	RBR = 0,
	THR = 0,
	DLL = 0,
	IER = 1,
	DLM = 1,
	IIR = 2,
	FCR = 2,
	LCR = 3,
	MCR = 4,
	LSR = 5,
	MSR = 6,
	SCR = 7,
};

static struct vm vm;
static struct vioapic ioapic;
static struct vuart uart;
static struct vconsole console;
static const struct io_ops *ops;
static bool line;
static unsigned edges;

int iobus_add(struct iobus *bus, enum io_space space, uint64_t base, uint64_t length,
	      const struct io_ops *registered, void *device)
{
	assert_ptr_equal(bus, &vm.iobus);
	assert_int_equal(space, IO_SPACE_PORT);
	assert_int_equal(base, 0x3f8);
	assert_int_equal(length, 8);
	assert_ptr_equal(device, &uart);
	ops = registered;
	return 0;
}

void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
	assert_ptr_equal(to, &ioapic);
	assert_int_equal(pin, 4);
	assert_int_not_equal(high, line); /* reported when it changes, and only then */
	line = high;
	edges += high;
}

static uint64_t in(uint64_t reg, uint32_t size)
{
	struct io_access access = { .offset = reg, .size = size };

	ops->access(&uart, NULL, &access);
	return access.value;
}

static void out(uint64_t reg, uint64_t value, uint32_t size)
{
	struct io_access access = { .offset = reg, .size = size, .write = true, .value = value };

	ops->access(&uart, NULL, &access);
}

#define IN(reg)	      ((uint8_t)in(reg, 1))
#define OUT(reg, val) out(reg, val, 1)

/* The boot processor reads the input, then polls the guest's UART. */
static void poll(void)
{
	assert_int_equal(vconsole_input(), -1);
	vuart_poll(&uart);
}

static int setup(void **state)
{
	fake_setup(state);
	memset(&console, 0, sizeof(console));
	line = false;
	edges = 0;
	vconsole_attach(&console, "alpha");
	return vuart_init(&uart, &vm, &ioapic, &console);
}

static int teardown(void **state)
{
	vconsole_detach(&console);
	return fake_teardown(state);
}

TEST(test_reset_values, setup, teardown)
{
	assert_int_equal(IN(IER), 0);
	assert_int_equal(IN(IIR), 1);
	assert_int_equal(IN(LCR), 0);
	assert_int_equal(IN(MCR), 0);
	assert_int_equal(IN(LSR), 0x60);
	assert_int_equal(IN(MSR), 0xb0);
	assert_int_equal(IN(RBR), 0);
}

/* The probes of Linux' autoconfig(): IER bits, loop-back of the modem lines, FIFO, scratch. */
TEST(test_probe, setup, teardown)
{
	OUT(IER, 0xff);
	assert_int_equal(IN(IER), 0x0f);
	OUT(IER, 0);
	OUT(MCR, 0x1a); /* LOOP, OUT2, RTS */
	assert_int_equal(IN(MSR) & 0xf0, 0x90);
	OUT(MCR, 0xe5); /* DTR, OUT1; bits 7:5 do not exist */
	assert_int_equal(IN(MCR), 0x05);
	OUT(MCR, 0x15);
	assert_int_equal(IN(MSR) & 0xf0, 0x60);
	OUT(MCR, 0);
	OUT(FCR, 0x01);
	assert_int_equal(IN(IIR), 0xc1);
	OUT(FCR, 0x21); /* no 64-byte FIFO of a 16750 */
	assert_int_equal(IN(IIR), 0xc1);
	OUT(FCR, 0);
	assert_int_equal(IN(IIR), 0x01);
	OUT(SCR, 0xa5);
	assert_int_equal(IN(SCR), 0xa5);
}

TEST(test_divisor, setup, teardown)
{
	OUT(LCR, 0x83);
	OUT(DLL, 0x12);
	OUT(DLM, 0x34);
	assert_int_equal(IN(DLL), 0x12);
	assert_int_equal(IN(DLM), 0x34);
	assert_string_equal(fake_console_text(), "");
	OUT(LCR, 0x03);
	assert_int_equal(IN(IER), 0);
	assert_int_equal(IN(RBR), 0);
}

TEST(test_output, setup, teardown)
{
	for (const char *s = "hello\r\nwor"; *s != '\0'; s++) {
		OUT(THR, (uint8_t)*s);
	}
	assert_string_equal(fake_console_text(), ""); /* the guest's exit only writes to memory */
	vconsole_show();
	assert_string_equal(fake_console_text(), "hello\r\nwor");
	for (unsigned i = 0; i < VCONSOLE_PIECE_BYTES + 1; i++) {
		OUT(THR, 'x');
	}
	vconsole_show();
	assert_int_equal(strlen(fake_console_text()), 10 + VCONSOLE_PIECE_BYTES + 1);
}

/* Like the driver: sixteen bytes each time that the transmitter is empty. */
static unsigned send_while_empty(void)
{
	unsigned sent = 0;

	while ((IN(LSR) & 0x60) == 0x60 && sent < 2 * VCONSOLE_RING_BYTES) {
		for (unsigned i = 0; i < VCONSOLE_FIFO_BYTES; i++) {
			OUT(THR, sent++ % 64 == 63 ? '\n' : 'x');
		}
	}
	return sent;
}

/* A console that takes no more bytes only delays the guest, as a slow line does. */
TEST(test_full_transmitter, setup, teardown)
{
	OUT(MCR, 8);
	OUT(FCR, 1);
	OUT(IER, 2);
	fake_console_room = 0;
	assert_int_equal(send_while_empty(), VCONSOLE_RING_BYTES);
	vconsole_show();
	vuart_poll(&uart);
	assert_int_equal(IN(LSR), 0);
	assert_false(line);
	assert_int_equal(IN(IIR), 0xc1);
	OUT(IER, 0);
	OUT(IER, 2); /* enabling it would report an empty transmitter, but this one is full */
	assert_false(line);
	OUT(THR, 'l'); /* a byte from a driver that does not wait is lost */

	/* Loop-back still works: those bytes go to the receiver. */
	OUT(MCR, 0x18);
	assert_int_equal(IN(LSR), 0x60);
	OUT(MCR, 8);
	assert_int_equal(IN(LSR), 0);
	assert_int_equal(IN(IIR), 0xc1);

	fake_console_room = 1;
	vconsole_show();
	assert_false(line); /* until the next poll */
	vuart_poll(&uart);
	assert_true(line);
	assert_int_equal(IN(IIR), 0xc2);
	assert_int_equal(send_while_empty(), 64);
	OUT(IER, 0);
	assert_int_equal(IN(LSR), 0);
	fake_console_room = UINT_MAX;
	while (console.shown.only != console.written.only) {
		vconsole_show();
	}
	assert_int_equal(strlen(fake_console_text()), VCONSOLE_RING_BYTES + 64);
	assert_null(strchr(fake_console_text(), 'l'));
	OUT(IER, 2);
	assert_true(line); /* the access noticed it */
}

/*
 * "Transmitter empty" is raised by each enabling, cleared by the read of IIR, and raised by each
 * byte.
 */
TEST(test_thre, setup, teardown)
{
	OUT(MCR, 0x08);
	OUT(IER, 0x02);
	assert_true(line);
	assert_int_equal(IN(IIR), 0x02);
	assert_false(line);
	assert_int_equal(IN(IIR), 0x01);
	OUT(THR, 'a');
	assert_true(line);
	assert_int_equal(edges, 2);
	OUT(IER, 0);
	assert_false(line);
	OUT(IER, 0x02);
	assert_true(line);
	assert_int_equal(IN(IIR), 0x02);
	OUT(IER, 0x02); /* it was on already */
	assert_false(line);
}

TEST(test_out2_gates, setup, teardown)
{
	OUT(IER, 0x02);
	assert_false(line);
	OUT(MCR, 0x08);
	assert_true(line);
	OUT(MCR, 0x18);
	assert_false(line);
}

TEST(test_input, setup, teardown)
{
	OUT(MCR, 0x08);
	OUT(FCR, 0x81); /* FIFO, trigger 8 */
	OUT(IER, 0x01);
	fake_console_type("abc");
	poll();
	assert_true(line);
	assert_int_equal(IN(IIR), 0xcc); /* less than the trigger: time-out */
	assert_int_equal(IN(LSR), 0x61);
	assert_int_equal(IN(RBR), 'a');
	assert_int_equal(IN(RBR), 'b');
	assert_true(line);
	assert_int_equal(IN(RBR), 'c');
	assert_false(line);
	assert_int_equal(IN(LSR), 0x60);
	fake_console_type("12345678");
	poll();
	assert_int_equal(IN(IIR), 0xc4);
	OUT(FCR, 0x83); /* reset of the receiver */
	assert_int_equal(IN(LSR), 0x60);
	assert_false(line);
}

/* More than FIFO and ring hold: the order is kept, and nothing is lost while the guest reads. */
TEST(test_long_input, setup, teardown)
{
	char text[1000 + 1] = { 0 };

	for (unsigned i = 0; i < 1000; i++) {
		text[i] = (char)('a' + i % 26);
	}
	OUT(FCR, 0x01);
	fake_console_type(text);
	for (unsigned i = 0; i < 1000; i++) {
		if (!(IN(LSR) & 1)) {
			poll();
		}
		assert_int_equal(IN(RBR), text[i]);
	}
	assert_int_equal(IN(LSR), 0x60);
}

/* Input for another device is not taken; input that was taken before is read. */
TEST(test_deaf, setup, teardown)
{
	OUT(FCR, 0x01);
	fake_console_type("ab");
	poll();
	vuart_set_deaf(&uart, true);
	fake_console_type("cd");
	poll();
	assert_int_equal(IN(RBR), 'a');
	assert_int_equal(IN(RBR), 'b');
	assert_int_equal(IN(LSR), 0x60);
	assert_int_equal(vconsole_get(&console), 'c');
	vuart_set_deaf(&uart, false);
	poll();
	assert_int_equal(IN(RBR), 'd');
}

TEST(test_without_fifo, setup, teardown)
{
	OUT(MCR, 0x08);
	OUT(IER, 0x01);
	fake_console_type("xy");
	poll();
	assert_int_equal(IN(IIR), 0x04);
	assert_int_equal(IN(RBR), 'x');
	assert_int_equal(IN(LSR), 0x61); /* the next byte comes at once */
	assert_int_equal(IN(RBR), 'y');
	assert_int_equal(IN(LSR), 0x60);
}

TEST(test_loopback, setup, teardown)
{
	OUT(FCR, 0x01);
	OUT(MCR, 0x10);
	for (unsigned i = 0; i < 17; i++) {
		OUT(THR, 'A' + i);
	}
	assert_string_equal(fake_console_text(), "");
	assert_int_equal(IN(IIR), 0xc1); /* no interrupt was enabled */
	assert_int_equal(IN(LSR), 0x63); /* overrun: 17 into 16 */
	assert_int_equal(IN(LSR), 0x61); /* cleared by the read */
	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(IN(RBR), 'A' + i);
	}
	/* Further input waits outside. */
	fake_console_type("k");
	poll();
	assert_int_equal(IN(LSR), 0x60);
	OUT(MCR, 0);
	poll();
	assert_int_equal(IN(RBR), 'k');
}

TEST(test_overrun_interrupt, setup, teardown)
{
	OUT(IER, 0x04);
	OUT(MCR, 0x10);
	OUT(THR, '1');
	assert_int_equal(IN(IIR), 0x01);
	OUT(THR, '2');
	assert_int_equal(IN(IIR), 0x06);
	assert_int_equal(IN(LSR), 0x63);
	assert_int_equal(IN(IIR), 0x01);
}

TEST(test_modem_deltas, setup, teardown)
{
	OUT(IER, 0x08);
	OUT(MCR, 0x10); /* CTS, DSR, DCD fall */
	assert_int_equal(IN(IIR), 0x00);
	assert_int_equal(IN(MSR), 0x0b);
	assert_int_equal(IN(MSR), 0x00);
	OUT(MCR, 0x14); /* RI rises: no event */
	assert_int_equal(IN(MSR), 0x40);
	OUT(MCR, 0x10); /* RI falls: the trailing edge */
	assert_int_equal(IN(MSR), 0x04);
}

/*
 * A 16-bit write to DLL also sets DLM; reads get both registers; no byte goes beyond the last port.
 */
TEST(test_wide_access, setup, teardown)
{
	OUT(LCR, 0x80);
	out(DLL, 0xbeef, 2);
	assert_int_equal(in(DLL, 2), 0xbeef);
	OUT(LCR, 0);
	out(SCR - 3, 0x11223344, 4);
	assert_int_equal(IN(SCR), 0x11);
	assert_int_equal(IN(MCR), 0x04);
}

/*
 * As Linux uses it for SysRq: the line status shows the break, and the zero byte behind it is
 * dropped.
 */
TEST(test_break, setup, teardown)
{
	OUT(MCR, 8);
	OUT(FCR, 1);
	OUT(IER, 5);
	fake_console_type("a\xff"
			  "h");
	poll();
	assert_true(line);
	assert_int_equal(IN(IIR) & 0xf, 4); /* the break is not the next byte yet */
	assert_int_equal(IN(LSR), 0x61);
	assert_int_equal(IN(RBR), 'a');
	assert_int_equal(IN(IIR) & 0xf, 6);
	assert_int_equal(IN(LSR), 0x71);
	assert_int_equal(IN(LSR), 0x61); /* reported once */
	assert_int_equal(IN(RBR), 0);
	assert_int_equal(IN(LSR), 0x61);
	assert_int_equal(IN(RBR), 'h');
	assert_int_equal(IN(LSR), 0x60);
	assert_false(line);
	/*
	 * A break whose LSR was never read does not stick to a later byte in the same place of the
	 * FIFO.
	 */
	for (unsigned i = 0; i < 40; i++) {
		fake_console_type(i == 0 ? "\xff" : "x");
		poll();
		if (i > 0) {
			assert_int_equal(IN(LSR), 0x61);
		}
		assert_int_equal(IN(RBR), i == 0 ? 0 : 'x');
	}
}
