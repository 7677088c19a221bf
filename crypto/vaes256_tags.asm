; SPDX-License-Identifier: Apache-2.0
; AES-XTS and the page's tag in one pass, by VAES and VPCLMULQDQ in ymm0-15: see polyval.inc. Data
; is in ymm8-11 and tweaks are in ymm12-15. xmm0 holds the hash so far, ymm1-3 the sums of its
; products. ymm4-6 are scratch, the round key is in ymm7. The code does not mix the hash
; with the rounds: four registers do not fill both units for AES, so the CPU runs the hash beside
; them by itself.
%include "crypto/vaes.inc"
%include "crypto/polyval.inc"

GROUP_BYTES	equ 128

; One instruction for each of the four data registers, with the round key %2.
%macro ROUND 2
	vbroadcasti128 ymm7, [rdi + 16 * %2]
%assign d 8
%rep 4
	%1	ymm %+ d, ymm %+ d, ymm7
%assign d d + 1
%endrep
%endmacro

; Multiplies ymm%1 by the powers at %2, and adds.
%macro HASH 2
	vmovdqu	ymm4, [%2]
	vpclmulqdq ymm5, ymm%1, ymm4, 0x00
	vpclmulqdq ymm6, ymm%1, ymm4, 0x11
	vpxor	ymm1, ymm1, ymm5
	vpxor	ymm2, ymm2, ymm6
	vpclmulqdq ymm5, ymm%1, ymm4, 0x01
	vpclmulqdq ymm6, ymm%1, ymm4, 0x10
	vpxor	ymm3, ymm3, ymm5
	vpxor	ymm3, ymm3, ymm6
%endmacro

; The same with a block of the group; the hash so far is added to the first one.
%macro HASH_BLOCK 1
%if %1 == 0
	vpxor	ymm7, ymm8, ymm0
	vpxor	xmm0, xmm0, xmm0
	HASH	7, rsi
%else
%assign d 8 + %1
	HASH	d, rsi + 32 * %1
%endif
%endmacro

%macro END_HASH 0
	vpslldq	ymm4, ymm3, 8
	vpsrldq	ymm5, ymm3, 8
	vpxor	ymm1, ymm1, ymm4
	vpxor	ymm2, ymm2, ymm5
	SUM_YMM	1
	SUM_YMM	2
	FOLD
	CLEAR
%endmacro

; %1: enc or dec; %2: the number of rounds; %3: the name.
%macro KERNEL 3
global %3
%3:
	mov	r10, [rdx + MAC_IN]
	mov	r11, [rdx + MAC_OUT]
	TWEAK	xmm0, %2, rdx + MAC_TWEAK
	SPREAD_YMM 0, 12, 4, 4, 5
	CLEAR
	vmovdqu	ymm8, [rdx + MAC_NAME]
	HASH	8, rcx + MAC_HALVES - 32
	END_HASH
	xor	eax, eax
	align	64
.group:
	mov	esi, eax
	and	esi, MAC_HALVES - 1
	add	rsi, rcx
%assign b 0
%rep 4
%assign d b + 8
%assign t b + 12
%ifidn %1, enc
	vpxor	ymm %+ d, ymm %+ t, [r10 + rax + 32 * b]
%else
	vmovdqu	ymm %+ d, [r10 + rax + 32 * b]
	HASH_BLOCK b
%assign d b + 8
	vpxor	ymm %+ d, ymm %+ d, ymm %+ t
%endif
%assign b b + 1
%endrep
	ROUND	vpxor, 0
%assign r 1
%rep %2 - 1
	ROUND	vaes%1, r
%if r == 6
	prefetcht1 [r9 + rax]
%elif r == 7
	prefetcht1 [r9 + rax + 64]
%endif
%assign r r + 1
%endrep
	ROUND	vaes%1last, %2
%assign b 0
%rep 4
%assign d b + 8
%assign t b + 12
	vpxor	ymm %+ d, ymm %+ d, ymm %+ t
	ADVANCE	ymm %+ t, ymm4, 1, vpxor
%ifidn %1, enc
	vmovntdq [r11 + rax + 32 * b], ymm %+ d
	HASH_BLOCK b
%else
	vmovdqu	[r11 + rax + 32 * b], ymm %+ d
%endif
%assign b b + 1
%endrep
	add	eax, GROUP_BYTES
	test	eax, MAC_HALVES - 1
	jnz	.group
	END_HASH
	cmp	eax, PAGE_CIPHER_BYTES
	jb	.group
	TAG	rdx, r8
%ifidn %1, enc
	sfence
%endif
	ret
%endmacro

	KERNELS	page_tags_vaes256
