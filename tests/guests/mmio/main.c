/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory-mapped I/O. Each instruction that accesses a device register makes one access. The
 * destination gets the bits that the width demands. The instructions are MOV in all directions
 * and sizes, MOVZX and MOVSX, moves of constants, arithmetic that reads and writes, XCHG, CMP,
 * TEST, pushes, and string moves. Registers used: I/O APIC (a selector and a window), local APIC
 * (task priority, timer).
 */
#include "tests/guests/common/guest.h"

#define SELECT		     ((volatile uint32_t *)MEMMAP_IOAPIC)
#define WINDOW		     ((volatile uint32_t *)(MEMMAP_IOAPIC + 0x10))
#define REDIRECTION_LOW(pin) (0x10 + 2 * (pin))
#define MASKED		     BIT(16)
#define TPR		     (MEMMAP_LAPIC + APIC_TPR)

static uint32_t ioapic_read(uint32_t index)
{
	*SELECT = index;
	return *WINDOW;
}

static void ioapic_write(uint32_t index, uint32_t value)
{
	*SELECT = index;
	*WINDOW = value;
}

static void ioapic_registers(void)
{
	uint32_t pins = (ioapic_read(1) >> 16 & 0xff) + 1;

	check_equal(pins, GSI_COUNT);
	for (uint32_t i = 0; i < 10000; i++) {
		uint32_t pin = i % pins;
		uint32_t low = MASKED | (uint32_t)(random64() & 0xa0ff),
			 high = (uint32_t)random64();

		ioapic_write(REDIRECTION_LOW(pin), low);
		ioapic_write(REDIRECTION_LOW(pin) + 1, high & 0xff000000);
		check_equal(ioapic_read(REDIRECTION_LOW(pin)) & 0x1afff, low);
		check_equal(ioapic_read(REDIRECTION_LOW(pin) + 1) & 0xff000000, high & 0xff000000);
	}
}

/* Every form of load from the I/O APIC's selector, which keeps 8 bits that read back. */
static void load_forms(void)
{
	uint64_t value;

	*SELECT = 0x8e;
	value = ~0ull;
	__asm__ volatile("movl (%1), %k0" : "+r"(value) : "r"(SELECT));
	check_equal(value, 0x8e);
	value = 0x1122334455667788;
	__asm__ volatile("movb (%1), %b0" : "+q"(value) : "r"(SELECT));
	check_equal(value & ~0xffull, 0x1122334455667700);
	__asm__ volatile("movzbl (%1), %k0" : "=r"(value) : "r"(SELECT));
	check_equal(value, value & 0xff);
	__asm__ volatile("movslq (%1), %0" : "=r"(value) : "r"(SELECT));
	check_equal(value, 0x8e);
	__asm__ volatile("movq %1, %%r15\n\tmovl (%%r15), %%r14d\n\tmovq %%r14, %0"
			 : "=r"(value)
			 : "r"(SELECT)
			 : "r14", "r15");
	check_equal(value, 0x8e);
	__asm__ volatile("xorl %%eax, %%eax\n\tmovl -0x40(%1,%2,8), %k0"
			 : "=&r"(value)
			 : "r"(SELECT), "r"(8ull)
			 : "eax");
	check_equal(value, 0x8e);
}

static void store_forms(void)
{
	__asm__ volatile("movl $0x21, (%0)" : : "r"(SELECT) : "memory");
	check_equal(*SELECT & 0xff, 0x21);
	__asm__ volatile("movl %k1, (%0)" : : "r"(SELECT), "r"(0x35ull) : "memory");
	check_equal(*SELECT & 0xff, 0x35);
	__asm__ volatile(".byte 0xa3\n\t.quad 0xfec00000" /* MOV moffs64, EAX */
			 :
			 : "a"(0x17)
			 : "memory");
	check_equal(*SELECT & 0xff, 0x17);
}

static void read_modify_write(void)
{
	uint64_t flags, value;

	*(volatile uint32_t *)TPR = 0x10;
	__asm__ volatile("orl $0x21, (%0)" : : "r"(TPR) : "memory", "cc");
	check_equal(apic_read(APIC_TPR), 0x31);
	__asm__ volatile("andl $0xf0, (%0)" : : "r"(TPR) : "memory", "cc");
	check_equal(apic_read(APIC_TPR), 0x30);
	__asm__ volatile("addl %k1, (%0)" : : "r"(TPR), "r"(0x11ull) : "memory", "cc");
	check_equal(apic_read(APIC_TPR), 0x41);
	__asm__ volatile("xorl $0x41, (%1)\n\tpushfq\n\tpopq %0"
			 : "=r"(flags)
			 : "r"(TPR)
			 : "memory");
	check_equal(apic_read(APIC_TPR), 0);
	check(flags & RFLAGS_ZF);
	value = 0x50;
	__asm__ volatile("xchgl %k0, (%1)" : "+r"(value) : "r"(TPR) : "memory");
	check_equal(value, 0);
	check_equal(apic_read(APIC_TPR), 0x50);
	__asm__ volatile("cmpl $0x50, (%1)\n\tpushfq\n\tpopq %0"
			 : "=r"(flags)
			 : "r"(TPR)
			 : "memory");
	check(flags & RFLAGS_ZF);
	__asm__ volatile("testl $0x0f, (%1)\n\tpushfq\n\tpopq %0"
			 : "=r"(flags)
			 : "r"(TPR)
			 : "memory");
	check(flags & RFLAGS_ZF);
	__asm__ volatile("cmpl (%2), %k1\n\tpushfq\n\tpopq %0"
			 : "=&r"(flags)
			 : "r"(0x4full), "r"(TPR)
			 : "memory");
	check((flags & (RFLAGS_CF | RFLAGS_ZF)) == RFLAGS_CF);
	apic_write(APIC_TPR, 0);
}

/* Memory to device and back by string instructions. */
static void string_forms(void)
{
	uint32_t buffer[4] = { 0x01, 0x02, 0x03, 0x44 };
	uint64_t from = (uintptr_t)buffer, to = (uintptr_t)SELECT;

	__asm__ volatile("movsl" : "+S"(from), "+D"(to) : : "memory");
	check_equal(from, (uintptr_t)&buffer[1]);
	check_equal(to, (uintptr_t)SELECT + 4);
	check_equal(*SELECT & 0xff, 1);
	from = (uintptr_t)SELECT;
	to = (uintptr_t)&buffer[3];
	__asm__ volatile("movsl" : "+S"(from), "+D"(to) : : "memory");
	check_equal(buffer[3] & 0xff, 1);
	to = (uintptr_t)SELECT;
	__asm__ volatile("stosl" : "+D"(to) : "a"(0x29) : "memory");
	check_equal(*SELECT & 0xff, 0x29);
}

void guest_main(void)
{
	apic_start(false);
	ioapic_registers();
	load_forms();
	store_forms();
	read_modify_write();
	string_forms();
}
