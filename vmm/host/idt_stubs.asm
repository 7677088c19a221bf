; SPDX-License-Identifier: Apache-2.0
; The entry points of exceptions and interrupts.

bits 64
default rel

extern interrupt_dispatch

section .note.GNU-stack noalloc noexec nowrite progbits
section .text

; One stub for each vector, 16 bytes apart. It pushes an error code (0 if the CPU pushed none) and
; the vector.
global idt_stubs:function hidden
align 16
idt_stubs:
%assign vector 0
%rep 256
	align 16
	%if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	push	qword 0
	%endif
	push	qword vector
	jmp	idt_common
	%assign vector vector + 1
%endrep

; Builds struct idt_frame and calls interrupt_dispatch(frame). The CPU aligned the stack to 16 bytes
; before its own pushes; the stub's and these pushes are 16 quadwords in all.
align 16
idt_common:
	push	rax
	push	rcx
	push	rdx
	push	rbx
	push	rbp
	push	rsi
	push	rdi
	push	r8
	push	r9
	push	r10
	push	r11
	push	r12
	push	r13
	push	r14
	push	r15
	cld
	xor	eax, eax		; it may be a word of a key: no function can store it
	mov	rdi, rsp
	call	interrupt_dispatch
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	r11
	pop	r10
	pop	r9
	pop	r8
	pop	rdi
	pop	rsi
	pop	rbp
	pop	rbx
	pop	rdx
	pop	rcx
	pop	rax
	mov	qword [rsp - 8], 0	; it may be a word of a key (master_key.asm)
	add	rsp, 16
	iretq
