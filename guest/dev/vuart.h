/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A (National Semiconductor PC16550D data sheet) at COM1. It is as fast as the machine's
 * console accepts bytes (vconsole_ready). The divisor and the line's format are kept, without
 * effect.
 */
#ifndef UMBRA_GUEST_DEV_VUART_H
#define UMBRA_GUEST_DEV_VUART_H

#include "guest/dev/vioapic.h"
#include "guest/vconsole.h"
#include "guest/vdev.h"
#include "vmm/base/lock.h"
#include "vmm/vm.h"

#define VUART_PORT_COUNT 8
#define VUART_FIFO_BYTES 16

struct vuart {
	/* guards all fields below and the console; vioapic_set_line is called under it */
	struct lock lock;
	struct vioapic *ioapic;
	struct vconsole *console;
	uint8_t rx[VUART_FIFO_BYTES];
	uint32_t rx_breaks; /* bit n: rx[n] stands for a break that LSR has not shown yet */
	uint32_t rx_first;
	uint32_t rx_count;
	uint32_t rx_trigger; /* from this many bytes on: "data available", not "time-out" */
	bool deaf;	     /* set by vuart_set_deaf */
	bool fifo_on;
	bool overrun;
	bool thr_full;		/* the transmitter was not empty at the last check */
	bool thr_empty_pending; /* it became empty, which IIR has not shown yet */
	bool line;		/* level of the interrupt line at the I/O APIC */
	uint8_t modem_deltas;	/* MSR bits 3:0 */
	uint8_t ier, lcr, mcr, scratch;
	uint8_t divisor[2];
};

/*
 * Sets the power-up state and registers the UART at PORT_COM1, with IRQ_COM1, on the VM's bus.
 * Returns an error of iobus_add.
 */
int vuart_init(struct vuart *uart, struct vm *vm, struct vioapic *ioapic, struct vconsole *console);

/* Takes input in, and checks whether the transmitter has become empty. Any CPU; takes the lock. */
void vuart_poll(struct vuart *uart);

/* Deaf: input is for another device of the VM, and the UART takes none. Any CPU; takes the lock. */
void vuart_set_deaf(struct vuart *uart, bool deaf);

extern const struct vdev_ops vuart_device;

#endif
