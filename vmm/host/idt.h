/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor's segments and its IDT. Every CPU has its own GDT, TSS, and stacks for #DF, NMI,
 * #MC and #DB; all CPUs share one IDT.
 */
#ifndef UMBRA_HOST_IDT_H
#define UMBRA_HOST_IDT_H

#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

/* Makes the gates of the IDT lead to the stubs, 16 bytes apart. BSP, before the first load. */
void idt_fill(const char *stubs);

/* Loads the tables of cpu, and its block into GS, on the CPU that runs this. Interrupts off. */
void idt_load_this_cpu(struct percpu *cpu);

/*
 * For code that builds a CPU's tables, or another IDT (bootstrap.c). idt_fill_cpu_tables
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

#endif
