; SPDX-License-Identifier: Apache-2.0
; AES-XTS by AES-NI and PCLMULQDQ, eight blocks at once. The legacy encodings keep bits 511:128 of
; the registers.
%include "crypto/page_xts.inc"

section .rodata align=16
reduce:	dq	0x87, 1			; x^128 = x^7 + x^2 + x + 1, and the carry between halves

section .text

; Multiplies register %1 by x. xmm0 is overwritten.
%macro DOUBLE 1
	pshufd	xmm0, %1, 0x13		; the top bit of each half, moved to where it carries
	psrad	xmm0, 31
	pand	xmm0, [reduce]
	paddq	%1, %1
	pxor	%1, xmm0
%endmacro

; One instruction for each of the eight blocks in xmm0-7.
%macro BLOCKS 2
%assign b 0
%rep 8
	%1	xmm %+ b, %2
%assign b b + 1
%endrep
%endmacro

%macro STORE 1
%assign b 0
%rep 8
	%1	[r10 + rax + 16 * b], xmm %+ b
%assign b b + 1
%endrep
%endmacro

%macro KERNEL 3
global %3
%3:
	ENTER	%1
	ITEM_BEGIN %1
	movdqu	xmm8, [rdx + ITEM_TWEAK]
	pxor	xmm8, [rsi]
%assign r 1
%rep %2 - 1
	aesenc	xmm8, [rsi + 16 * r]
%assign r r + 1
%endrep
	aesenclast xmm8, [rsi + 16 * %2]
%assign t 9
%rep 7					; tweaks in xmm8-15
%assign s t - 1
	movdqa	xmm %+ t, xmm %+ s
	DOUBLE	xmm %+ t
%assign t t + 1
%endrep
	GROUP_BEGIN
%assign b 0
%rep 8
%assign t b + 8
	movdqa	xmm %+ b, [r9 + rax + 16 * b]
	pxor	xmm %+ b, xmm %+ t
%assign b b + 1
%endrep
	BLOCKS	pxor, [rdi]
%assign r 1
%rep %2 - 1
	BLOCKS	aes%1, [rdi + 16 * r]
%if r == 6
	FETCH	0
%elif r == 7
	FETCH	64
%endif
%assign r r + 1
%endrep
	BLOCKS	aes%1last, [rdi + 16 * %2]
%assign b 0
%rep 8
%assign t b + 8
	pxor	xmm %+ b, xmm %+ t
%assign b b + 1
%endrep
%ifidn %1, enc
	test	ebp, ebp
	jz	.past_cache
%endif
	STORE	movdqa
.stored:
%assign b 0
%rep 8					; multiplies each tweak by x^8, independently
%assign t b + 8
	movdqa	xmm %+ b, xmm %+ t
	psrldq	xmm %+ b, 15
	pslldq	xmm %+ t, 1
	pclmulqdq xmm %+ b, [reduce], 0x00
	pxor	xmm %+ t, xmm %+ b
%assign b b + 1
%endrep
	ITEM_END %1, 128
%ifidn %1, enc
.past_cache:
	STORE	movntdq
	jmp	.stored
%endif
%endmacro

	KERNELS	page_xts_aesni
