; SPDX-License-Identifier: Apache-2.0
; VM entry and VM exit, as a function that returns.
default rel
bits 64

%include "vmm/asm_offsets.inc"

section .text

; uint32_t vmx_enter(struct vcpu *vcpu, struct vcpu_private *priv, bool launched)
; in:  rdi, rsi, dl; interrupts off, the vCPU's VMCS current, its other state loaded
; out: eax = enum vmx_enter_result; guest's general registers in vcpu->regs after an exit
;
; Callee-saved registers are kept. All others are cleared after an exit, so that the guest's values
; in them cannot be used speculatively. The red zone is not used anywhere, so HOST_RSP may be just
; below the saved registers.
global vmx_enter
vmx_enter:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	push	rdi
	cmp	rsp, [rsi + PRIV_HOST_RSP]
	je	.host_rsp_known
	mov	eax, FIELD_HOST_RSP
	vmwrite	rax, rsp
	jbe	.failed
	mov	[rsi + PRIV_HOST_RSP], rsp
.host_rsp_known:
	test	dl, dl			; ZF is used by the jump below: MOV changes no flags
	mov	rax, [rdi + VCPU_RAX]
	mov	rcx, [rdi + VCPU_RCX]
	mov	rdx, [rdi + VCPU_RDX]
	mov	rbx, [rdi + VCPU_RBX]
	mov	rbp, [rdi + VCPU_RBP]
	mov	rsi, [rdi + VCPU_RSI]
	mov	r8, [rdi + VCPU_R8]
	mov	r9, [rdi + VCPU_R9]
	mov	r10, [rdi + VCPU_R10]
	mov	r11, [rdi + VCPU_R11]
	mov	r12, [rdi + VCPU_R12]
	mov	r13, [rdi + VCPU_R13]
	mov	r14, [rdi + VCPU_R14]
	mov	r15, [rdi + VCPU_R15]
	mov	rdi, [rdi + VCPU_RDI]
	jz	.launch
	vmresume
	jmp	.failed
.launch:
	vmlaunch
.failed:				; CF: no current VMCS; else ZF: error number in the VMCS
	mov	eax, ENTER_FAIL_INVALID
	mov	ecx, ENTER_FAIL_VALID
	cmovnc	eax, ecx
	pop	rdi
	jmp	vmx_enter_return

; HOST_RIP points here. The stack is as at VM entry: [rsp] = vcpu.
global vmx_exit_entry
vmx_exit_entry:
	xchg	rdi, [rsp]
	mov	[rdi + VCPU_RAX], rax
	mov	[rdi + VCPU_RCX], rcx
	mov	[rdi + VCPU_RDX], rdx
	mov	[rdi + VCPU_RBX], rbx
	mov	[rdi + VCPU_RBP], rbp
	mov	[rdi + VCPU_RSI], rsi
	mov	[rdi + VCPU_R8], r8
	mov	[rdi + VCPU_R9], r9
	mov	[rdi + VCPU_R10], r10
	mov	[rdi + VCPU_R11], r11
	mov	[rdi + VCPU_R12], r12
	mov	[rdi + VCPU_R13], r13
	mov	[rdi + VCPU_R14], r14
	mov	[rdi + VCPU_R15], r15
	pop	qword [rdi + VCPU_RDI]
	xor	eax, eax		; ENTER_EXITED
	xor	ecx, ecx
	xor	edx, edx
	xor	esi, esi
	xor	r8d, r8d
	xor	r9d, r9d
	xor	r10d, r10d
	xor	r11d, r11d
vmx_enter_return:
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	; The guest's entries in the return stack buffer are newer than the CALL of this function.
	; They must not predict the RET, so the CALL here puts an entry on top of them (Intel,
	; "Retpoline: A Branch Target Injection Mitigation"; for the LFENCE see "Post-barrier Return
	; Stack Buffer Predictions"). Wrongly predicted execution ends in the trap.
	call	.own
.trap:
	pause
	lfence
	jmp	.trap
.own:
	lfence
	add	rsp, 8
	ret

; void vmx_fill_rsb(void): fills the return stack buffer with 32 entries, because the CALLs of the
; RETs that follow were executed before the guest ran. Changes RAX and flags.
global vmx_fill_rsb
vmx_fill_rsb:
	mov	eax, 16
.next:
	call	.second
.trap_first:
	pause
	lfence
	jmp	.trap_first
.second:
	call	.filled
.trap_second:
	pause
	lfence
	jmp	.trap_second
.filled:
	dec	eax
	jnz	.next
	lfence
	add	rsp, 32 * 8
	ret

%if ENTER_EXITED != 0
%error "the zeroed eax above is the result"
%endif
