; SPDX-License-Identifier: Apache-2.0
; void switch_task(void): leaves 64-bit mode for 32-bit protected mode without paging, and switches
; to a task. It cannot return to C code: the task halts with interrupts off.

section .text
global switch_task
bits 64
switch_task:
	mov eax, first_task
	or [task_gdt + 0x18 + 2], eax	; base 23:0; the image lies below 16 MiB
	mov eax, other_task
	or [task_gdt + 0x20 + 2], eax
	lgdt [task_gdt_register]
	push 0x08
	push compatible
	retfq

bits 32
compatible:
	mov eax, 0x10
	mov ds, eax
	mov ss, eax
	mov eax, cr0
	and eax, 0x7fffffff
	mov cr0, eax			; paging off: leaves long mode
	mov ecx, 0xc0000080
	rdmsr
	and eax, ~(1 << 8)
	wrmsr
	mov eax, 0x18
	ltr ax
	jmp 0x20:0
the_task:
	hlt
	jmp the_task

section .data
align 8
task_gdt:
	dq 0
	dq 0x00cf9b000000ffff		; 08h: code, 32 bits
	dq 0x00cf93000000ffff		; 10h: data
	dq 0x0000890000000067		; 18h: a 32-bit TSS, whose base is set at run time
	dq 0x0000890000000067		; 20h: the other task's
task_gdt_register:
	dw task_gdt_register - task_gdt - 1
	dq task_gdt
first_task:
	times 104 db 0
other_task:
	times 0x20 db 0
	dd the_task, 2			; EIP, EFLAGS
	times 0x20 db 0
	dd 0, 0x08, 0x10, 0x10, 0, 0	; ES, CS, SS, DS, FS, GS
	dd 0, 104 << 16			; LDT; no I/O permission bitmap
