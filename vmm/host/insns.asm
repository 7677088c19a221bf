; SPDX-License-Identifier: Apache-2.0
; The few routines that C cannot express: instructions that may fault and are fixed up, calls into
; firmware, the change of page tables and stack.

%include "vmm/host/asm_offsets.inc"

bits 64
default rel

section .text

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

; Instructions that may fault. On a #GP at *_insn, interrupts.c (expected_faults) continues at
; *_fault.

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

; int firmware_call(void *function, a, b, c, d, e): uses a separate stack, because the caller's may
; be nearly full. While firmware_stack is not 0, interrupts.c continues any exception at
; firmware_fault, with that stack.
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

section .bss
align 16
		resb 32768		; UEFI requires 4 KiB ("x64 Platforms", runtime)
firmware_stack_top:
