/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550 UART (National Semiconductor PC16550D data sheet: "Registers", "FIFO Polled Mode"). Code
 * uses the registers under console.c's device lock, except serial_init and serial_close. Output
 * enters the queue under the console lock and leaves it under the device lock.
 */
#include "vmm/console/serial.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"

enum {
	REG_DATA = 0,	      /* RBR, THR; DLL when DLAB is set */
	REG_INT_ENABLE = 1,   /* IER; DLM when DLAB is set */
	REG_FIFO_CONTROL = 2, /* when written */
	REG_INT_IDENT = 2,    /* when read */
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
#define IIR_FIFOS 0xc0 /* both bits: FIFOs exist and are enabled */
/* A missing chip reads as all ones; a real one never sets all of these bits. */
#define LSR_GONE  0xff
#define LSR_DATA  BIT(0)
#define LSR_BREAK BIT(4)
#define LSR_THRE  BIT(5)
#define LSR_TEMT  BIT(6)

#define FIFO_BYTES  16
#define QUEUE_BYTES (64u * 1024) /* twice the size of the log */

/* A line has stalled when it takes no byte for this long: 16 bytes at 80 baud. */
#define STALL_US 2000000u
/* Before the TSC's frequency is known; a look takes about a microsecond on real hardware. */
#define STALL_LOOKS 2000000u

static bool present; /* there is a UART */
static bool break_came;
static uint8_t queue[QUEUE_BYTES];
static ATOMIC(size_t) queue_in, queue_out; /* bytes put and taken since the start */
/* Bytes dropped since the queue last had room; under the console lock. */
static size_t lost;
static uint32_t fifo_bytes;
static bool sending; /* the chip may still hold unsent bytes */

static ATOMIC(bool) stalled;
static uint64_t refusals;      /* looks since the chip last took a byte */
static uint64_t refused_since; /* TSC at the first of these looks */

static struct serial_place place;
const struct serial_place serial_com1 = { .divisor = 1, .address = 0x3f8 };

static volatile void *memory_register(uint16_t reg)
{
	return (volatile void *)(uintptr_t)(place.address + (uint64_t)reg * place.stride);
}

/* Registers four bytes apart are read as 32 bits: some buses have no byte accesses. */
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

/* Reading the register clears its break bit (data sheet, "Line Status Register"). */
static uint8_t line_status(void)
{
	const uint8_t status = reg_read(REG_LINE_STATUS);

	if (status == LSR_GONE) {
		return 0;
	}
	break_came = break_came || (status & LSR_BREAK) != 0;
	return status;
}

static size_t queued(void)
{
	return atomic_load_acquire(&queue_in) - atomic_load_acquire(&queue_out);
}

static void enqueue(const char *text, size_t bytes)
{
	size_t at = atomic_load_relaxed(&queue_in);

	for (size_t i = 0; i < bytes; i++) {
		queue[at++ % QUEUE_BYTES] = (uint8_t)text[i];
	}
	atomic_store_release(&queue_in, at);
}

/* Queues all of the text or none: a reader could not see that a part is missing. */
static void serial_write(const char *text, size_t bytes)
{
	char note[96];
	size_t length = 0;

	if (lost != 0) {
		length = str_printf(note, sizeof(note),
				    "\r\numbra: the serial line was too slow: %lu bytes are not "
				    "here\r\n",
				    lost);
	}
	if (queued() + length + bytes > QUEUE_BYTES) {
		lost += bytes;
		return;
	}
	enqueue(note, length);
	lost = 0;
	enqueue(text, bytes);
}

static void note_refusal(void)
{
	const uint64_t now = cpu_rdtsc();

	if (refusals == 0) {
		refused_since = now;
	}
	refusals++;
	if (tsc_hz() != 0 ? now - refused_since > tsc_from_us(STALL_US) : refusals > STALL_LOOKS) {
		atomic_store_relaxed(&stalled, true);
	}
}

bool serial_send(void)
{
	const bool more = queued() != 0;
	size_t at = atomic_load_relaxed(&queue_out);

	if (!present || (!more && !sending)) {
		return false;
	}
	if ((line_status() & (more ? LSR_THRE : LSR_TEMT)) == 0) {
		note_refusal();
		return !atomic_load_relaxed(&stalled);
	}
	refusals = 0;
	atomic_store_relaxed(&stalled, false);
	sending = more;
	for (uint32_t i = 0; i < fifo_bytes && at != atomic_load_acquire(&queue_in); i++) {
		uint8_t *byte = &queue[at++ % QUEUE_BYTES];

		reg_write(REG_DATA, *byte);
		*byte = 0; /* guests' output must not stay in memory */
	}
	atomic_store_release(&queue_out, at);
	return more;
}

static bool serial_flush(bool somebody_waits)
{
	/* `somebody_waits` is not used: sending cannot be made faster */
	return serial_send();
}

static size_t serial_backlog(void)
{
	return atomic_load_relaxed(&stalled) ? 0 : queued();
}

bool serial_sends(void)
{
	return queued() != 0;
}

bool serial_listens(void)
{
	return present;
}

/* A break is reported together with a zero byte at the head of the FIFO. */
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
 * In loop-back mode the modem outputs appear in the modem status: RTS, DTR, OUT1, OUT2 as CTS, DSR,
 * RI, DCD. Nothing leaves the chip. A port without a chip reads as all ones.
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

const struct console_sink serial_sink = {
	.name = "serial",
	.write = serial_write,
	.flush = serial_flush,
	.backlog = serial_backlog,
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
	present = sending = break_came = false;
	lost = 0;
	atomic_store_relaxed(&stalled, false);
	atomic_store_relaxed(&queue_in, 0);
	atomic_store_relaxed(&queue_out, 0);
	refusals = 0;
	place = (struct serial_place){ 0 };
}

const struct serial_place *serial_where(void)
{
	return &place;
}

int serial_init(const struct serial_place *at)
{
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
	fifo_bytes = (reg_read(REG_INT_IDENT) & IIR_FIFOS) == IIR_FIFOS ? FIFO_BYTES : 1;
	present = true;
	return 0;
}
