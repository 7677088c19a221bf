; SPDX-License-Identifier: Apache-2.0
; The first instructions of an application processor (SDM vol. 3, "MP Initialization Protocol").
; smp.c copies this code to a page below 1 MiB, fills in the parameters, and sends INIT and SIPI.
; The CPU goes from real mode to long mode in one step, on the bootstrap page tables, which lie
; below 4 GiB at KeyID 0. In long mode CR3 has 64 bits: there the CPU changes to the hypervisor's
; own tables and calls C.

%include "vmm/host/asm_offsets.inc"

section .rodata
global ap_trampoline:data hidden, ap_trampoline_long:data hidden
global ap_trampoline_params:data hidden, ap_trampoline_end:data hidden

%define AT(label) ((label) - ap_trampoline)
%define PARAM(name) (AT(ap_trampoline_params) + name)

align 16
bits 16
; CS = page >> 4, IP = 0, everything else undefined.
ap_trampoline:
	cli
	cld
	mov	ax, cs
	mov	ds, ax
	mov	dword [PARAM(AP_STAGE)], AP_STAGE_REAL
	cmp	dword [PARAM(AP_CLEAR_XD)], 0
	je	.nx_on
	mov	ecx, MSR_IA32_MISC_ENABLE
	rdmsr
	and	edx, ~4			; bit 34: XD bit disable
	wrmsr
.nx_on:
	; CR4.LA57 can only be changed while paging is off.
	mov	eax, [PARAM(AP_CR4)]
	mov	cr4, eax
	mov	eax, [PARAM(AP_CR3)]
	mov	cr3, eax
	mov	ecx, MSR_IA32_EFER
	xor	edx, edx
	mov	eax, [PARAM(AP_EFER)]
	wrmsr
	o32 lgdt [PARAM(AP_GDT_REGISTER)]
	mov	eax, [PARAM(AP_CR0)]
	mov	cr0, eax		; protection and paging at once: long mode
	jmp	dword far [PARAM(AP_ENTRY64)]

bits 64
default rel
ap_trampoline_long:
	mov	eax, HOST_DS_SELECTOR
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	xor	eax, eax
	mov	fs, eax
	mov	gs, eax
	mov	dword [ap_trampoline_params + AP_STAGE], AP_STAGE_LONG
	mov	rax, [ap_trampoline_params + AP_OWN_CR3]
	mov	cr3, rax		; both sets of tables map this page
	mov	rsp, [ap_trampoline_params + AP_STACK]
	mov	rdi, [ap_trampoline_params + AP_CPU]
	xor	ebp, ebp
	call	[ap_trampoline_params + AP_MAIN]
	ud2

align 8
ap_trampoline_params:
	times AP_PARAMS_BYTES db 0
ap_trampoline_end:
