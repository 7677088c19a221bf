/* SPDX-License-Identifier: Apache-2.0 */
/* The stack frame that idt_stubs.asm builds, and the functions that log it. */
#ifndef UMBRA_HOST_IDT_DUMP_H
#define UMBRA_HOST_IDT_DUMP_H

#include "vmm/base/types.h"

/* In the reverse order of the pushes. */
struct idt_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector;
	uint64_t error_code;
	uint64_t rip, cs, rflags, rsp, ss;
};

/*
 * Zeroes the general registers of a frame if code of crypto/ was interrupted, because they may hold
 * parts of keys.
 */
void idt_forget_secrets(struct idt_frame *frame);

/*
 * Logs the exception in a sentence, then calls idt_dump_state. For panic_exception.
 */
void idt_dump(const struct idt_frame *frame);

/*
 * Logs where the CPU was, its registers and its callers. A caller is any address on the stack that
 * has a call instruction before it, so only the stack must be intact. A caller gets a "?" when its
 * call does not lead to the function below it: it is a leftover on the stack, or a call through a
 * pointer or with a tail call. Reads only mapped memory, at most 4 KiB.
 */
void idt_dump_state(const struct idt_frame *frame);

#endif
