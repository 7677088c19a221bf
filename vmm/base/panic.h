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
 * The same for an exception, which is logged with the registers of the frame that idt_stubs.asm has
 * built. The frame is then zeroed.
 */
struct idt_frame;
_Noreturn void panic_exception(struct idt_frame *frame);

/* Sets what follows a panic: the machine stays as it is (the default), or is reset. */
void panic_set_reboot(bool reboot);

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			panic("%s:%d: broken: %s", __FILE__, __LINE__, #cond); \
		}                                                              \
	} while (0)

#endif
