/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug exceptions belong to the guest although #DB always exits. DR0 to DR3 and DR7 keep their
 * values. A single step comes after each instruction, also after one that the hypervisor executes.
 * Breakpoints on execution and data hit once with the right bit in DR6. GD guards the registers
 * (SDM vol. 3, "Debug Exceptions"). A step in the shadow of STI or MOV SS, and INT1 there, do no
 * harm. A fault pushes RF; an instruction that the hypervisor executes leaves RF clear. "hits=0":
 * breakpoints never hit, for the hypervisor keeps a key in the debug registers.
 */
#include "tests/guests/common/guest.h"

#define DR6_CLEAR 0xffff0ff0ull
#define DR6_BD	  BIT(13)
#define DR6_BS	  BIT(14)
#define DR7_FIXED 0x400ull
#define DR7_GD	  BIT(13)
#define CR4_DE	  BIT(3)

#define READ_DR(n)                                                      \
	({                                                              \
		uint64_t value_;                                        \
		__asm__ volatile("movq %%dr" #n ", %0" : "=r"(value_)); \
		value_;                                                 \
	})
#define WRITE_DR(n, value) __asm__ volatile("movq %0, %%dr" #n : : "r"((uint64_t)(value)))

static volatile uint64_t hits, last_rip, last_dr6;
static volatile uint64_t steps[32];
static uint64_t watched;
static uint64_t expected_hits;

static void on_debug(struct trap_frame *frame)
{
	last_dr6 = READ_DR(6);
	last_rip = frame->rip;
	if (hits < ARRAY_COUNT(steps)) {
		steps[hits] = frame->rip;
	}
	hits++;
	WRITE_DR(6, DR6_CLEAR);
	if ((last_dr6 & 0xf) != 0) {
		frame->rflags |= RFLAGS_RF; /* do not hit the same execution breakpoint again */
	}
}

static void registers(void)
{
	WRITE_DR(0, 0x1111111111111000);
	WRITE_DR(1, 0x2222222222222000);
	WRITE_DR(2, 0x3333333333333000);
	WRITE_DR(3, 0xffff888888888000);
	for (unsigned i = 0; i < 200; i++) {
		(void)cpuid(0, 0);
		check_equal(READ_DR(0), 0x1111111111111000);
		check_equal(READ_DR(1), 0x2222222222222000);
		check_equal(READ_DR(2), 0x3333333333333000);
		check_equal(READ_DR(3), 0xffff888888888000);
	}
	check_equal(READ_DR(7), DR7_FIXED);
	__asm__ volatile(TRY("movq %0, %%dr7") : : "r"(BIT(32) | DR7_FIXED));
	check_equal(trapped(), VECTOR_GP);
	__asm__ volatile(TRY("movq %0, %%dr6") : : "r"(BIT(40)));
	check_equal(trapped(), VECTOR_GP);
	WRITE_DR(6, DR6_CLEAR);
}

/* DR4 and DR5 are DR6 and DR7, or do not exist. */
static void aliases(void)
{
	uint64_t value;

	WRITE_DR(6, DR6_CLEAR | DR6_BS);
	__asm__ volatile("movq %%dr4, %0" : "=r"(value));
	check_equal(value, DR6_CLEAR | DR6_BS);
	__asm__ volatile("movq %%dr5, %0" : "=r"(value));
	check_equal(value, DR7_FIXED);
	__asm__ volatile("movq %0, %%cr4" : : "r"(read_cr4() | CR4_DE));
	__asm__ volatile(TRY("movq %%dr4, %0") : "=r"(value));
	check_equal(trapped(), VECTOR_UD);
	__asm__ volatile("movq %0, %%cr4" : : "r"(read_cr4() & ~CR4_DE));
	WRITE_DR(6, DR6_CLEAR);
}

/* POPF sets TF; the first step comes after the instruction that follows POPF. */
static void single_step(void)
{
	uint64_t at;

	hits = 0;
	__asm__ volatile("pushfq\n\t"
			 "orq $0x100, (%%rsp)\n\t"
			 "leaq 1f(%%rip), %0\n\t"
			 "xorl %%eax, %%eax\n\t"
			 "xorl %%ecx, %%ecx\n\t"
			 "popfq\n"
			 "1:\tnop\n\t"		     /* 1 byte */
			 "cpuid\n\t"		     /* 2 */
			 "movl $0x10, %%ecx\n\t"     /* 5 */
			 "rdmsr\n\t"		     /* 2 */
			 "inb $0x80, %%al\n\t"	     /* 2 */
			 "outb %%al, $0x80\n\t"	     /* 2 */
			 "movq %%cr0, %%rax\n\t"     /* 3 */
			 "movq %%rax, %%cr0\n\t"     /* 3 */
			 "pushfq\n\t"		     /* 1 */
			 "andq $~0x100, (%%rsp)\n\t" /* 8 */
			 "popfq\n\t"
			 "nop"
			 : "=&D"(at)
			 :
			 : "rax", "rbx", "rcx", "rdx", "memory", "cc");
	static const uint8_t lengths[] = { 1, 2, 5, 2, 2, 2, 3, 3, 1, 8, 1 };

	check_equal(hits, ARRAY_COUNT(lengths));
	for (unsigned i = 0; i < ARRAY_COUNT(lengths); i++) {
		at += lengths[i];
		if (steps[i] != at) {
			fail("step %u ends at %lx, not %lx", i, steps[i], at);
		}
	}
	check_equal(last_dr6, DR6_CLEAR | DR6_BS);
}

/* Each step but the last ends at the same RIP: one step for each iteration. */
static void single_step_rounds(void)
{
	static const uint8_t bytes[3];
	uint64_t at, count = ARRAY_COUNT(bytes);
	const void *from = bytes;

	hits = 0;
	__asm__ volatile("pushfq\n\t"
			 "orq $0x100, (%%rsp)\n\t"
			 "leaq 1f(%%rip), %0\n\t"
			 "popfq\n"
			 "1:\trep outsb\n\t"
			 "pushfq\n\t"
			 "andq $~0x100, (%%rsp)\n\t"
			 "popfq\n\t"
			 "nop"
			 : "=&D"(at), "+S"(from), "+c"(count)
			 : "d"(0x80)
			 : "memory", "cc");
	check_equal(hits, 6);
	check_equal(steps[0], at);
	check_equal(steps[1], at);
	check_equal(steps[2], at + 2);
}

/*
 * #DB is due while STI or MOV SS still blocks; VM entry checks that BS of the pending debug
 * exceptions agrees with TF.
 */
static void single_step_in_shadows(void)
{
	uint64_t at;

	hits = 0;
	__asm__ volatile("pushfq\n\t"
			 "orq $0x100, (%%rsp)\n\t"
			 "leaq 1f(%%rip), %0\n\t"
			 "movl %%ss, %%eax\n\t"
			 "popfq\n"
			 "1:\tsti\n\t"
			 "cli\n\t"
			 "movl %%eax, %%ss\n\t"
			 "nop\n\t"
			 "movl %%eax, %%ss\n\t"
			 ".byte 0xf1\n\t" /* int1 */
			 "pushfq\n\t"
			 "andq $~0x100, (%%rsp)\n\t"
			 "popfq\n\t"
			 "nop"
			 : "=&D"(at)
			 :
			 : "rax", "memory", "cc");
	check(hits >= 7);
	check_equal(steps[0], at + 1);
	check_equal(steps[1], at + 2);
	check_equal(steps[2], at + 5); /* MOV SS suppresses its own step */
	check_equal(steps[3], at + 8);
}

static void resume_flag(void)
{
	volatile uint32_t *device = (uint32_t *)0xfec00000ull; /* the IOAPIC's index */

	__asm__ volatile(TRY("movq %0, %%cr4") : : "r"(read_cr4() | BIT(40)));
	check_equal(trapped(), VECTOR_GP);
	check_equal(caught.rflags & RFLAGS_RF, RFLAGS_RF);
	hits = 0;
	__asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
			 "movq %%rax, %%dr0\n\t"
			 "movl $0x402, %%eax\n\t"
			 "movq %%rax, %%dr7\n\t"
			 "movl $0, (%0)\n"
			 "1:\tmovl $0x400, %%eax\n\t"
			 "movq %%rax, %%dr7"
			 :
			 : "D"(device)
			 : "rax", "memory");
	check_equal(hits, expected_hits);
}

static void breakpoints(void)
{
	uint64_t at;

	hits = 0;
	__asm__ volatile("leaq 1f(%%rip), %0\n\t"
			 "movq %0, %%dr0\n\t"
			 "movl $0x402, %%eax\n\t" /* G0, execution */
			 "movq %%rax, %%dr7\n"
			 "\tnop\n"
			 "1:\tcpuid\n\t"
			 "movl $0x400, %%eax\n\t"
			 "movq %%rax, %%dr7"
			 : "=&D"(at)
			 :
			 : "rax", "rbx", "rcx", "rdx", "memory");
	check_equal(hits, expected_hits);
	if (hits != 0) {
		check_equal(last_rip, at);
		check_equal(last_dr6, DR6_CLEAR | BIT(0));
	}
	hits = 0;
	WRITE_DR(1, (uintptr_t)&watched);
	WRITE_DR(7, DR7_FIXED | 0x8 | 0x00900000); /* G1, writes, 8 bytes: length 10b */
	*(volatile uint64_t *)&watched = 1;
	check_equal(READ_DR(7), DR7_FIXED | 0x8 | 0x00900000);
	check_equal(hits, expected_hits);
	(void)*(volatile uint64_t *)&watched;
	check_equal(hits, expected_hits);
	if (hits != 0) {
		check_equal(last_dr6, DR6_CLEAR | BIT(1));
	}
	WRITE_DR(7, DR7_FIXED);
}

static void guarded(void)
{
	uint64_t at, value;

	hits = 0;
	__asm__ volatile("leaq 1f(%%rip), %0\n\t"
			 "movl $0x2400, %%eax\n\t"
			 "movq %%rax, %%dr7\n"
			 "1:\tmovq %%dr0, %1"
			 : "=&D"(at), "=&r"(value)
			 :
			 : "rax", "memory");
	check_equal(hits,
		    /*
		     * The handler runs with GD clear, so it may read; IRET executes the instruction
		     * again.
		     */
		    1);
	check_equal(last_rip, at);
	check_equal(last_dr6, DR6_CLEAR | DR6_BD);
	check_equal(READ_DR(7), DR7_FIXED);
}

void guest_main(void)
{
	trap_handlers[VECTOR_DB] = on_debug;
	expected_hits = arg_number("hits", 1);
	registers();
	aliases();
	single_step();
	single_step_rounds();
	single_step_in_shadows();
	breakpoints();
	resume_flag();
	guarded();
}
