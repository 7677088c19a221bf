/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the machine: for broken invariants of our own, never for something that a guest, the
 * stick or firmware did. Stops the other CPUs, says why on every console, and stays.
 */
#ifndef UMBRA_BASE_PANIC_H
#define UMBRA_BASE_PANIC_H

#include "vmm/base/types.h"

_Noreturn void panic(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * The two halves of panic for one who has more than a line to log (idt.c). panic_begin stops
 * the other CPUs, wipes keys and breaks the console lock; it does not return when somebody began.
 */
void panic_begin(void);
_Noreturn void panic_end(void);

/* What follows a panic: the machine stays as it is (the default), or is reset. */
void panic_set_reboot(bool reboot);

/* The machine ends, by a panic or otherwise: a CPU has called panic_wipe. */
bool panic_has_begun(void);

/*
 * What panic, reset and power-off do first of all: stops the other CPUs and wipes keys. NULL until
 * crypto sets it. An exception inside leads to a panic, which calls it again on the same CPU: it
 * goes on then behind the step that failed.
 */
void panic_set_wipe(void (*wipe)(void));
/*
 * Runs that function, if there is one and it is not done yet. Called by power.c as well. When
 * another CPU has called it before, or panics, this one stops here for good. Interrupts off.
 */
void panic_wipe(void);

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			panic("%s:%d: broken: %s", __FILE__, __LINE__, #cond); \
		}                                                              \
	} while (0)

#endif
