; SPDX-License-Identifier: Apache-2.0
; A CPU that raises #AC for ever: in ring 3 of 32-bit protected mode, with a stack that is not
; aligned and a handler in the same ring, so that delivery itself pushes to that stack. No
; instruction and no interrupt comes in between. Started by a SIPI at AC_BASE, to which main.c
; copies it.

%define AC_BASE 0x6000
%define AT(label) (AC_BASE + (label - ac_blob))
%define EFLAGS_AC (1 << 18)
%define CR0_AM (1 << 18)

section .rodata
global ac_blob, ac_blob_end
ac_blob:
bits 16
	cli
	xor ax, ax
	mov ds, ax
	o32 lgdt [AT(gdt_register)]
	o32 lidt [AT(idt_register)]
	mov eax, cr0
	or eax, 1 | CR0_AM
	mov cr0, eax
	jmp dword 0x08:AT(protected)
bits 32
protected:
	mov eax, 0x10
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov esp, AC_BASE
	push 0x23
	push AC_BASE - 0x101
	push EFLAGS_AC | 2
	push 0x1b
	push AT(ring3)
	iretd
ring3:	push eax
handler:				; never reached
	inc dword [AT(reached)]
	jmp handler

align 8
gdt:	dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
gdt_register:
	dw 5 * 8 - 1
	dd AT(gdt)
align 8
idt:	times 17 dq 0
	dw AT(handler), 0x1b, 0xee00, 0	; 17: 32-bit interrupt gate, DPL 3
idt_register:
	dw 18 * 8 - 1
	dd AT(idt)
align 4
reached:
	dd 0
ac_blob_end:
