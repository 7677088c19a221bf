; SPDX-License-Identifier: Apache-2.0
; Changes from firmware's stack to ours.

bits 64
default rel
section .text

; void boot_enter(struct boot_info *info, void *stack_top, void (*fn)(struct boot_info *))
; In: rdi = info, rsi = stack_top (16-aligned), rdx = fn. Does not return.
global boot_enter:function hidden
boot_enter:
	cli
	cld
	mov	rsp, rsi
	xor	ebp, ebp
	call	rdx
	ud2
