/* SPDX-License-Identifier: Apache-2.0 */
/* What idt_stubs.asm leaves on the stack, and how it is logged. */
#ifndef UMBRA_BASE_IDT_DUMP_H
#define UMBRA_BASE_IDT_DUMP_H

#include "vmm/base/types.h"

/* In the order of the pushes, last first. */
struct idt_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector;
	uint64_t error_code;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* Logs the exception in words, then idt_dump_state. Between panic_begin and panic_end. */
void idt_dump(const struct idt_frame *frame);

/*
 * Logs where the CPU was, its registers and who called. Callers are found on the stack by the call
 * instructions before them, so nothing has to be intact but the stack; one that the call found
 * before it does not lead to (a leftover, a call through a pointer or one that took another's
 * place) has a "?". Reads what is mapped, and no more than 4 KiB.
 */
void idt_dump_state(const struct idt_frame *frame);

#endif
