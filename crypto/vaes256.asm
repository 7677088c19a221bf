; SPDX-License-Identifier: Apache-2.0
; AES-XTS by VAES in ymm0-15, eight blocks at once. The VEX encodings zero bits 511:256 of the
; registers that they write. Data is in ymm0-3, tweaks are in ymm4-7, the round key in ymm8, scratch
; in ymm9 and ymm10, the next page's tweak in xmm11.
%include "crypto/vaes.inc"

%macro STORE 1
%assign b 0
%rep 4
	%1	[r10 + rax + 32 * b], ymm %+ b
%assign b b + 1
%endrep
%endmacro

; One round for all blocks.
%macro ROUND 2
	vbroadcasti128 ymm8, [rdi + 16 * %2]
%assign b 0
%rep 4
	%1	ymm %+ b, ymm %+ b, ymm8
%assign b b + 1
%endrep
%endmacro

%macro KERNEL 3
global %3
%3:
	ENTER	%1
	TWEAK	xmm11, %2, rdx + ITEM_TWEAK
	ITEM_BEGIN %1
	SPREAD_YMM 11, 4, 4, 9, 10
	NEXT_TWEAK xmm11, %2
	GROUP_BEGIN
%assign b 0
%rep 4
%assign t b + 4
	vpxor	ymm %+ b, ymm %+ t, [r9 + rax + 32 * b]
%assign b b + 1
%endrep
	ROUND	vpxor, 0
%assign r 1
%rep %2 - 1
	ROUND	vaes%1, r
%if r == 6
	FETCH	0
%elif r == 7
	FETCH	64
%endif
%assign r r + 1
%endrep
	ROUND	vaes%1last, %2
%assign b 0
%rep 4
%assign t b + 4
	vpxor	ymm %+ b, ymm %+ b, ymm %+ t
	ADVANCE	ymm %+ t, ymm9, 1, vpxor
%assign b b + 1
%endrep
%ifidn %1, enc
	test	ebp, ebp
	jz	.past_cache
%endif
	STORE	vmovdqu
.stored:
	ITEM_END %1, 128
%ifidn %1, enc
.past_cache:
	STORE	vmovntdq
	jmp	.stored
%endif
%endmacro

	KERNELS	page_xts_vaes256
