; SPDX-License-Identifier: Apache-2.0
; The first code of a further CPU after its SIPI: real mode at AP_BASE, to which cpus.c copies this
; blob, then 64-bit mode with the paging of the first CPU. Its parameters are at the blob's end.

%define AP_BASE 0x7000
%define AT(label) (AP_BASE + (label - ap_blob))

extern gdt

section .rodata
global ap_blob, ap_blob_end
ap_blob:
bits 16
	cli
	xor ax, ax
	mov ds, ax
	o32 lgdt [AT(gdt_register)]
	mov eax, [AT(start_cr4)]
	mov cr4, eax
	mov eax, [AT(start_cr3)]
	mov cr3, eax
	mov ecx, 0xc0000080
	mov eax, [AT(efer)]
	xor edx, edx
	wrmsr
	mov eax, [AT(start_cr0)]
	mov cr0, eax
	jmp dword 0x08:AT(ap_long)
bits 64
ap_long:
	mov eax, 0x10
	mov ds, eax
	mov es, eax
	mov ss, eax
	xor eax, eax
	mov fs, eax
	mov gs, eax
	mov esp, [AT(stack)]
	mov eax, [AT(entry)]
	call rax
.stop:	cli
	hlt
	jmp .stop

align 8
gdt_register:
	dw 9 * 8 - 1
	dd gdt
	dw 0
; struct ap_start of cpus.c
start_cr0:	dd 0
start_cr3:	dd 0
start_cr4:	dd 0
efer:	dd 0
stack:	dd 0
entry:	dd 0
ap_blob_end:
