; SPDX-License-Identifier: Apache-2.0
; The entry of panic, which keeps the registers of its caller.

%include "vmm/host/asm_offsets.inc"

bits 64
default rel

extern panic_frame, panic_text

section .text

; _Noreturn void panic(const char *fmt, ...): on the first panic stores the caller's registers in
; panic_frame, then jumps to panic_text (panic.c) with unchanged arguments.
%macro note 1-*
	%assign at 0			; in the order of struct idt_frame
	%rep %0
	mov	[panic_frame + at], %1
	%assign at at + 8
	%rotate 1
	%endrep
%endmacro
global panic:function hidden
panic:
	pushfq
	lock bts dword [panic_noted], 0
	jc	.noted_before
	note	r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
	pop	qword [panic_frame + FRAME_RFLAGS]
	mov	rax, [rsp]
	dec	rax			; into the call: another function may begin behind it
	mov	[panic_frame + FRAME_RIP], rax
	lea	rax, [rsp + 8]
	mov	[panic_frame + FRAME_RSP], rax
	mov	word [panic_frame + FRAME_CS], cs
	mov	word [panic_frame + FRAME_SS], ss
	jmp	panic_text
.noted_before:
	add	rsp, 8
	jmp	panic_text

section .data
align 4
panic_noted:	dd 0
