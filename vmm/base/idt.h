/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments, exceptions and interrupts of the hypervisor itself. Every CPU has a GDT, a TSS and
 * stacks of its own for #DF, NMI, #MC and #DB; the IDT is one for all. An exception is a bug of
 * ours and ends in a dump in words, save for those of msr_*_safe, pconfig_safe and firmware_call.
 */
#ifndef UMBRA_BASE_IDT_H
#define UMBRA_BASE_IDT_H

#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

/* Allocates what cpu needs (tables and stacks; not cpu->stack_top). BSP. ERR_NOMEM. */
int idt_prepare_cpu(struct percpu *cpu);

/* Loads it, and GS for cpu, on the CPU that runs this. Interrupts off. */
void idt_load_this_cpu(struct percpu *cpu);

/*
 * For those who make a CPU's tables, or an IDT, in memory of their own (bootstrap.c). GDT and TSS
 * of IDT_CPU_TABLES_BYTES zeroed bytes, with the tops of IDT_IST_COUNT stacks; the register that
 * LGDT takes for them; count gates of 16 bytes that lead to `other`, but vector 2 to `nmi`, on the
 * stack that is there.
 */
#define IDT_CPU_TABLES_BYTES 144
#define IDT_IST_COUNT	     4
void idt_fill_cpu_tables(void *tables, const uint64_t *ist_tops);
struct cpu_table_register idt_gdt_register(const void *tables);
void idt_fill_gates(void *gates, size_t count, uint64_t other, uint64_t nmi);

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
