/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments, exceptions and interrupts of the hypervisor itself. Every CPU has a GDT, a TSS and
 * stacks of its own for #DF, NMI, #MC and #DB; the IDT is one for all. An exception is a bug of
 * ours and ends in a dump in words, save for those of msr_*_safe, pconfig_safe and firmware_call.
 */
#ifndef UMBRA_BASE_IDT_H
#define UMBRA_BASE_IDT_H

#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

/* Allocates what cpu needs (tables and stacks; not cpu->stack_top). BSP. ERR_NOMEM. */
int idt_prepare_cpu(struct percpu *cpu);

/* Loads it, and GS for cpu, on the CPU that runs this. Interrupts off. */
void idt_load_this_cpu(struct percpu *cpu);

/* For the VMCS host state: the linear address of a CPU's TSS. GDT and IDT: cpu_sgdt, cpu_sidt. */
uint64_t idt_tss_base(const struct percpu *cpu);

/* From now on an NMI stops the CPU that gets it for good; before, NMIs are counted. */
void idt_stop_on_nmi(void);

/*
 * Calls a firmware function (Microsoft ABI) with interrupts off, on a stack of its own and with
 * clean x87 and SSE control words. Returns its result's low half, or ERR_IO when it faulted. One
 * CPU at a time; firmware may change vector registers.
 */
int firmware_call(void *function, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);

#endif
