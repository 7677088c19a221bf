; SPDX-License-Identifier: Apache-2.0
; One IRETQ with its frame on separate pages.
bits 64
default rel
section .text

; void iret_far(const void *iretq, uint64_t *frame, void (*before)(void))
;
; Returns with the frame (RIP, CS, RFLAGS, RSP, SS), and fills in its RIP and RSP; calls `before`
; when all is ready.
global iret_far, iret_back
iret_far:
	push rbx
	push rbp
	push r12
	mov rbx, rdi
	mov rbp, rsi
	lea rax, [iret_back]
	mov [rbp], rax
	mov [rbp + 24], rsp
	call rdx
	mov rsp, rbp
	jmp rbx
iret_back:
	pop r12
	pop rbp
	pop rbx
	ret

; Two-byte instructions that trap.
global ud_code, gp_code, np_code, pf_code, int_code, iret_code, deliver_code_end
ud_code:
	ud2
	ret
gp_code:
	mov fs, eax
	ret
pf_code:
	mov al, [rdi]
	ret
int_code:
	int 0x77
	ret
iret_code:
	iretq
deliver_code_end:
