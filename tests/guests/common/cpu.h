/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bare programs share: the tiny guests, and the rows (machine/rows), which use no code of
 * Umbra. So nothing is included here but the compiler's own headers.
 */
#ifndef UMBRA_TESTS_CPU_H
#define UMBRA_TESTS_CPU_H

#include <stddef.h>
#include <stdint.h>

/* --- Output on COM1 (print.c) --- */

/* Supports %s %c %d %u %x, %ld %lu %lx for 64 bits, %0nx widths. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vprint(const char *fmt, __builtin_va_list args);
/* put: one character; a line break becomes CR and LF. put_number: a number in this base. */
void put(char c);
void put_number(uint64_t value, unsigned base, unsigned width);

/* --- Traps --- */

/* What traps.asm leaves on the stack for trap_entry(), which the program defines. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error; /* error is 0 if the CPU pushes none */
	uint64_t rip, cs, rflags, rsp, ss;
};

void trap_entry(struct trap_frame *frame);
#define TRAP_STUB_BYTES 16
extern const uint8_t trap_stubs[]; /* 256 of them, each the entry of a vector */

struct cpu_tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t io_map;
} __attribute__((packed, aligned(16)));

/* The lower half of its descriptor; the upper half is bits 63:32 of the address. */
static inline uint64_t tss_descriptor(const struct cpu_tss *tss)
{
	uint64_t base = (uintptr_t)tss;

	return 0x0000890000000000 | (sizeof(*tss) - 1) | (base & 0xffffff) << 16 |
	       (base >> 24 & 0xff) << 56;
}

struct idt_entry {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, reserved;
};

/* The interrupt gate of a vector that leads to its stub. */
static inline struct idt_entry idt_gate(unsigned vector, uint16_t code_selector)
{
	const uintptr_t stub = (uintptr_t)trap_stubs + vector * TRAP_STUB_BYTES;

	return (struct idt_entry){
		.offset_low = (uint16_t)stub,
		.selector = code_selector,
		.type = 0x8e,
		.offset_mid = (uint16_t)(stub >> 16),
		.offset_high = (uint32_t)((uint64_t)stub >> 32),
	};
}

/* --- Instructions --- */

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

#endif
