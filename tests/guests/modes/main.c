/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unusual but legal states of the guest, each of which VM entry must accept: real mode with 4-GiB
 * segments, compatibility mode, a null SS, blocking by STI and MOV SS on an instruction that exits.
 * And illegal ones, which fault in the guest: IRET to a non-canonical address, LTR of odd
 * selectors.
 */
#include "tests/guests/common/guest.h"

#define REAL_BASE 0x8000

extern const uint8_t real_blob[], real_blob_end[];

struct real_result {
	uint32_t interrupts, big, device;
};

static void real_mode(void)
{
	uint64_t bytes = (uint64_t)(real_blob_end - real_blob);
	volatile uint8_t *low = (volatile uint8_t *)REAL_BASE;
	const struct real_result *result;

	for (uint64_t i = 0; i < bytes; i++) {
		low[i] = real_blob[i];
	}
	result = (const void *)(REAL_BASE + bytes - sizeof(*result));
	for (uint32_t trip = 1; trip <= 20; trip++) {
		((void (*)(void))REAL_BASE)();
		check_equal(result->interrupts, 300 * trip);
		check_equal(result->big, 0x600df00d);
		check_equal(result->device & 0xff, 1);
	}
}

static void null_stack_segment(void)
{
	for (unsigned i = 0; i < 100; i++) {
		__asm__ volatile("movl $0, %%eax\n\t"
				 "movw %%ax, %%ss\n\t"
				 "cpuid\n\t" /* under MOV SS blocking */
				 "cpuid\n\t"
				 "movl $0x10, %%eax\n\t"
				 "movw %%ax, %%ss\n\t"
				 "cpuid"
				 :
				 :
				 : "rax", "rbx", "rcx", "rdx", "memory");
	}
}

static void on_interrupt(struct trap_frame *frame)
{
	apic_write(APIC_EOI, 0);
}

/* A pending interrupt comes after the instruction that follows STI, also when that one exits. */
static void sti_shadow(void)
{
	uint64_t seen;

	trap_handlers[0x60] = on_interrupt;
	trap_count[0x60] = 0;
	for (uint64_t i = 1; i <= 1000; i++) {
		apic_self_ipi(0x60);
		__asm__ volatile("sti\n\t"
				 "cpuid\n\t"
				 "cli"
				 :
				 : "a"(0)
				 : "rbx", "rcx", "rdx", "memory");
		seen = trap_count[0x60];
		if (seen != i) {
			fail("STI; CPUID; CLI: %lu interrupts of %lu", seen, i);
		}
		/* Between STI and CLI no interrupt is taken. */
		apic_self_ipi(0x60);
		__asm__ volatile("sti\n\tcli" : : : "memory");
		check_equal(trap_count[0x60], i);
		__asm__ volatile("sti\n\tnop\n\tcli" : : : "memory");
		check_equal(trap_count[0x60], i + 1);
		trap_count[0x60] = i;
	}
}

static void bad_iret(void)
{
	static const uint64_t bad_rips[] = { 0x0000800000000000, 0x8000000000000000,
					     0x7fffffffffffffff };

	for (unsigned i = 0; i < ARRAY_COUNT(bad_rips); i++) {
		__asm__ volatile("movq %%rsp, %%rbx\n\t"
				 "pushq $0x10\n\t"
				 "pushq %%rbx\n\t"
				 "pushq $2\n\t"
				 "pushq $0x08\n\t"
				 "pushq %0\n\t" TRY("iretq") "movq %%rbx, %%rsp"
				 :
				 : "r"(bad_rips[i])
				 : "rbx", "memory");
		check_equal(trapped(), VECTOR_GP);
		check_equal(caught.error, 0);
	}
	/* IRET with NT set (it asks for a TSS back link) faults in 64-bit mode. */
	__asm__ volatile(
		"movq %%rsp, %%rbx\n\t"
		"pushfq\n\t"
		"orq $0x4000, (%%rsp)\n\t"
		"popfq\n\t"
		"pushq $0x10\n\tpushq %%rbx\n\tpushq $2\n\tpushq $0x08\n\tpushq $1\n\t" TRY(
			"iretq") "movq %%rbx, %%rsp\n\t"
				 "pushq $2\n\t"
				 "popfq"
		:
		:
		: "rbx", "memory");
	check_equal(trapped(), VECTOR_GP);
}

static void bad_selectors(void)
{
	__asm__ volatile(TRY("ltr %w0") : : "r"(SELECTOR_TSS)); /* the TSS is busy by now */
	check_equal(trapped(), VECTOR_GP);
	check_equal(caught.error, SELECTOR_TSS);
	__asm__ volatile(TRY("ltr %w0") : : "r"(0));
	check_equal(trapped(), VECTOR_GP);
	__asm__ volatile(TRY("ltr %w0") : : "r"(SELECTOR_CODE));
	check_equal(trapped(), VECTOR_GP);
	__asm__ volatile(TRY("ltr %w0") : : "r"(0x400));
	check_equal(trapped(), VECTOR_GP);
	__asm__ volatile(TRY("movw %w0, %%ss") : : "r"(SELECTOR_CODE));
	check_equal(trapped(), VECTOR_GP);
	__asm__ volatile("lldt %w0" : : "r"(0));
	(void)cpuid(0, 0);
}

void guest_main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{ "null SS", null_stack_segment },
		{ "STI and exits", sti_shadow },
		{ "IRET", bad_iret },
		{ "selectors", bad_selectors },
		{ "real mode", real_mode },
		{ "STI again", sti_shadow },
	};

	apic_start(false);
	for (unsigned i = 0; i < ARRAY_COUNT(parts); i++) {
		print("%s\n", parts[i].name);
		parts[i].run();
	}
}
