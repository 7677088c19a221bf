/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor tables, and the handling of exceptions and interrupts while the hypervisor runs. No
 * lock: each CPU uses its own tables, and the IDT is complete before another CPU starts.
 */
#include "vmm/host/idt.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/x86.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/idt_dump.h"
#include "vmm/host/lapic.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/smp.h"

#define IST_STACK_PAGES 2

/* SDM vol. 3, "64-Bit Task-State Segment". */
struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t io_map;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "SDM: 64-bit TSS");

/* The tables of a CPU, in one page. */
struct cpu_tables {
	uint64_t gdt[5]; /* null, code, data, and two entries for the TSS */
	struct tss tss;
};
_Static_assert(sizeof(struct cpu_tables) == IDT_CPU_TABLES_BYTES, "idt.h");

/* SDM vol. 3, "64-Bit Mode Interrupt Gate". */
struct gate {
	uint16_t offset0;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t offset16;
	uint32_t offset32;
	uint32_t reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM: 64-bit gate");

#define GDT_CODE64     0x00af9b000000fffful
#define GDT_DATA       0x00cf93000000fffful
#define GDT_TSS	       0x0000890000000000ul
#define GATE_INTERRUPT 0x8e

static struct gate idt[256];
static ATOMIC(bool) stop_on_nmi;

/* in idt_stubs.asm */
extern const char idt_stubs[];
extern const char msr_read_insn[], msr_read_fault[];
extern const char msr_write_insn[], msr_write_fault[];
extern const char pconfig_insn[], pconfig_fault[];
extern const char firmware_fault[];
extern uint64_t firmware_stack;
void gdt_load(const struct cpu_table_register *gdt);
void idt_dispatch(struct idt_frame *frame);

/* Vectors that may come while the current stack is unusable, or at any instruction, use an IST. */
static const uint8_t ist_of_vector[32] = {
	[VECTOR_DF] = 1,
	[VECTOR_NMI] = 2,
	[VECTOR_MC] = 3,
	[VECTOR_DB] = 4,
};

static struct gate gate_to(uint64_t code, uint8_t ist)
{
	return (struct gate){
		.offset0 = (uint16_t)code,
		.selector = HOST_CS_SELECTOR,
		.ist = ist,
		.type = GATE_INTERRUPT,
		.offset16 = (uint16_t)(code >> 16),
		.offset32 = (uint32_t)(code >> 32),
	};
}

static void fill_idt(void)
{
	unsigned i;

	for (i = 0; i < ARRAY_COUNT(idt); i++) {
		idt[i] = gate_to((uintptr_t)idt_stubs + i * 16,
				 i < ARRAY_COUNT(ist_of_vector) ? ist_of_vector[i] : 0);
	}
}

void idt_fill_gates(void *gates, size_t count, uint64_t other, uint64_t nmi)
{
	struct gate *table = gates;

	for (size_t i = 0; i < count; i++) {
		table[i] = gate_to(i == VECTOR_NMI ? nmi : other, 0);
	}
}

void idt_fill_cpu_tables(void *memory, const uint64_t *ist_tops)
{
	struct cpu_tables *tables = memory;
	const uint64_t tss = (uintptr_t)&tables->tss;

	tables->gdt[HOST_CS_SELECTOR / 8] = GDT_CODE64;
	tables->gdt[HOST_DS_SELECTOR / 8] = GDT_DATA;
	tables->gdt[HOST_TSS_SELECTOR / 8] = GDT_TSS | (sizeof(struct tss) - 1) |
					     (tss & MASK(23, 0)) << 16 | (tss & MASK(31, 24)) << 32;
	tables->gdt[HOST_TSS_SELECTOR / 8 + 1] = tss >> 32;
	tables->tss.io_map = sizeof(struct tss);
	for (size_t i = 0; i < IDT_IST_COUNT; i++) {
		tables->tss.ist[i] = ist_tops[i];
	}
}

int idt_prepare_cpu(struct percpu *cpu)
{
	uint64_t ist_tops[IDT_IST_COUNT];
	unsigned i;

	cpu->tables = page_alloc(1);
	if (cpu->tables == NULL) {
		return ERR_NOMEM;
	}
	for (i = 0; i < IDT_IST_COUNT; i++) {
		void *top = host_map_stack(IST_STACK_PAGES);

		if (top == NULL) {
			return ERR_NOMEM;
		}
		ist_tops[i] = (uintptr_t)top;
	}
	idt_fill_cpu_tables(cpu->tables, ist_tops);
	if (cpu->index == 0) {
		fill_idt();
	}
	return 0;
}

struct cpu_table_register idt_gdt_register(const void *memory)
{
	const struct cpu_tables *tables = memory;

	return (struct cpu_table_register){ sizeof(tables->gdt) - 1, (uintptr_t)tables->gdt };
}

void idt_load_this_cpu(struct percpu *cpu)
{
	struct cpu_table_register gdtr = idt_gdt_register(cpu->tables);
	struct cpu_table_register idtr = { sizeof(idt) - 1, (uintptr_t)idt };

	gdt_load(&gdtr);
	percpu_load(cpu); /* before the IDT: handlers use the block */
	cpu_lidt(&idtr);
	cpu_ltr(HOST_TSS_SELECTOR);
}

uint64_t idt_tss_base(const struct percpu *cpu)
{
	const struct cpu_tables *tables = cpu->tables;

	return (uintptr_t)&tables->tss;
}

void idt_stop_on_nmi(void)
{
	atomic_store(&stop_on_nmi, true);
}

static void handle_nmi(void)
{
	struct percpu *cpu = percpu_self();

	/* This is the last CPU: it has stopped all others, so no NMI can be a request to stop. */
	if (atomic_load(&stop_on_nmi) && !bootstrap_has_left()) {
		bootstrap_stop_this_cpu();
	}
	cpu->nmi_count++;
}

/* Instructions of idt_stubs.asm that may raise #GP, and where execution continues then. */
static const struct {
	const char *insn, *fault;
} expected_faults[] = {
	{ msr_read_insn, msr_read_fault },
	{ msr_write_insn, msr_write_fault },
	{ pconfig_insn, pconfig_fault },
};

/*
 * After an expected fault, in one of these instructions or in firmware, continues at its handler.
 */
static bool fix_up(struct idt_frame *frame)
{
	for (size_t i = 0; i < ARRAY_COUNT(expected_faults); i++) {
		if (frame->vector == VECTOR_GP &&
		    frame->rip == (uintptr_t)expected_faults[i].insn) {
			frame->rip = (uintptr_t)expected_faults[i].fault;
			return true;
		}
	}
	if (firmware_stack != 0 && frame->vector != VECTOR_MC) {
		frame->rip = (uintptr_t)firmware_fault;
		frame->rsp = firmware_stack;
		return true;
	}
	return false;
}

static void exception(struct idt_frame *frame)
{
	if (fix_up(frame)) {
		return;
	}
	panic_exception(frame);
}

void idt_dispatch(struct idt_frame *frame)
{
	struct percpu *cpu;

	if (frame->vector == VECTOR_NMI) {
		handle_nmi();
		return;
	}
	if (frame->vector < 32) {
		exception(frame);
		return;
	}
	cpu = percpu_self();
	switch (frame->vector) {
	case VECTOR_SPURIOUS: return; /* SDM vol. 3, "Spurious Interrupt": not in service, no EOI */
	case VECTOR_TIMER: cpu->timer_count++; break;
	case VECTOR_KICK:
		cpu->kick_count++;
		smp_do_work();
		break;
	default:
		cpu->unexpected_count++; /* left pending by a device or by firmware */
		break;
	}
	lapic_eoi();
}
