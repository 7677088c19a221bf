/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A polled PS/2 keyboard, for users with a screen and no serial line. USB keyboards work where
 * firmware emulates a PS/2 one. US layout only.
 */
#ifndef UMBRA_CONSOLE_KEYBOARD_H
#define UMBRA_CONSOLE_KEYBOARD_H

/*
 * Takes the controller over from firmware. Waits a fifth of a second at most. Returns ERR_NOTFOUND
 * when there is no controller or no keyboard answers; keyboard_getc then always returns -1. Boot
 * processor, once.
 */
int keyboard_init(void);

/*
 * The next byte as a terminal sends it (an arrow key gives an escape sequence), or -1 for none.
 * Never waits. Called under the console lock; other code uses console_getc.
 */
int keyboard_getc(void);

#endif
