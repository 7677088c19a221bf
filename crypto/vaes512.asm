; SPDX-License-Identifier: Apache-2.0
; AES-XTS by VAES in zmm0-31, 32 blocks at once. Data in zmm0-7, tweaks in zmm8-15, round keys in
; zmm16-30 for the whole batch, scratch in zmm31. No mask registers.
%include "crypto/vaes.inc"

; One instruction for each of the eight data registers.
%macro BLOCKS 2
%assign b 0
%rep 8
	%1	zmm %+ b, zmm %+ b, %2
%assign b b + 1
%endrep
%endmacro

%macro STORE 1
%assign b 0
%rep 8
	%1	[r10 + rax + 64 * b], zmm %+ b
%assign b b + 1
%endrep
%endmacro

%macro KERNEL 3
global %3
%3:
%assign r 0
%rep %2 + 1
%assign k 16 + r
	vbroadcasti32x4 zmm %+ k, [rdi + 16 * r]
%assign r r + 1
%endrep
	ITEM_BEGIN %1
	TWEAK	xmm8, %2
	vshufi32x4 zmm8, zmm8, zmm8, 0
	vpsrlvq	zmm0, zmm8, [right]
	vpsllvq	zmm8, zmm8, [left]
	REDUCE	zmm8, zmm0, zmm1, vpxorq
%assign t 9
%rep 7
	vpsrlq	zmm0, zmm8, 64 - 4 * (t - 8)
	vpsllq	zmm %+ t, zmm8, 4 * (t - 8)
	REDUCE	zmm %+ t, zmm0, zmm1, vpxorq
%assign t t + 1
%endrep
	align	32
.group:
%assign b 0
%rep 8
%assign t b + 8
	FETCH	%1, 64 * b
	vmovdqa64 zmm %+ b, zmm %+ t
	vpternlogq zmm %+ b, zmm16, [r9 + rax + 64 * b], 0x96
%assign b b + 1
%endrep
%assign r 1
%rep %2 - 1
%assign k 16 + r
	BLOCKS	vaes%1, zmm %+ k
%assign r r + 1
%endrep
%assign k 16 + %2
	BLOCKS	vaes%1last, zmm %+ k
%assign b 0
%rep 8
%assign t b + 8
	vpxorq	zmm %+ b, zmm %+ b, zmm %+ t
	ADVANCE	zmm %+ t, zmm31, 4, vpxorq
%assign b b + 1
%endrep
%ifidn %1, enc
	test	ebp, ebp
	jz	.past_cache
%endif
	STORE	vmovdqu64
.stored:
	ITEM_END %1, 512
%ifidn %1, enc
.past_cache:
	STORE	vmovntdq
	jmp	.stored
%endif
%endmacro

	KERNELS	page_xts_vaes512
