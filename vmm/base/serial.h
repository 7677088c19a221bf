/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's first serial port: a 16550 at the PC's COM1, 115200 8N1, polled. Output goes
 * through a queue in memory: a byte takes 87 us on the line, and a guest should not wait for it.
 */
#ifndef UMBRA_BASE_SERIAL_H
#define UMBRA_BASE_SERIAL_H

#include "vmm/base/types.h"

/*
 * Looks for the UART by its loop-back mode, sets it up and adds it as a console sink. Returns 0, or
 * ERR_NOTFOUND when there is none; then the other functions do nothing. Boot processor, once.
 */
int serial_init(void);

/*
 * A byte that arrived, CONSOLE_BREAK, or -1; also of a port that no longer sends. Under the console
 * lock: use console_getc.
 */
int serial_getc(void);
/* True when there is a line whose bytes are lost if nobody takes them for longer than 1.3 ms. */
bool serial_listens(void);

#endif
