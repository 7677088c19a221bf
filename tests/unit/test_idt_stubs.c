/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/idt_stubs.asm in a process of the host: the test pushes what the CPU pushes for an
 * interrupt. All registers come back. RAX may be a word of a key then (crypto/master_key.asm): no
 * copy of it is left in memory, and the C code does not get it.
 */
#include "tests/unit/test.h"
#include "vmm/base/x86.h"
#include "vmm/host/idt_dump.h"

#define STACK_WORDS 512
#define GPRS	    15 /* without RSP */

/* idt_stubs.asm */
extern const char idt_stubs[];
void interrupt_dispatch(struct idt_frame *frame);

uint64_t stub_stack[STACK_WORDS] __attribute__((aligned(16)));
uint64_t stub_before[GPRS], stub_after[GPRS]; /* in the order of struct idt_frame */
const void *stub_entry;
uint64_t stub_rax; /* what RAX is when C code is called */

static struct idt_frame seen;

/* Loads stub_before, enters the stub as an interrupt does, and stores stub_after. */
void stub_interrupt(void);
__asm__(".pushsection .text\n"
	".globl stub_interrupt\n"
	"stub_interrupt:\n\t"
	"push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
	"mov %rsp, %rcx\n\t"
	"mov %ss, %eax\n\t"
	"lea stub_stack+8*512(%rip), %rsp\n\t"
	"push %rax\n\tpush %rcx\n\tpushfq\n\t"
	"mov %cs, %eax\n\tpush %rax\n\tlea 1f(%rip), %rax\n\tpush %rax\n\t"
	"push stub_entry(%rip)\n\t"
	"mov stub_before+0(%rip), %r15\n\tmov stub_before+8(%rip), %r14\n\t"
	"mov stub_before+16(%rip), %r13\n\tmov stub_before+24(%rip), %r12\n\t"
	"mov stub_before+32(%rip), %r11\n\tmov stub_before+40(%rip), %r10\n\t"
	"mov stub_before+48(%rip), %r9\n\tmov stub_before+56(%rip), %r8\n\t"
	"mov stub_before+64(%rip), %rdi\n\tmov stub_before+72(%rip), %rsi\n\t"
	"mov stub_before+80(%rip), %rbp\n\tmov stub_before+88(%rip), %rbx\n\t"
	"mov stub_before+96(%rip), %rdx\n\tmov stub_before+104(%rip), %rcx\n\t"
	"mov stub_before+112(%rip), %rax\n\t"
	"ret\n" /* to the stub, which finds the CPU's frame on top */
	"1:\n\t"
	"mov %r15, stub_after+0(%rip)\n\tmov %r14, stub_after+8(%rip)\n\t"
	"mov %r13, stub_after+16(%rip)\n\tmov %r12, stub_after+24(%rip)\n\t"
	"mov %r11, stub_after+32(%rip)\n\tmov %r10, stub_after+40(%rip)\n\t"
	"mov %r9, stub_after+48(%rip)\n\tmov %r8, stub_after+56(%rip)\n\t"
	"mov %rdi, stub_after+64(%rip)\n\tmov %rsi, stub_after+72(%rip)\n\t"
	"mov %rbp, stub_after+80(%rip)\n\tmov %rbx, stub_after+88(%rip)\n\t"
	"mov %rdx, stub_after+96(%rip)\n\tmov %rcx, stub_after+104(%rip)\n\t"
	"mov %rax, stub_after+112(%rip)\n\t"
	"pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\tret\n"
	/* What the stub calls: notes RAX. */
	".globl interrupt_dispatch\n"
	"interrupt_dispatch:\n\t"
	"mov %rax, stub_rax(%rip)\n\t"
	"jmp dispatch\n"
	".popsection");

void dispatch(struct idt_frame *frame);
void dispatch(struct idt_frame *frame)
{
	seen = *frame;
}

TEST(an_interrupt_keeps_the_registers_and_leaves_no_rax)
{
	for (unsigned i = 0; i < GPRS; i++) {
		stub_before[i] = 0x0123456789abcd00ul + 0x1111111111111111ul * i;
	}
	stub_entry = idt_stubs + 16 * VECTOR_NMI;
	stub_rax = 1;
	stub_interrupt();
	assert_memory_equal(stub_after, stub_before, sizeof(stub_before));
	assert_int_equal(seen.vector, VECTOR_NMI);
	assert_int_equal(seen.error_code, 0);
	assert_memory_equal(&seen, stub_before, sizeof(stub_before));
	assert_int_equal(stub_rax, 0);
	assert_int_not_equal(stub_stack[STACK_WORDS - 7], 0); /* the vector: it is this stack */
	for (unsigned i = 0; i < STACK_WORDS; i++) {
		assert_int_not_equal(stub_stack[i], stub_before[GPRS - 1]);
	}
}
