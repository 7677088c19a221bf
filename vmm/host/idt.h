/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments, exceptions and interrupts of the hypervisor itself. Every CPU has its own GDT, TSS, and
 * stacks for #DF, NMI, #MC and #DB; all CPUs share one IDT. An exception is a bug of the hypervisor
 * and ends in a readable dump, except in msr_*_safe, pconfig_safe and firmware_call.
 */
#ifndef UMBRA_HOST_IDT_H
#define UMBRA_HOST_IDT_H

#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

/* Allocates tables and stacks for cpu, but not cpu->stack_top. BSP. Returns ERR_NOMEM. */
int idt_prepare_cpu(struct percpu *cpu);

/* Loads the tables of cpu, and its block into GS, on the CPU that runs this. Interrupts off. */
void idt_load_this_cpu(struct percpu *cpu);

/*
 * For code that builds a CPU's tables or an IDT in other memory (bootstrap.c). idt_fill_cpu_tables
 * fills IDT_CPU_TABLES_BYTES zeroed bytes with a GDT and a TSS whose IST entries are the
 * IDT_IST_COUNT given stack tops. idt_gdt_register returns the operand of LGDT for them.
 * idt_fill_gates writes count gates of 16 bytes that lead to `other`, or to `nmi` for vector 2;
 * they use no IST stack.
 */
#define IDT_CPU_TABLES_BYTES 144
#define IDT_IST_COUNT	     4
void idt_fill_cpu_tables(void *tables, const uint64_t *ist_tops);
struct cpu_table_register idt_gdt_register(const void *tables);
void idt_fill_gates(void *gates, size_t count, uint64_t other, uint64_t nmi);

/*
 * The linear address of a CPU's TSS, for the VMCS host state. For GDT and IDT see cpu_sgdt,
 * cpu_sidt.
 */
uint64_t idt_tss_base(const struct percpu *cpu);

/* From now on an NMI stops its CPU for good; before, NMIs are only counted. */
void idt_stop_on_nmi(void);

/*
 * Calls a firmware function (Microsoft ABI) with interrupts off, on a separate stack and with the
 * default x87 and SSE control words. Returns the low half of its result, or ERR_IO when it faulted.
 * One CPU at a time. Firmware may change vector registers.
 */
int firmware_call(void *function, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);

#endif
