; SPDX-License-Identifier: Apache-2.0
; AES-256-XTS by VAES in zmm registers, under a key that lies in memory wrapped (AES key wrap, RFC
; 3394) by the master key, which lies in debug registers. The key is unwrapped and expanded in
; vector registers: nothing of it, and nothing of the master key, is written to memory.
;
; While pages are processed, the expanded keys are in zmm17-31: a round key of the data key in each
; lane. Those of the tweak key are in the lanes of zmm10-13. That leaves room for 16 blocks at once:
; data in zmm0-3, tweaks in zmm4-7, the next page's tweak in xmm8.
%include "crypto/vaes.inc"

; AES-256, and eight pieces of 64 bits that are wrapped: two keys of AES-256.
%define ROUNDS	14
%define PIECES	8

extern master_load

section .rodata align=64
align 64
; VPSHUFB: the last word of a lane four times, rotated by a byte (RotWord) and as it is.
rotated: times 16 db 13, 14, 15, 12
last:	times 16 db 12, 13, 14, 15
constants:
%assign c 1
%rep 7
	times 16 dd c
%assign c c * 2
%endrep
one:	dq	1 << 56, 0		; 1 as a number of 64 bits, the highest byte first
integrity: dq	0xa6a6a6a6a6a6a6a6, 0	; RFC 3394, "Default Initial Value"

section .text

; Adds to each word of each lane of zmm%1 all words before it. Overwrites zmm0.
%macro ADD_BEFORE 1
	vpslldq	zmm0, zmm%1, 4
	vpxorq	zmm%1, zmm%1, zmm0
	vpslldq	zmm0, zmm%1, 8
	vpxorq	zmm%1, zmm%1, zmm0
%endmacro

; Expands an AES-256 key in each lane of zmm17 and zmm18 to round keys in zmm17-31 (FIPS 197, "Key
; Expansion"). VAESENCLAST substitutes the bytes of a word: its exchange of columns does nothing
; where they are equal. Overwrites zmm0, zmm1 and zmm14-16.
%macro EXPAND 0
	vmovdqa64 zmm14, [rotated]
	vmovdqa64 zmm15, [last]
	vpxorq	zmm16, zmm16, zmm16
%assign n 2
%rep ROUNDS - 1
%assign to 17 + n
%assign before 16 + n
%assign base 15 + n
	vmovdqa64 zmm %+ to, zmm %+ base
	ADD_BEFORE %[to]
%if n % 2 == 0
	vpshufb	zmm1, zmm %+ before, zmm14
	vaesenclast zmm1, zmm1, [constants + 64 * (n / 2 - 1)]
%else
	vpshufb	zmm1, zmm %+ before, zmm15
	vaesenclast zmm1, zmm1, zmm16
%endif
	vpxorq	zmm %+ to, zmm %+ to, zmm1
%assign n n + 1
%endrep
%endmacro

; Makes the inner ones of the round keys in xmm17-31 those of decryption (FIPS 197, "Equivalent
; Inverse Cipher"). VAESIMC reaches xmm0-15 alone. Overwrites zmm2-5.
%macro INVERT 0
%assign n 1
%rep ROUNDS - 1
%assign key 17 + n
%assign t 2 + n % 4
	vmovdqa64 zmm %+ t, zmm %+ key
	vaesimc	xmm %+ t, xmm %+ t
	vmovdqa64 zmm %+ key, zmm %+ t
%assign n n + 1
%endrep
%endmacro

; Sets xmm17-31 to the expanded master key; %1 is its use: enc or dec.
%macro MASTER 1
	call	master_load
	vmovdqa64 zmm17, zmm0
	vmovdqa64 zmm18, zmm1
	EXPAND
%ifidn %1, dec
	INVERT
%endif
%endmacro

; Encrypts or decrypts the block in xmm0 with the round keys in xmm17-31.
%macro BLOCK 1
%ifidn %1, enc
	vpxorq	zmm0, zmm0, zmm17
%assign r 1
%rep ROUNDS - 1
%assign k 17 + r
	vaesenc	zmm0, zmm0, zmm %+ k
%assign r r + 1
%endrep
	vaesenclast zmm0, zmm0, zmm31
%else
	vpxorq	zmm0, zmm0, zmm31
%assign r 1
%rep ROUNDS - 1
%assign k 31 - r
	vaesdec	zmm0, zmm0, zmm %+ k
%assign r r + 1
%endrep
	vaesdeclast zmm0, zmm0, zmm17
%endif
%endmacro

; uint64_t page_key_wrap(const uint8_t key[64], uint8_t wrapped[72]): RFC 3394, "Key Wrap", by
; index. A is in the low half of xmm1, R[1] to R[8] are in those of xmm2-9, t is in xmm10.
global page_key_wrap
page_key_wrap:
	MASTER	enc
	vmovdqu	xmm1, [integrity]
	vmovdqu	xmm11, [one]
	vmovdqa	xmm10, xmm11
%assign i 1
%rep PIECES
%assign R 1 + i
	vmovq	xmm %+ R, [rdi + 8 * (i - 1)]
%assign i i + 1
%endrep
	mov	ecx, 6
.step:
%assign i 1
%rep PIECES
%assign R 1 + i
	vpunpcklqdq xmm0, xmm1, xmm %+ R
	BLOCK	enc
	vpxor	xmm1, xmm0, xmm10
	vpunpckhqdq xmm %+ R, xmm0, xmm0
	vpaddq	xmm10, xmm10, xmm11
%assign i i + 1
%endrep
	dec	ecx
	jnz	.step
	vmovq	[rsi], xmm1
%assign i 1
%rep PIECES
%assign R 1 + i
	vmovq	[rsi + 8 * i], xmm %+ R
%assign i i + 1
%endrep
	mov	eax, 1
	ret

; Sets zmm17 and zmm18 to the unwrapped keys: the data key in their first lanes, the tweak key in
; their second ones. Jumps to %1 if the wrapped bytes at rdi are not the master key's work.
; Meanwhile fetches the first page, at r9. Overwrites rax and r11.
%macro UNWRAP 1
	MASTER	dec
	vmovdqu	xmm11, [one]
	vpsllq	xmm10, xmm11, 4		; t = 6 * 8 = 48
	vpsllq	xmm12, xmm11, 5
	vpor	xmm10, xmm10, xmm12
	vmovq	xmm1, [rdi]
%assign i 1
%rep PIECES
%assign R 1 + i
	vmovq	xmm %+ R, [rdi + 8 * i]
%assign i i + 1
%endrep
	mov	r11d, 6
	xor	eax, eax
%%step:
%assign i PIECES
%rep PIECES
%assign R 1 + i
	vpxor	xmm1, xmm1, xmm10
	vpunpcklqdq xmm0, xmm1, xmm %+ R
	prefetcht1 [r9 + rax + 128 * (PIECES - i)]
	prefetcht1 [r9 + rax + 128 * (PIECES - i) + 64]
	BLOCK	dec
	vmovdqa	xmm1, xmm0
	vpunpckhqdq xmm %+ R, xmm0, xmm0
	vpsubq	xmm10, xmm10, xmm11
%assign i i - 1
%endrep
	add	eax, 128 * PIECES
	and	eax, PAGE_CIPHER_BYTES - 1 ; a page is fetched in four of the six
	dec	r11d
	jnz	%%step
	vpunpcklqdq xmm2, xmm2, xmm3
	vpunpcklqdq xmm4, xmm4, xmm5
	vpunpcklqdq xmm6, xmm6, xmm7
	vpunpcklqdq xmm8, xmm8, xmm9
	vmovq	rax, xmm1
	cmp	rax, [integrity]
	jne	%1
	vinserti32x4 zmm17, zmm2, xmm6, 1
	vinserti32x4 zmm18, zmm4, xmm8, 1
%endmacro

; Puts round keys where the pages' loop needs them. Overwrites zmm0-3.
%macro PLACE 1
%assign n 0
%rep ROUNDS + 1
%assign key 17 + n
%assign t n % 4
%assign pack 10 + n / 4
	vextracti32x4 xmm %+ t, zmm %+ key, 1
%if n % 4 == 0
	vmovdqa64 zmm %+ pack, zmm %+ t
%else
	vinserti32x4 zmm %+ pack, zmm %+ pack, xmm %+ t, n % 4
%endif
%ifidn %1, dec
%if n > 0 && n < ROUNDS
	vmovdqa64 zmm %+ t, zmm %+ key
	vaesimc	xmm %+ t, xmm %+ t
	vmovdqa64 zmm %+ key, zmm %+ t
%endif
%endif
	vshufi32x4 zmm %+ key, zmm %+ key, zmm %+ key, 0
%assign n n + 1
%endrep
%endmacro

; Sets xmm8 to the tweak of the item at %1, encrypted. Overwrites xmm9.
%macro PAGE_TWEAK 1
	vmovdqu	xmm8, [%1 + ITEM_TWEAK]
	vpxor	xmm8, xmm8, xmm10
%assign n 1
%rep ROUNDS
%assign pack 10 + n / 4
%if n % 4 == 0
	vmovdqa	xmm9, xmm %+ pack
%else
	vextracti32x4 xmm9, zmm %+ pack, n % 4
%endif
%if n < ROUNDS
	vaesenc	xmm8, xmm8, xmm9
%else
	vaesenclast xmm8, xmm8, xmm9
%endif
%assign n n + 1
%endrep
%endmacro

; One instruction for each of the four data registers.
%macro FOUR 2
%assign b 0
%rep 4
	%1	zmm %+ b, zmm %+ b, %2
%assign b b + 1
%endrep
%endmacro

%macro STORE 1
%assign b 0
%rep 4
	%1	[r10 + rax + 64 * b], zmm %+ b
%assign b b + 1
%endrep
%endmacro

; For a panic, before which nothing else overwrites the master key's round keys.
%macro FORGET 0
%assign n 0
%rep 32
	vpxorq	zmm %+ n, zmm %+ n, zmm %+ n
%assign n n + 1
%endrep
%endmacro

; A kernel as page_xts.inc describes them, but that rdi is the wrapped key and rsi is not used.
; Returns 1; or 0, with no page written, if the key cannot be unwrapped. Clobbers r8, too.
%macro WRAPPED_KERNEL 2
global %2
%2:
	mov	r9, [rdx + ITEM_IN]
	UNWRAP	.refused
	EXPAND
	PLACE	%1
	ENTER	%1
	PAGE_TWEAK rdx
	ITEM_BEGIN %1
	SPREAD_ZMM 8, 4, 4, 0, 1
	test	rcx, rcx
	jz	.last
	PAGE_TWEAK rax
.last:
	GROUP_BEGIN
%assign b 0
%rep 4
%assign t b + 4
	vmovdqa64 zmm %+ b, zmm %+ t
%ifidn %1, enc
	vpternlogq zmm %+ b, zmm17, [r9 + rax + 64 * b], 0x96
%else
	vpternlogq zmm %+ b, zmm31, [r9 + rax + 64 * b], 0x96
%endif
%assign b b + 1
%endrep
%assign r 1
%rep ROUNDS - 1
%ifidn %1, enc
%assign k 17 + r
%else
%assign k 31 - r
%endif
	FOUR	vaes%1, zmm %+ k
%if r >= 4 && r < 8
	FETCH	64 * (r - 4)
%endif
%assign r r + 1
%endrep
%ifidn %1, enc
	FOUR	vaes%1last, zmm31
%else
	FOUR	vaes%1last, zmm17
%endif
%assign b 0
%rep 4
%assign t b + 4
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
%rep 4
%assign t b + 4
	ADVANCE	zmm %+ t, zmm %+ b, 2, vpxorq
%assign b b + 1
%endrep
	add	eax, 256
	cmp	eax, PAGE_CIPHER_BYTES
	jb	.group
	add	rdx, ITEM_BYTES
	test	rcx, rcx
	jnz	.item
%ifidn %1, enc
	sfence
	pop	rbp
%endif
	mov	eax, 1
	ret
%ifidn %1, enc
.past_cache:
	STORE	vmovntdq
	jmp	.stored
%endif
.refused:
	FORGET
	xor	eax, eax
	ret
%endmacro

	WRAPPED_KERNEL enc, page_xts_wrapped_enc
	WRAPPED_KERNEL dec, page_xts_wrapped_dec
