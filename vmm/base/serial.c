/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550 UART (National Semiconductor PC16550D data sheet: "Registers", "FIFO Polled Mode"). All
 * functions but serial_init, serial_close and serial_where run under the console lock.
 */
#include "vmm/base/serial.h"

#include "vmm/base/console.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"

enum {
	REG_DATA = 0,	    /* RBR, THR; DLL with DLAB */
	REG_INT_ENABLE = 1, /* DLM with DLAB */
	REG_FIFO_CONTROL = 2,
	REG_LINE_CONTROL = 3,
	REG_MODEM_CONTROL = 4,
	REG_LINE_STATUS = 5,
	REG_MODEM_STATUS = 6,
	REG_COUNT = 8,
};

#define LCR_8N1	  0x03
#define LCR_DLAB  0x80
#define FCR_ON	  0x07 /* enable both FIFOs and empty them */
#define MCR_ON	  0x0b /* DTR, RTS, OUT2 */
#define MCR_LOOP  0x10 /* loop-back, all outputs off */
#define MCR_OUTS  0x0e /* RTS, OUT1, OUT2 */
#define LSR_DATA  BIT(0)
#define LSR_BREAK BIT(4)
#define LSR_THRE  BIT(5)
#define LSR_TEMT  BIT(6)

#define FIFO_BYTES  16
#define QUEUE_BYTES (32u * 1024)
/* A full queue waits for the line this many status reads (each about a microsecond on metal). */
#define WAIT_TURNS 2000000u

static bool present; /* a line to receive from */
static bool sends;   /* and to send to: not once it has stopped sending */
static bool break_came;
static uint8_t queue[QUEUE_BYTES];
static size_t queue_in, queue_out; /* bytes ever put and taken */
static bool sending;		   /* the chip may hold bytes that are not on the line yet */

static struct serial_place place;
const struct serial_place serial_com1 = { .divisor = 1, .address = 0x3f8 };

static volatile void *memory_register(uint16_t reg)
{
	return (volatile void *)(uintptr_t)(place.address + (uint64_t)reg * place.stride);
}

/* Registers that lie four bytes apart are read as a whole: some buses know no bytes. */
static uint8_t reg_read(uint16_t reg)
{
	if (!place.memory) {
		return cpu_in8((uint16_t)(place.address + reg));
	}
	return place.stride == 4 ? (uint8_t) * (volatile uint32_t *)memory_register(reg)
				 : *(volatile uint8_t *)memory_register(reg);
}

static void reg_write(uint16_t reg, uint8_t value)
{
	if (!place.memory) {
		cpu_out8((uint16_t)(place.address + reg), value);
	} else if (place.stride == 4) {
		*(volatile uint32_t *)memory_register(reg) = value;
	} else {
		*(volatile uint8_t *)memory_register(reg) = value;
	}
}

/* Reading the register forgets a break in it (data sheet, "Line Status Register"). */
static uint8_t line_status(void)
{
	const uint8_t status = reg_read(REG_LINE_STATUS);

	break_came = break_came || (status & LSR_BREAK) != 0;
	return status;
}

/* Fills the transmit FIFO when it is empty. */
static void pump(void)
{
	if (queue_in == queue_out || (line_status() & LSR_THRE) == 0) {
		return;
	}
	for (int i = 0; i < FIFO_BYTES && queue_out != queue_in; i++) {
		reg_write(REG_DATA, queue[queue_out++ % QUEUE_BYTES]);
	}
}

/* Makes room for one byte; sends nothing from now on when the port stopped sending. */
static bool wait_for_room(void)
{
	for (uint32_t turn = 0; turn < WAIT_TURNS; turn++) {
		if (queue_in - queue_out < QUEUE_BYTES) {
			return true;
		}
		pump();
	}
	sends = false;
	return false;
}

static void serial_write(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes && sends; i++) {
		if (wait_for_room()) {
			queue[queue_in++ % QUEUE_BYTES] = (uint8_t)text[i];
		}
	}
	sending = sends;
	if (sends) {
		pump();
	}
}

static bool serial_flush(void)
{
	if (!sends || !sending) {
		return false;
	}
	pump();
	sending = queue_in != queue_out || (line_status() & LSR_TEMT) == 0;
	return sending;
}

bool serial_listens(void)
{
	return present;
}

/* The break is told with the zero byte that stands for it at the head of the FIFO. */
int serial_getc(void)
{
	uint8_t byte;

	if (!present || (line_status() & LSR_DATA) == 0) {
		return -1;
	}
	byte = reg_read(REG_DATA);
	if (break_came && byte == 0) {
		break_came = false;
		return CONSOLE_BREAK;
	}
	return byte;
}

/*
 * In loop-back mode the modem outputs come back as the modem status: RTS, DTR, OUT1, OUT2 as CTS,
 * DSR, RI, DCD. Nothing leaves the chip, and a port that does not exist reads all ones.
 */
static bool loopback_answers(void)
{
	uint8_t saved = reg_read(REG_MODEM_CONTROL);
	uint8_t with, without;

	reg_write(REG_MODEM_CONTROL, MCR_LOOP | MCR_OUTS);
	with = reg_read(REG_MODEM_STATUS) & 0xf0;
	reg_write(REG_MODEM_CONTROL, MCR_LOOP);
	without = reg_read(REG_MODEM_STATUS) & 0xf0;
	reg_write(REG_MODEM_CONTROL, saved);
	return with == 0xd0 && without == 0;
}

static const struct console_sink serial_sink = {
	.name = "serial",
	.write = serial_write,
	.flush = serial_flush,
};

static bool is_sane(const struct serial_place *at)
{
	if (at->memory) {
		return at->address != 0 && (at->stride == 1 || at->stride == 4) &&
		       at->address % at->stride == 0 && at->address < UINT64_MAX - PAGE_SIZE;
	}
	return at->address != 0 && at->address <= UINT16_MAX - REG_COUNT;
}

void serial_close(void)
{
	if (present) {
		console_drain();
		console_remove_sink(&serial_sink);
	}
	present = sends = sending = break_came = false;
	queue_in = queue_out = 0;
	place = (struct serial_place){ 0 };
}

const struct serial_place *serial_where(void)
{
	return &place;
}

int serial_init(const struct serial_place *at)
{
	serial_close();
	if (!is_sane(at)) {
		return ERR_INVAL;
	}
	place = *at;
	if (!loopback_answers()) {
		place = (struct serial_place){ 0 };
		return ERR_NOTFOUND;
	}
	reg_write(REG_INT_ENABLE, 0);
	if (place.divisor != 0) {
		reg_write(REG_LINE_CONTROL, LCR_DLAB | LCR_8N1);
		reg_write(REG_DATA, (uint8_t)place.divisor);
		reg_write(REG_INT_ENABLE, (uint8_t)(place.divisor >> 8));
	}
	reg_write(REG_LINE_CONTROL, LCR_8N1);
	reg_write(REG_FIFO_CONTROL, FCR_ON);
	reg_write(REG_MODEM_CONTROL, MCR_ON);
	present = sends = true;
	return console_add_sink(&serial_sink);
}
