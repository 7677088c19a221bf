; SPDX-License-Identifier: Apache-2.0
; Code that C cannot express: CPL 3, and the way into a guest and out of it.
default rel
bits 64
section .text

; void load_segments(const void *gdtr, uint16_t code, uint16_t data)
global load_segments:function hidden
load_segments:
	lgdt [rdi]
	mov ds, edx
	mov es, edx
	mov ss, edx
	pop rax
	push rsi
	push rax
	retfq

%macro PUSH_CALLEE 0
	push rbx
	push rbp
	push r12
	push r13
	push r14
	push r15
%endmacro
%macro POP_CALLEE 0
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbp
	pop rbx
%endmacro

; void user_enter(void (*code)(void), void *stack_top, uint64_t *rsp0): calls code at CPL 3; a trap
; there returns through user_back with the stack of *rsp0.
global user_enter:function hidden
global user_back:function hidden
user_enter:
	PUSH_CALLEE
	mov [rdx], rsp
	push 0x23
	push rsi
	push 2
	push 0x1b
	push rdi
	iretq
user_back:
	POP_CALLEE
	ret

; void call_caught(void (*code)(void), volatile uint64_t *catch_rip, uint64_t *rsp0): a trap in it
; continues at user_back with the stack of *rsp0.
global call_caught:function hidden
call_caught:
	PUSH_CALLEE
	mov [rdx], rsp
	mov rbx, rsi
	lea rax, [user_back]
	mov [rbx], rax
	sub rsp, 8
	call rdi
	add rsp, 8
	mov qword [rbx], 0
	POP_CALLEE
	ret

; int vmx_enter(uint64_t regs[16]): launches the guest with RAX RCX RDX RBX - RSI RDI from regs, and
; stores them at its exit; returns 1 if VM entry failed, else 0.
VMCS_HOST_RSP equ 0x6c14
VMCS_HOST_RIP equ 0x6c16
global vmx_enter:function hidden
vmx_enter:
	PUSH_CALLEE
	push rdi
	mov eax, VMCS_HOST_RSP
	vmwrite rax, rsp
	mov eax, VMCS_HOST_RIP
	lea rcx, [.exit]
	vmwrite rax, rcx
	mov rax, [rdi]
	mov rcx, [rdi + 8]
	mov rdx, [rdi + 16]
	mov rbx, [rdi + 24]
	mov rsi, [rdi + 40]
	mov rdi, [rdi + 48]
	vmlaunch
	pop rdi
	mov eax, 1
	POP_CALLEE
	ret
.exit:
	xchg rdi, [rsp]
	mov [rdi], rax
	mov [rdi + 8], rcx
	mov [rdi + 16], rdx
	mov [rdi + 24], rbx
	mov [rdi + 40], rsi
	pop qword [rdi + 48]
	xor eax, eax
	POP_CALLEE
	ret

; A guest's function returns to this.
global guest_return:function hidden
guest_return:
	vmcall
	jmp guest_return

; Raw instructions at CPL 3 or under try_call.
global insn_pconfig:function hidden
global insn_lock_pconfig:function hidden
global insn_66_pconfig:function hidden
global insn_f3_pconfig:function hidden
global insn_f2_pconfig:function hidden
insn_pconfig:
	xor eax, eax
	lea rbx, [no_key]
	db 0x0f, 0x01, 0xc5
	ret
insn_lock_pconfig:
	xor eax, eax
	lea rbx, [no_key]
	db 0xf0, 0x0f, 0x01, 0xc5
	ret
insn_66_pconfig:
	xor eax, eax
	lea rbx, [no_key]
	db 0x66, 0x0f, 0x01, 0xc5
	ret
insn_f3_pconfig:
	xor eax, eax
	lea rbx, [no_key]
	db 0xf3, 0x0f, 0x01, 0xc5
	ret
insn_f2_pconfig:
	xor eax, eax
	lea rbx, [no_key]
	db 0xf2, 0x0f, 0x01, 0xc5
	ret

section .bss align=256
no_key:	resb 256			; KeyID 0, which PCONFIG refuses

section .note.GNU-stack noalloc noexec nowrite progbits
