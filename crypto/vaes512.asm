; SPDX-License-Identifier: Apache-2.0
; AES-XTS by VAES in zmm0-31, 32 blocks at once. Data is in zmm0-7, the next page's tweak in xmm8,
; tweaks are in zmm9-16, the round keys of the whole batch in zmm17-31. Uses no mask registers.
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
%assign k 17 + r
	vbroadcasti32x4 zmm %+ k, [rdi + 16 * r]
%assign r r + 1
%endrep
	ENTER	%1
	TWEAK	xmm8, %2, rdx + ITEM_TWEAK
	ITEM_BEGIN %1
	SPREAD_ZMM 8, 9, 8, 0, 1
	NEXT_TWEAK xmm8, %2
	GROUP_BEGIN
%assign b 0
%rep 8
%assign t b + 9
	vmovdqa64 zmm %+ b, zmm %+ t
	vpternlogq zmm %+ b, zmm17, [r9 + rax + 64 * b], 0x96
%assign b b + 1
%endrep
%assign r 1
%rep %2 - 1
%assign k 17 + r
	BLOCKS	vaes%1, zmm %+ k
%if r >= 4 && r < 12
	FETCH	64 * (r - 4)
%endif
%assign r r + 1
%endrep
%assign k 17 + %2
	BLOCKS	vaes%1last, zmm %+ k
%assign b 0
%rep 8
%assign t b + 9
	vpxorq	zmm %+ b, zmm %+ b, zmm %+ t
%assign b b + 1
%endrep
%ifidn %1, enc
	test	ebp, ebp
	jz	.past_cache
%endif
	STORE	vmovdqu64
.stored:
%assign b 0
%rep 8
%assign t b + 9
	ADVANCE	zmm %+ t, zmm %+ b, 4, vpxorq
%assign b b + 1
%endrep
	ITEM_END %1, 512
%ifidn %1, enc
.past_cache:
	STORE	vmovntdq
	jmp	.stored
%endif
%endmacro

	KERNELS	page_xts_vaes512
