; SPDX-License-Identifier: Apache-2.0
; The change to the bootstrap tables and back (bootstrap_priv.h), and the entry points of their IDT.

%include "vmm/host/asm_offsets.inc"

bits 64
default rel

extern bootstrap_complain

section .text

; void bootstrap_run(struct bootstrap *b, void *stack_top,
;                    uint64_t (*fn)(struct bootstrap *b, uint64_t arg), uint64_t arg)
;
; An NMI may come between any two instructions. Both sets of tables map the code, both GDTs and IDTs
; and the bootstrap stack. So descriptor tables and stack change first and the page tables last; on
; the way back the page tables come first. No register holds data of a guest or a cipher at the
; start of fn, so fn cannot save any on the bootstrap stack.
global bootstrap_run:function hidden
bootstrap_run:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	sub	rsp, 24
	sgdt	[rsp]
	sidt	[rsp + 10]
	mov	rbp, rsp
	mov	r12, cr4
	lgdt	[rdi + BOOTSTRAP_GDT]
	lidt	[rdi + BOOTSTRAP_IDT]
	mov	rsp, rsi
	mov	rax, [rdi + BOOTSTRAP_ROOT]
	mov	cr3, rax
	mov	rax, r12
	and	rax, ~CR4_PGE
	mov	cr4, rax		; SDM vol. 3, "Invalidation of TLBs": all of them
	mov	rsi, rcx
	xor	ebx, ebx
	xor	r13d, r13d
	xor	r14d, r14d
	xor	r15d, r15d
	call	rdx
	mov	cr3, rax
	mov	cr4, r12
	mov	rsp, rbp
	lgdt	[rsp]
	lidt	[rsp + 10]
	add	rsp, 24
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	ret

; The gates of the bootstrap IDT. They run on the current stack.
global bootstrap_nmi:function hidden, bootstrap_exception:function hidden
bootstrap_nmi:
	iretq
bootstrap_exception:
	cld
	and	rsp, ~15
	sub	rsp, 16
	sidt	[rsp]
	mov	rdi, [rsp + 2]		; the bootstrap IDT's address: variables may be unmapped
	call	bootstrap_complain	; does not return
	ud2
