/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual 16550A. Registers and bits have the names of the data sheet. Every access and
 * vuart_poll take its lock; the locks of the console's ring and of the I/O APIC are taken under it.
 * No code waits under it: if the console accepts no more bytes, the guest finds its transmitter
 * full.
 */
#include "guest/dev/vuart.h"

#include "guest/memmap.h"
#include "guest/platform_state.h"
#include "vmm/console/console.h"

enum vuart_register {
	REG_RBR_THR, /* divisor low while LCR.DLAB is set */
	REG_IER,     /* divisor high while LCR.DLAB is set */
	REG_IIR_FCR,
	REG_LCR,
	REG_MCR,
	REG_LSR,
	REG_MSR,
	REG_SCR,
};

#define IER_ERBFI BIT(0) /* received data */
#define IER_ETBEI BIT(1) /* transmitter empty */
#define IER_ELSI  BIT(2) /* line status */
#define IER_EDSSI BIT(3) /* modem status */
#define IER_MASK  0x0f

#define IIR_NONE      0x01
#define IIR_MODEM     0x00
#define IIR_THR_EMPTY 0x02
#define IIR_DATA      0x04
#define IIR_LINE      0x06
#define IIR_TIMEOUT   0x0c
#define IIR_FIFO_ON   0xc0

#define FCR_ENABLE   BIT(0)
#define FCR_RESET_RX BIT(1)

#define LCR_DLAB BIT(7)

#define MCR_DTR	 BIT(0)
#define MCR_RTS	 BIT(1)
#define MCR_OUT1 BIT(2)
#define MCR_OUT2 BIT(3) /* on a PC it gates the interrupt */
#define MCR_LOOP BIT(4)
#define MCR_MASK 0x1f

#define LSR_DR	 BIT(0)
#define LSR_OE	 BIT(1)
#define LSR_BI	 BIT(4)
#define LSR_THRE BIT(5)
#define LSR_TEMT BIT(6)

#define MSR_TERI BIT(2) /* its delta shows only the trailing edge */
#define MSR_CTS	 BIT(4)
#define MSR_DSR	 BIT(5)
#define MSR_RI	 BIT(6)
#define MSR_DCD	 BIT(7)

/* FCR bits 7:6: how many bytes the receiver collects before it reports "data available". */
static const uint8_t trigger_levels[] = { 1, 4, 8, 14 };

/* LSR shows a break while the byte that stands for it is the next to be read. */
static bool break_is_next(const struct vuart *uart)
{
	return uart->rx_count > 0 && (uart->rx_breaks & BIT(uart->rx_first)) != 0;
}

/* Returns the interrupt with the highest priority. */
static uint8_t interrupt_id(const struct vuart *uart)
{
	if ((uart->ier & IER_ELSI) && (uart->overrun || break_is_next(uart))) {
		return IIR_LINE;
	}
	if ((uart->ier & IER_ERBFI) && uart->rx_count > 0) {
		/* No more bytes are on their way, so fewer than the trigger count as timed out. */
		return uart->rx_count >= uart->rx_trigger ? IIR_DATA : IIR_TIMEOUT;
	}
	if ((uart->ier & IER_ETBEI) && uart->thr_empty_pending) {
		return IIR_THR_EMPTY;
	}
	if ((uart->ier & IER_EDSSI) && uart->modem_deltas != 0) {
		return IIR_MODEM;
	}
	return IIR_NONE;
}

static void update_line(struct vuart *uart)
{
	bool line = (uart->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 &&
		    interrupt_id(uart) != IIR_NONE;

	if (line != uart->line) {
		uart->line = line;
		vioapic_set_line(uart->ioapic, IRQ_COM1, line);
	}
}

/* Stores a byte in the FIFO. A CONSOLE_BREAK is stored as a zero byte, as in the chip. */
static void receive(struct vuart *uart, int byte)
{
	uint32_t room = uart->fifo_on ? VUART_FIFO_BYTES : 1;
	uint32_t at = (uart->rx_first + uart->rx_count) % VUART_FIFO_BYTES;

	if (uart->rx_count == room) {
		uart->overrun = true;
		return;
	}
	uart->rx_count++;
	uart->rx[at] = byte == CONSOLE_BREAK ? 0 : (uint8_t)byte;
	uart->rx_breaks &= ~(uint32_t)BIT(at);
	uart->rx_breaks |= byte == CONSOLE_BREAK ? (uint32_t)BIT(at) : 0;
}

/* Takes input from the console's ring, where it waits so that a slow guest loses no byte. */
static void refill(struct vuart *uart)
{
	uint32_t room = uart->fifo_on ? VUART_FIFO_BYTES : 1;

	while (!uart->deaf && !(uart->mcr & MCR_LOOP) && uart->rx_count < room) {
		int byte = vconsole_get(uart->console);

		if (byte < 0) {
			break;
		}
		receive(uart, byte);
	}
}

/* Whether the transmitter is empty. In loop-back mode a byte is in the receiver at once. */
static bool is_empty(const struct vuart *uart)
{
	return (uart->mcr & MCR_LOOP) != 0 || vconsole_ready(uart->console);
}

/*
 * Checks whether the transmitter is full. A full one becomes empty by itself, as the machine's
 * console takes bytes. An empty one becomes full when the guest writes THR, or when the VM writes
 * to its other console; a read of LSR checks for that.
 */
static void look_at_transmitter(struct vuart *uart)
{
	const bool full = !is_empty(uart);

	uart->thr_empty_pending = !full && (uart->thr_full || uart->thr_empty_pending);
	uart->thr_full = full;
}

static uint8_t read_rbr(struct vuart *uart)
{
	uint8_t byte;

	if (uart->rx_count == 0) {
		return 0;
	}
	byte = uart->rx[uart->rx_first];
	uart->rx_first = (uart->rx_first + 1) % VUART_FIFO_BYTES;
	uart->rx_count--;
	if (uart->rx_count == 0) {
		refill(uart);
	}
	return byte;
}

static uint8_t read_iir(struct vuart *uart)
{
	uint8_t id = interrupt_id(uart);

	if (id == IIR_THR_EMPTY) {
		uart->thr_empty_pending = false;
	}
	return uart->fifo_on ? id | IIR_FIFO_ON : id;
}

static uint8_t read_lsr(struct vuart *uart)
{
	uint8_t lsr;

	look_at_transmitter(uart);
	lsr = uart->thr_full ? 0 : LSR_THRE | LSR_TEMT;
	if (uart->rx_count > 0) {
		lsr |= LSR_DR;
	}
	if (uart->overrun) {
		lsr |= LSR_OE;
		uart->overrun = false;
	}
	if (break_is_next(uart)) {
		lsr |= LSR_BI;
		uart->rx_breaks &= ~(uint32_t)BIT(uart->rx_first);
	}
	return lsr;
}

/*
 * The modem inputs: those of a terminal that is always ready, or in loop-back mode our own outputs.
 */
static uint8_t modem_inputs(uint8_t mcr)
{
	uint8_t msr = 0;

	if (!(mcr & MCR_LOOP)) {
		return MSR_CTS | MSR_DSR | MSR_DCD;
	}
	msr |= (mcr & MCR_RTS) ? MSR_CTS : 0;
	msr |= (mcr & MCR_DTR) ? MSR_DSR : 0;
	msr |= (mcr & MCR_OUT1) ? MSR_RI : 0;
	msr |= (mcr & MCR_OUT2) ? MSR_DCD : 0;
	return msr;
}

static uint8_t read_msr(struct vuart *uart)
{
	uint8_t msr = modem_inputs(uart->mcr) | uart->modem_deltas;

	uart->modem_deltas = 0;
	return msr;
}

static void write_mcr(struct vuart *uart, uint8_t value)
{
	uint8_t before = modem_inputs(uart->mcr);
	uint8_t after = modem_inputs(value & MCR_MASK);
	uint8_t changed = (uint8_t)((before ^ after) >> 4);

	if (!(before & MSR_RI)) {
		changed &= (uint8_t)~MSR_TERI;
	}
	uart->modem_deltas |= changed;
	uart->mcr = value & MCR_MASK;
}

static void write_thr(struct vuart *uart, uint8_t value)
{
	if (uart->mcr & MCR_LOOP) {
		receive(uart, value);
	} else {
		vconsole_put(uart->console, value);
	}
	uart->thr_full = !is_empty(uart);
	uart->thr_empty_pending = !uart->thr_full;
}

static void write_ier(struct vuart *uart, uint8_t value)
{
	if ((value & IER_ETBEI) && !(uart->ier & IER_ETBEI)) {
		uart->thr_empty_pending = !uart->thr_full;
	}
	uart->ier = value & IER_MASK;
}

static void write_fcr(struct vuart *uart, uint8_t value)
{
	bool on = (value & FCR_ENABLE) != 0;

	if (on != uart->fifo_on || (on && (value & FCR_RESET_RX))) {
		uart->rx_count = 0;
	}
	uart->fifo_on = on;
	uart->rx_trigger = on ? trigger_levels[value >> 6] : 1;
}

static uint8_t read_register(struct vuart *uart, uint64_t reg)
{
	bool dlab = (uart->lcr & LCR_DLAB) != 0;

	switch (reg) {
	case REG_RBR_THR: return dlab ? uart->divisor[0] : read_rbr(uart);
	case REG_IER: return dlab ? uart->divisor[1] : uart->ier;
	case REG_IIR_FCR: return read_iir(uart);
	case REG_LCR: return uart->lcr;
	case REG_MCR: return uart->mcr;
	case REG_LSR: return read_lsr(uart);
	case REG_MSR: return read_msr(uart);
	default: return uart->scratch;
	}
}

static void write_register(struct vuart *uart, uint64_t reg, uint8_t value)
{
	bool dlab = (uart->lcr & LCR_DLAB) != 0;

	switch (reg) {
	case REG_RBR_THR:
	case REG_IER:
		if (dlab) {
			uart->divisor[reg] = value;
		} else if (reg == REG_IER) {
			write_ier(uart, value);
		} else {
			write_thr(uart, value);
		}
		break;
	case REG_IIR_FCR: write_fcr(uart, value); break;
	case REG_LCR: uart->lcr = value; break;
	case REG_MCR: write_mcr(uart, value); break;
	case REG_SCR: uart->scratch = value; break;
	default: /* LSR and MSR are read-only */ break;
	}
}

/* A wider access is an access to each register in turn, as on the ISA bus. */
static void write_registers(struct vuart *uart, const struct io_access *access)
{
	for (uint32_t i = 0; i < access->size; i++) {
		write_register(uart, access->offset + i, (uint8_t)(access->value >> i * 8));
	}
}

static uint64_t read_registers(struct vuart *uart, const struct io_access *access)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < access->size; i++) {
		value |= (uint64_t)read_register(uart, access->offset + i) << i * 8;
	}
	return value;
}

static void vuart_access(void *device, struct vcpu *vcpu, struct io_access *access)
{
	struct vuart *uart = device;

	/* all vCPUs may use the UART */
	lock_take(&uart->lock, LOCK_DEVICE);
	if (uart->thr_full) {
		look_at_transmitter(uart);
	}
	if (access->write) {
		write_registers(uart, access);
	} else {
		access->value = read_registers(uart, access);
	}
	update_line(uart);
	lock_drop(&uart->lock);
}

static const struct io_ops vuart_ops = { .name = "16550A", .access = vuart_access };

void vuart_poll(struct vuart *uart)
{
	lock_take(&uart->lock, LOCK_DEVICE);
	look_at_transmitter(uart);
	refill(uart);
	update_line(uart);
	lock_drop(&uart->lock);
}

void vuart_set_deaf(struct vuart *uart, bool deaf)
{
	lock_take(&uart->lock, LOCK_DEVICE);
	uart->deaf = deaf;
	lock_drop(&uart->lock);
}

int vuart_init(struct vuart *uart, struct vm *vm, struct vioapic *ioapic, struct vconsole *console)
{
	*uart = (struct vuart){ .ioapic = ioapic, .console = console, .rx_trigger = 1 };
	return iobus_add(&vm->iobus, IO_SPACE_PORT, PORT_COM1, VUART_PORT_COUNT, &vuart_ops, uart);
}

static int init(struct platform *platform)
{
	return vuart_init(&platform->com1, platform->vm, &platform->ioapic, &platform->console);
}

static void poll(struct platform *platform)
{
	vuart_poll(&platform->com1);
}

const struct vdev_ops vuart_device = { .name = "serial port", .init = init, .poll = poll };
