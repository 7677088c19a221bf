; SPDX-License-Identifier: Apache-2.0
; One IRETQ from a frame on pages of its own.
bits 64
default rel
section .text

; void iret_far(const void *iretq, uint64_t *frame, void (*before)(void))
; Returns by the frame (RIP, CS, RFLAGS, RSP, SS), whose RIP and RSP are filled in here; `before` is
; called when all is ready.
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

; Instructions that trap, two bytes each.
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
