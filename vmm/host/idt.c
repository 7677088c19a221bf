/* SPDX-License-Identifier: Apache-2.0 */
/* No lock: each CPU uses its own tables, and the IDT is complete before another CPU starts. */
#include "vmm/host/idt.h"

#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"

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

/* in insns.asm */
void gdt_load(const struct cpu_table_register *gdt);

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

void idt_fill(const char *stubs)
{
	for (size_t i = 0; i < ARRAY_COUNT(idt); i++) {
		idt[i] = gate_to((uintptr_t)stubs + i * 16,
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
