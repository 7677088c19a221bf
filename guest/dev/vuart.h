/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A (National Semiconductor PC16550D data sheet) at COM1, as fast as the machine's console
 * takes its bytes (vconsole_ready); the divisor and the line's format are kept and mean nothing.
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
	struct lock lock; /* over all below and the console; vioapic_set_line is called under it */
	struct vioapic *ioapic;
	struct vconsole *console;
	uint8_t rx[VUART_FIFO_BYTES];
	uint32_t rx_breaks; /* bit n: rx[n] stands for a break, which LSR has not shown yet */
	uint32_t rx_first;
	uint32_t rx_count;
	uint32_t rx_trigger; /* bytes that make "data available" of "time-out" */
	bool deaf;	     /* vuart_set_deaf */
	bool fifo_on;
	bool overrun;
	bool thr_full;		/* the transmitter was not empty when it was looked at last */
	bool thr_empty_pending; /* it ran empty, and IIR has not shown it yet */
	bool line;		/* of the interrupt, as the I/O APIC knows it */
	uint8_t modem_deltas;	/* MSR bits 3:0 */
	uint8_t ier, lcr, mcr, scratch;
	uint8_t divisor[2];
};

/* Power-up state at PORT_COM1 with IRQ_COM1; registers it on the VM's bus (its errors). */
int vuart_init(struct vuart *uart, struct vm *vm, struct vioapic *ioapic, struct vconsole *console);

/* Takes in what was typed, and sees whether the transmitter has run empty. Any CPU. */
void vuart_poll(struct vuart *uart);

/* Deaf: what is typed is for another device of the VM, and is not taken. Any CPU. */
void vuart_set_deaf(struct vuart *uart, bool deaf);

extern const struct vdev_ops vuart_device;

#endif
