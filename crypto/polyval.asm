; SPDX-License-Identifier: Apache-2.0
; Tags of sealed pages, by PCLMULQDQ in xmm registers (legacy encodings, which keep bits 511:128
; of the registers). Where the CPU has VPCLMULQDQ they are made together with the ciphertext
; (polyval.inc). Each kernel is a function
;   void NAME(const struct page_mac_key *key, const uint8_t *round_keys,
;             struct page_mac_item *item)
; in:  rdi: the powers of H, and MAC_HALVES bytes behind each power the sum of its halves;
;      rsi: the round keys of AES-256, aligned to 16 bytes; rdx: the item
; out: the item's tag, and a copy of its page; clobbers rax, r8, r10, r11 and vector registers,
;      which the caller saves and restores (crypto/simd.h)
; No branch and no address depends on keys or data. Each byte of the page is loaded once, and what
; is hashed is what is stored.
;
; 64 blocks are multiplied by H^64 to H and added before one reduction. Register 0 holds the sum of
; the products' low parts, 1 that of the high parts, 2 that of the middle parts (Karatsuba), 3 the
; hash so far, which is added to the next group's first block. 4 to 7 are scratch.
default rel
bits 64

%include "crypto/asm_offsets.inc"

section .note.GNU-stack noalloc noexec nowrite progbits

GROUP_BYTES	equ 1024

section .rodata align=16
fold:	times 2 dq 0xc200000000000000	; x^63 + x^62 + x^57: see page_mac.c

section .text

; Multiplies xmm4 by the power at rdi + %1, and adds. xmm4 to xmm7 are overwritten.
%macro MULTIPLY_X 1
	movdqa	xmm5, [rdi + %1]
	pshufd	xmm6, xmm4, 0x4e
	movdqa	xmm7, xmm4
	pxor	xmm6, xmm4
	pclmulqdq xmm7, xmm5, 0x00
	pclmulqdq xmm4, xmm5, 0x11
	pclmulqdq xmm6, [rdi + %1 + MAC_HALVES], 0x00
	pxor	xmm0, xmm7
	pxor	xmm1, xmm4
	pxor	xmm2, xmm6
%endmacro

%macro CLEAR_X 0
	pxor	xmm0, xmm0
	pxor	xmm1, xmm1
	pxor	xmm2, xmm2
%endmacro

; xmm3 = the sum of the products, modulo the field's polynomial, times x^-128.
%macro REDUCE_X 0
	pxor	xmm2, xmm0
	pxor	xmm2, xmm1
	movdqa	xmm4, xmm2
	pslldq	xmm4, 8
	psrldq	xmm2, 8
	pxor	xmm0, xmm4
	pxor	xmm1, xmm2
	movdqa	xmm4, xmm0
	pclmulqdq xmm4, [fold], 0x00
	pshufd	xmm4, xmm4, 0x4e
	pxor	xmm4, xmm0
	pxor	xmm1, xmm4
	pclmulqdq xmm4, [fold], 0x11
	movdqa	xmm3, xmm1
	pxor	xmm3, xmm4
%endmacro

; %1: the name; %2: the instruction that stores.
%macro KERNEL_X 2
global %1
%1:
	mov	r10, [rdx + MAC_IN]
	mov	r11, [rdx + MAC_OUT]
	mov	r8, [rdx + MAC_BYTES]
	CLEAR_X
	movdqu	xmm4, [rdx + MAC_NAME]
	MULTIPLY_X GROUP_BYTES - 32
	movdqu	xmm4, [rdx + MAC_NAME + 16]
	MULTIPLY_X GROUP_BYTES - 16
	REDUCE_X
	test	r8, r8
	jz	.tag
	align	64
.group:
	CLEAR_X
	xor	eax, eax
.part:
%assign b 0
%rep 8
	movdqa	xmm4, [r10 + rax + 16 * b]
	%2	[r11 + rax + 16 * b], xmm4
%if b == 0
	pxor	xmm4, xmm3
	pxor	xmm3, xmm3
%endif
	MULTIPLY_X rax + 16 * b
%assign b b + 1
%endrep
	add	eax, 8 * 16
	cmp	eax, GROUP_BYTES
	jb	.part
	REDUCE_X
	add	r10, rax
	add	r11, rax
	sub	r8, rax
	jnz	.group
.tag:
	pxor	xmm3, [rsi]
%assign r 1
%rep 13
	aesenc	xmm3, [rsi + 16 * r]
%assign r r + 1
%endrep
	aesenclast xmm3, [rsi + 16 * 14]
	movdqu	[rdx + MAC_TAG], xmm3
%ifidn %2, movntdq
	sfence
%endif
	ret
%endmacro

	KERNEL_X page_mac_xmm, movdqa
	KERNEL_X page_mac_xmm_past, movntdq
