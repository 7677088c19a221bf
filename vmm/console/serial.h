/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's serial line: a polled 16550 at I/O ports or in memory, 8N1. Output goes through a
 * queue in memory, because a byte takes 87 us at 115200 baud and guests must not wait for it.
 */
#ifndef UMBRA_CONSOLE_SERIAL_H
#define UMBRA_CONSOLE_SERIAL_H

#include "vmm/base/types.h"

struct serial_place {
	bool memory;	/* in memory; else at ports */
	uint8_t stride; /* in memory: bytes from one register to the next, 1 or 4 */
	/* Of the UART's clock: 1 is 115200 baud on a PC; 0: keep firmware's setting. */
	uint16_t divisor;
	uint64_t address; /* of the first register; 0: no UART */
};

/* COM1 of a PC at 115200 baud. */
extern const struct serial_place serial_com1;

/*
 * For console_open_serial and console_close_serial. serial_init looks for the UART with its
 * loop-back mode and sets it up; no UART is in use before. serial_close forgets it, and what is
 * queued.
 */
int serial_init(const struct serial_place *place);
void serial_close(void);
struct console_sink;
extern const struct console_sink serial_sink;
/* The place of the UART in use; address 0: none. */
const struct serial_place *serial_where(void);

/*
 * The next byte that arrived, CONSOLE_BREAK, or -1 for none. Works also while the line does not
 * send. For console.c; other code uses console_getc.
 */
int serial_getc(void);
/*
 * Fills the transmit FIFO from the queue when it is empty. Never waits. Returns true while there is
 * more to send soon; false also when the UART has taken no byte for two seconds. It continues as
 * soon as the UART takes bytes again. For console.c.
 */
bool serial_send(void);
/* Is there text that has not reached the FIFO? For console.c. */
bool serial_sends(void);
/* True when a UART is in use that loses input if nothing reads it for more than 1.3 ms. */
bool serial_listens(void);

#endif
