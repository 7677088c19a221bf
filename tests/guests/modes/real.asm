; SPDX-License-Identifier: Apache-2.0
; From 64-bit mode down to real mode and back. Runs at REAL_BASE below 1 MiB, to which the caller
; has copied it. void trip(void): keeps the callee-saved registers. In real mode it uses exits of
; several kinds, software interrupts, and data segments of 4 GiB that survive from protected mode.

%define REAL_BASE 0x8000
%define AT(label) (REAL_BASE + (label - real_blob))

section .rodata
global real_blob, real_blob_end
real_blob:
bits 64
	push rbx
	push rbp
	push r12
	push r13
	push r14
	push r15
	sidt [AT(saved_idt)]
	mov [AT(saved_rsp)], rsp
	cli
	push 0x38			; 16-bit code
	push AT(compatible)
	retfq

bits 16
compatible:
	mov ax, 0x40			; 16-bit data
	mov ss, ax
	mov esp, REAL_BASE
	mov eax, cr0
	mov [AT(saved_cr0)], eax	; DS: flat from 64-bit mode
	and eax, 0x7fffffff
	mov cr0, eax			; paging off: leaves long mode
	mov ecx, 0xc0000080
	rdmsr
	and eax, ~(1 << 8)
	wrmsr
	mov ax, 0x10			; 4 GiB, kept in real mode
	mov ds, ax
	mov es, ax
	mov eax, cr0
	and al, 0xfe
	mov cr0, eax
	jmp 0:AT(real)

real:	lidt [AT(real_idt)]
	xor ax, ax
	mov ss, ax
	mov esp, REAL_BASE
	mov word [0x21 * 4], AT(handler)
	mov word [0x21 * 4 + 2], 0
	mov esi, 300
.again:
	xor eax, eax
	cpuid
	in al, 0x80
	mov dx, 0x3ff			; the UART's scratch register
	mov ax, si
	out dx, al
	int 0x21
	dec esi
	jnz .again
	mov edi, 0x200000		; beyond 64 KiB and 1 MiB: through the 4-GiB limit of ES
	mov dword [es:edi], 0x600df00d
	mov eax, [es:edi]
	mov [AT(big)], eax
	mov edi, 0xfec00000		; I/O APIC, from real mode
	mov dword [es:edi], 0x1
	mov eax, [es:edi]
	mov [AT(device)], eax
	pushf
	or word [esp], 0x4000		; NT has no effect here
	popf
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp 0x38:AT(protected)
handler:
	inc dword [AT(interrupts)]
	iret

protected:
	mov ecx, 0xc0000080
	rdmsr
	or eax, 1 << 8
	wrmsr
	mov eax, [AT(saved_cr0)]
	mov cr0, eax			; paging on: long mode, compatible
	jmp dword 0x08:AT(long_again)
bits 64
long_again:
	mov eax, 0x10
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov rsp, [AT(saved_rsp)]
	lidt [AT(saved_idt)]
	push 2
	popfq
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbp
	pop rbx
	ret

align 8
real_idt:
	dw 0x3ff
	dd 0
saved_idt:
	dw 0
	dq 0
saved_rsp:
	dq 0
saved_cr0:
	dd 0
; The caller reads these, the last 12 bytes.
interrupts:
	dd 0
big:	dd 0
device:	dd 0
real_blob_end:
