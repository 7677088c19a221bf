; SPDX-License-Identifier: Apache-2.0
; A tiny guest is a bzImage: this header, so that the same loader as for Linux starts it, then code
; linked to run at 1 MiB. The hypervisor enters it by the 64-bit protocol. The 16- and 32-bit
; entries let other boot loaders run the same file (qemu -kernel). Boot protocol: Linux,
; Documentation/arch/x86/boot.rst.

extern guest_start
extern load_paragraphs, load_bytes, load_address, bss_start, bss_end, stack_top

; --- First 1024 bytes of the file: what a loader reads ---
section .setup progbits alloc exec write
setup:
	times 0x1f1 db 0
	db 1				; setup_sects: one in addition to the boot sector
	dw 0				; root_flags
	dd load_paragraphs		; syssize
	dw 0, 0, 0
	dw 0xaa55
entry16:
	db 0xeb, header_end - header	; jump over the header
header:
	db "HdrS"
	dw 0x020f			; version
	dd 0
	dw 0, 0
	db 0				; type_of_loader
	db 1				; loadflags: LOADED_HIGH
	dw 0
	dd load_address			; code32_start
	dd 0, 0				; initrd
	dd 0
	dw 0
	db 0, 0
	dd 0				; cmd_line_ptr
	dd 0x7fffffff			; initrd_addr_max
	dd 0x1000			; kernel_alignment
	db 0				; relocatable_kernel: no
	db 12				; min_alignment
	dw 1				; xloadflags: XLF_KERNEL_64
	dd 2047				; cmdline_size
	dd 0
	dq 0
	dd 0, 0
	dq 0				; setup_data
	dq load_address			; pref_address
	dd load_bytes			; init_size
	dd 0
header_end:

bits 16
	cli
	mov ax, cs			; entered at CS = segment of `setup` + 20h
	mov ds, ax
	movzx esi, ax
	shl esi, 4
	lea eax, [esi + gdt32 - entry16]
	mov [gdt32_register + 2 - entry16], eax
	sub esi, 0x200			; boot_params has the header at this offset
	o32 lgdt [gdt32_register - entry16]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword 0x10:load_address
align 8
gdt32:	dq 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt32_register:
	dw 31
	dd 0
	times 1024 - ($ - setup) db 0

; --- 1 MiB: 32-bit entry; at 200h the 64-bit entry ---
section .entry progbits alloc exec write
bits 32
entry32:
	mov eax, 0x18
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov edi, boot_tables		; one to one, four GiB in 2-MiB pages
	mov ecx, 6 * 1024
	xor eax, eax
	rep stosd
	mov dword [boot_tables], boot_tables + 0x1003
	mov edi, boot_tables + 0x1000
	mov eax, boot_tables + 0x2003
	mov ecx, 4
.directories:
	mov [edi], eax
	add edi, 8
	add eax, 0x1000
	loop .directories
	mov edi, boot_tables + 0x2000
	mov eax, 0x83
	mov ecx, 2048
.pages:
	mov [edi], eax
	add edi, 8
	add eax, 0x200000
	loop .pages
	mov eax, boot_tables
	mov cr3, eax
	mov eax, cr4
	or eax, 1 << 5			; PAE
	mov cr4, eax
	mov ecx, 0xc0000080
	rdmsr
	or eax, 1 << 8			; LME
	wrmsr
	mov eax, cr0
	or eax, 1 << 31
	mov cr0, eax
	lgdt [gdt_register]
	jmp 0x08:entry64
	times 0x200 - ($ - entry32) db 0xf4

bits 64
global entry64
entry64:
	cli
	cld
	lgdt [gdt_register]
	mov eax, 0x10
	mov ds, eax
	mov es, eax
	mov ss, eax
	xor eax, eax
	mov fs, eax
	mov gs, eax
	mov esp, stack_top
	push 0x08
	push .reloaded
	retfq
.reloaded:
	mov edi, bss_start
	mov ecx, bss_end
	sub ecx, edi
	rep stosb
	mov rdi, rsi
	call guest_start
.stop:	cli
	hlt
	jmp .stop

section .data
; Code 08, data 10, user code 1B, user data 23, TSS 28 (filled in by runtime.c), 16-bit code 38 and
; data 40.
align 16
global gdt
gdt:	dq 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00affb000000ffff, 0x00cff3000000ffff, 0, 0
	dq 0x00009b000000ffff, 0x000093000000ffff
gdt_register:
	dw gdt_register - gdt - 1
	dq gdt

section .tables nobits alloc write align=4096
boot_tables:
	resb 6 * 4096
