; SPDX-License-Identifier: Apache-2.0
; The master key in DR0 to DR3 (key_store.h). The only code that reads it. Breakpoints are off:
; master_set clears DR7, and a VM exit sets it to 400H. Interrupts are off wherever a general
; register holds a word of the key. An NMI's entry may push RAX, and zeroes that copy when it
; returns (idt_stubs.asm). A machine check's copy is zeroed before its panic (idt_forget_secrets).
bits 64
default rel

section .note.GNU-stack noalloc noexec nowrite progbits
section .text

; Sets xmm0 and xmm1 to the key. Only for the kernels. Overwrites rax, which is 0 then, and the
; flags.
global master_load:function hidden
master_load:
	pushfq
	cli
	mov	rax, dr0
	vmovq	xmm0, rax
	mov	rax, dr1
	vpinsrq	xmm0, xmm0, rax, 1
	mov	rax, dr2
	vmovq	xmm1, rax
	mov	rax, dr3
	vpinsrq	xmm1, xmm1, rax, 1
	xor	eax, eax
	popfq
	ret

; void master_set(const uint64_t key[4]): interrupts off.
global master_set:function hidden
master_set:
	mov	eax, 400h		; firmware may have left a breakpoint
	mov	dr7, rax
	mov	rax, [rdi]
	mov	dr0, rax
	mov	rax, [rdi + 8]
	mov	dr1, rax
	mov	rax, [rdi + 16]
	mov	dr2, rax
	mov	rax, [rdi + 24]
	mov	dr3, rax
	xor	eax, eax
	ret

; void master_copy(uint64_t key[4]): for the other CPUs. Interrupts off.
global master_copy:function hidden
master_copy:
	mov	rax, dr0
	mov	[rdi], rax
	mov	rax, dr1
	mov	[rdi + 8], rax
	mov	rax, dr2
	mov	[rdi + 16], rax
	mov	rax, dr3
	mov	[rdi + 24], rax
	xor	eax, eax
	ret
