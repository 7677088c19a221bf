/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the machine. Used for broken invariants of the hypervisor itself, never for something
 * that a guest, the stick or firmware did. Stops the other CPUs, logs the reason on every console,
 * and stays there.
 */
#ifndef UMBRA_BASE_PANIC_H
#define UMBRA_BASE_PANIC_H

#include "vmm/base/types.h"

_Noreturn void panic(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * The two halves of panic, for code that logs more than a line (idt.c). panic_begin stops the other
 * CPUs, wipes keys and breaks the console lock. It does not return when another CPU panics already.
 */
void panic_begin(void);
_Noreturn void panic_end(void);

/* Sets what follows a panic: the machine stays as it is (the default), or is reset. */
void panic_set_reboot(bool reboot);

/* Is the machine ending, by a panic or otherwise? True when a CPU has called panic_wipe. */
bool panic_has_begun(void);

/*
 * Sets the function that panic, reset and power-off call first: it stops the other CPUs and wipes
 * keys. NULL until crypto/ sets it. An exception in this function leads to a panic, which calls it
 * again on the same CPU: it then continues behind the step that failed.
 */
void panic_set_wipe(void (*wipe)(void));
/*
 * Calls that function, unless it has already finished. Also called by power.c. If another CPU has
 * called panic_wipe or panics, this CPU stops here for good. Interrupts off.
 */
void panic_wipe(void);

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			panic("%s:%d: broken: %s", __FILE__, __LINE__, #cond); \
		}                                                              \
	} while (0)

#endif
