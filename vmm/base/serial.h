/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's serial line: a 16550 at ports or in memory, 8N1, polled. Output goes through a
 * queue in memory: a byte takes 87 us at 115200 baud, and a guest should not wait for it.
 */
#ifndef UMBRA_BASE_SERIAL_H
#define UMBRA_BASE_SERIAL_H

#include "vmm/base/types.h"

struct serial_place {
	bool memory;	  /* else ports */
	uint8_t stride;	  /* in memory: bytes from one register to the next, 1 or 4 */
	uint16_t divisor; /* of the chip's clock: 1 is 115200 baud on a PC; 0: as firmware set it */
	uint64_t address; /* of the first register; 0: nowhere */
};

/* COM1 of a PC at 115200 baud. */
extern const struct serial_place serial_com1;

/*
 * Looks for the UART by its loop-back mode, sets it up and adds it as a console sink, in place of
 * one that was set up before. In memory it has to be mapped at its own address. Returns 0;
 * ERR_INVAL for a place that cannot be one; ERR_NOTFOUND when there is none, and then the other
 * functions do nothing. Boot processor.
 */
int serial_init(const struct serial_place *place);
/* Sends what is left, and uses no line from now on. Boot processor. */
void serial_close(void);
/* Where it is; address 0: nowhere. */
const struct serial_place *serial_where(void);

/*
 * A byte that arrived, CONSOLE_BREAK, or -1; also of a port that no longer sends. For console.c:
 * use console_getc.
 */
int serial_getc(void);
/*
 * Fills the transmit FIFO when it is empty. Never waits. True while more is to be sent soon: not
 * when the line has taken nothing for two seconds. It goes on when that does. For console.c.
 */
bool serial_send(void);
/* True when there is a line whose bytes are lost if nobody takes them for longer than 1.3 ms. */
bool serial_listens(void);

#endif
