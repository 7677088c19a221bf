; SPDX-License-Identifier: Apache-2.0
; The entry points of exceptions and interrupts, and the few routines that C cannot express:
; instructions that may fault and are fixed up, calls into firmware, the change of page tables and
; stack.

%include "vmm/host/asm_offsets.inc"

bits 64
default rel

extern idt_dispatch, panic_frame, panic_text

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

; Builds struct idt_frame and calls idt_dispatch(frame). The CPU aligned the stack to 16 bytes
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
	mov	rdi, rsp
	call	idt_dispatch
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
	add	rsp, 16
	iretq

; void gdt_load(const struct cpu_table_register *gdt): loads the GDT and all segment registers.
; Clobbers RAX. GS base becomes 0.
global gdt_load:function hidden
gdt_load:
	lgdt	[rdi]
	mov	eax, HOST_DS_SELECTOR
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	xor	eax, eax
	mov	fs, eax
	mov	gs, eax
	lldt	ax
	pop	rax
	push	qword HOST_CS_SELECTOR
	push	rax
	retfq

; Instructions that may fault. On a #GP at *_insn, idt.c (expected_faults) continues at *_fault.

; int msr_read_safe(uint32_t msr, uint64_t *value)
global msr_read_safe:function hidden, msr_read_insn:function hidden, msr_read_fault:function hidden
msr_read_safe:
	mov	ecx, edi
msr_read_insn:
	rdmsr
	shl	rdx, 32
	or	rax, rdx
	mov	[rsi], rax
	xor	eax, eax
	ret
msr_read_fault:
	mov	qword [rsi], 0
	mov	eax, ERR_NOTFOUND
	ret

; int msr_write_safe(uint32_t msr, uint64_t value)
global msr_write_safe:function hidden, msr_write_insn:function hidden
global msr_write_fault:function hidden
msr_write_safe:
	mov	ecx, edi
	mov	rax, rsi
	mov	rdx, rsi
	shr	rdx, 32
msr_write_insn:
	wrmsr
	xor	eax, eax
	ret
msr_write_fault:
	mov	eax, ERR_NOTFOUND
	ret

; int pconfig_safe(uint32_t leaf, const void *structure, uint64_t *result, bool *refused). PCONFIG
; takes the leaf in EAX and the structure's linear address in RBX.
global pconfig_safe:function hidden, pconfig_insn:function hidden, pconfig_fault:function hidden
pconfig_safe:
	push	rbx
	mov	rbx, rsi
	mov	r8, rdx
	mov	r9, rcx
	mov	eax, edi
pconfig_insn:
	pconfig
	setz	byte [r9]
	mov	[r8], rax
	xor	eax, eax
	pop	rbx
	ret
pconfig_fault:
	mov	qword [r8], 0
	mov	byte [r9], 1
	mov	eax, ERR_NOTFOUND
	pop	rbx
	ret

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

; int firmware_call(void *function, a, b, c, d, e): uses a separate stack, because the caller's may
; be nearly full. While firmware_stack is not 0, idt.c continues any exception at firmware_fault,
; with that stack.
global firmware_call:function hidden, firmware_fault:function hidden, firmware_stack:data hidden
firmware_call:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	mov	rax, rsp
	lea	rsp, [firmware_stack_top - 48]
	mov	[rsp + 40], rax
	mov	[rsp + 32], r9		; MS ABI: above 32 bytes for the callee
	mov	[firmware_stack], rsp
	fninit
	ldmxcsr	[default_mxcsr]
	mov	rax, rdi
	mov	r10, rdx
	mov	r9, r8
	mov	r8, rcx
	mov	rdx, r10
	mov	rcx, rsi
	call	rax
.out:
	cli
	cld
	mov	qword [firmware_stack], 0
	mov	rsp, [rsp + 40]
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	ret
firmware_fault:
	mov	eax, ERR_IO
	jmp	firmware_call.out

; void host_paging_switch(uint64_t cr3, void *stack_top, void (*next)(void)): does not return.
; Between the two moves the CPU only fetches this code, which both sets of tables map.
global host_paging_switch:function hidden
host_paging_switch:
	mov	cr3, rdi
	mov	rsp, rsi
	xor	ebp, ebp
	call	rdx
	ud2

section .rodata
align 4
default_mxcsr:	dd 0x1f80		; SDM vol. 1: the value after reset

section .data
align 8
firmware_stack:	dq 0
panic_noted:	dd 0

section .bss
align 16
		resb 32768		; UEFI requires 4 KiB ("x64 Platforms", runtime)
firmware_stack_top:
