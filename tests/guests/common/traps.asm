; SPDX-License-Identifier: Apache-2.0
; Exceptions and interrupts of bare programs, the tiny guests and machine/rows: struct trap_frame on
; the stack, then trap_entry() in C. default rel, because the rows may be anywhere in memory.
default rel
bits 64
section .text

extern trap_entry
%macro VECTOR_STUB 1
	%if %1 != 8 && %1 != 17 && %1 != 21 && (%1 < 10 || %1 > 14) ; the CPU pushes no error code
	push 0
	%endif
	push %1
	jmp near trap_common
	align 16
%endmacro

align 16
global trap_stubs:data hidden
trap_stubs:				; 16 bytes each
%assign v 0
%rep 256
	VECTOR_STUB v
	%assign v v + 1
%endrep

trap_common:
	push rax
	push rcx
	push rdx
	push rbx
	push rbp
	push rsi
	push rdi
	push r8
	push r9
	push r10
	push r11
	push r12
	push r13
	push r14
	push r15
	mov rdi, rsp
	mov rbx, rsp
	and rsp, -16
	cld
	call trap_entry
	mov rsp, rbx
	pop r15
	pop r14
	pop r13
	pop r12
	pop r11
	pop r10
	pop r9
	pop r8
	pop rdi
	pop rsi
	pop rbp
	pop rbx
	pop rdx
	pop rcx
	pop rax
	add rsp, 16
	iretq

section .note.GNU-stack noalloc noexec nowrite progbits
