/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions and interrupts while the hypervisor runs. An exception is a bug of the hypervisor and
 * ends in a readable dump, except in msr_*_safe, pconfig_safe and firmware_call.
 */
#ifndef UMBRA_HOST_INTERRUPTS_H
#define UMBRA_HOST_INTERRUPTS_H

#include "vmm/base/types.h"

/* In idt_stubs.asm: one stub for each of the 256 vectors, 16 bytes apart. */
extern const char idt_stubs[];

/* From now on an NMI stops its CPU for good; before, NMIs are only counted. */
void interrupts_stop_on_nmi(void);

/*
 * Calls a firmware function (Microsoft ABI) with interrupts off, on a separate stack and with the
 * default x87 and SSE control words. Returns the low half of its result, or ERR_IO when it faulted.
 * One CPU at a time. Firmware may change vector registers.
 */
int firmware_call(void *function, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);

#endif
