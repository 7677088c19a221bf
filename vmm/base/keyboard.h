/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PS/2 keyboard, polled, for who has a screen and no serial line. USB keyboards work where
 * firmware emulates one. US layout: there is no table of others.
 */
#ifndef UMBRA_BASE_KEYBOARD_H
#define UMBRA_BASE_KEYBOARD_H

/*
 * Takes the controller over from firmware. ERR_NOTFOUND when there is none or no keyboard answers;
 * keyboard_getc then does nothing. Waits a fifth of a second at most. Boot processor, once.
 */
int keyboard_init(void);

/*
 * The next byte as a terminal sends it (arrows are escape sequences), or -1. Never waits. Under the
 * console lock: use console_getc.
 */
int keyboard_getc(void);

#endif
