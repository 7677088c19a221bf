; SPDX-License-Identifier: Apache-2.0
; AES-XTS and the page's tag in one pass, by VAES and VPCLMULQDQ in zmm0-31: see polyval.inc. Data
; is in zmm16-23 and tweaks are in zmm24-31. Ciphertext is in zmm8-15 until it is hashed, then the
; last round key plus each block's tweak. zmm0 holds the hash so far, zmm1-3 the sums of its
; products. zmm4-6 are scratch, the round key is in zmm7. Uses no mask registers.
;
; One unit of the CPU does all rounds of AES. So between two rounds the code has as much of the
; hash, and of the next tweaks, as another unit can do in that time. When a group of 512 bytes is
; decrypted, it is hashed during its own rounds; when it is encrypted, during those of the next
; group.
%include "crypto/vaes.inc"
%include "crypto/polyval.inc"

GROUP_BYTES	equ 512

; One instruction for each of the eight data registers.
%macro BLOCKS 2
%assign b 0
%rep 8
%assign d b + 16
	%1	zmm %+ d, zmm %+ d, %2
%assign b b + 1
%endrep
%endmacro

; Multiplies zmm%1 by the powers at %2, and adds.
%macro HASH 2
	vmovdqu64 zmm4, [%2]
	vpclmulqdq zmm5, zmm%1, zmm4, 0x00
	vpclmulqdq zmm6, zmm%1, zmm4, 0x11
	vpxorq	zmm1, zmm1, zmm5
	vpxorq	zmm2, zmm2, zmm6
	vpclmulqdq zmm5, zmm%1, zmm4, 0x01
	vpclmulqdq zmm4, zmm%1, zmm4, 0x10
	vpternlogq zmm3, zmm4, zmm5, 0x96
%endmacro

; Adds the blocks of a register into one: all are parts of one sum.
%macro SUM 1
	vextracti64x4 ymm4, zmm%1, 1
	vpxor	ymm%1, ymm%1, ymm4
	SUM_YMM	%1
%endmacro

%macro END_HASH 0
	vpslldq	zmm4, zmm3, 8
	vpsrldq	zmm5, zmm3, 8
	vpxorq	zmm1, zmm1, zmm4
	vpxorq	zmm2, zmm2, zmm5
	SUM	1
	SUM	2
	FOLD
	CLEAR
%endmacro

; One of the 16 steps that stand between the rounds of a group. Each of the first eight hashes a
; register. Each of the others makes two values of a tweak: the last round key plus the tweak, and
; the tweak of the next group.
%macro STEP 2
%if %1 < 8
%assign h 8 + (%1 + 1) % 8		; the first one comes last: it waits for the hash so far
	HASH	h, rsi + 64 * (h - 8)
%else
%assign k %1
%assign t %1 + 16
	vbroadcasti32x4 zmm %+ k, [rdi + 16 * %2]
	vpxorq	zmm %+ k, zmm %+ k, zmm %+ t
	ADVANCE	zmm %+ t, zmm4, 4, vpxorq
%endif
%endmacro

; %1: enc or dec; %2: the number of rounds; %3: the name.
%macro KERNEL 3
global %3
%3:
	mov	r10, [rdx + MAC_IN]
	mov	r11, [rdx + MAC_OUT]
	TWEAK	xmm0, %2, rdx + MAC_TWEAK
	SPREAD_ZMM 0, 24, 8, 4, 5
	CLEAR
	vpxor	xmm0, xmm0, xmm0
	vinserti64x4 zmm15, zmm0, [rdx + MAC_NAME], 1
%ifidn %1, dec
	HASH	15, rcx + MAC_HALVES - 64
	END_HASH
%else					; the name is hashed with a group of zeros
%assign h 8
%rep 7
	vpxor	xmm %+ h, xmm %+ h, xmm %+ h
%assign h h + 1
%endrep
%endif
	xor	eax, eax
	align	64
.group:
	mov	esi, eax
	and	esi, GROUP_BYTES
%ifidn %1, enc
	xor	esi, GROUP_BYTES
%endif
	add	rsi, rcx
	vbroadcasti32x4 zmm7, [rdi]
%assign b 0
%rep 8
%assign h b + 8
%assign d b + 16
%assign t b + 24
	vmovdqa64 zmm %+ d, zmm %+ t
%ifidn %1, enc
	vpternlogq zmm %+ d, zmm7, [r10 + rax + 64 * b], 0x96
%else
	vmovdqu64 zmm %+ h, [r10 + rax + 64 * b]
	vpternlogq zmm %+ d, zmm7, zmm %+ h, 0x96
%endif
%assign b b + 1
%endrep
	vpxorq	zmm8, zmm8, zmm0
	vpxor	xmm0, xmm0, xmm0
%assign step 0
%assign r 1
%rep %2 - 1
	vbroadcasti32x4 zmm7, [rdi + 16 * r]
	BLOCKS	vaes%1, zmm7
%if r >= 2 && r < 10
	prefetcht1 [r9 + rax + 64 * (r - 2)]
%endif
%rep 16
%if step >= 16 || step * (%2 - 1) >= 16 * r
%exitrep
%endif
	STEP	step, %2
%assign step step + 1
%endrep
%assign r r + 1
%endrep
%assign b 0
%rep 8
%assign h b + 8
%assign d b + 16
%ifidn %1, enc
	vaesenclast zmm %+ h, zmm %+ d, zmm %+ h
	vmovntdq [r11 + rax + 64 * b], zmm %+ h
%else
	vaesdeclast zmm %+ d, zmm %+ d, zmm %+ h
	vmovdqu64 [r11 + rax + 64 * b], zmm %+ d
%endif
%assign b b + 1
%endrep
	test	eax, GROUP_BYTES
%ifidn %1, enc
	jnz	.next
%else
	jz	.next
%endif
	END_HASH
.next:
	add	eax, GROUP_BYTES
	cmp	eax, PAGE_CIPHER_BYTES
	jb	.group
%ifidn %1, enc
%assign h 8
%rep 8
	HASH	h, rcx + GROUP_BYTES + 64 * (h - 8)
%assign h h + 1
%endrep
	END_HASH
	sfence
%endif
	TAG	rdx, r8
	ret
%endmacro

	KERNELS	page_tags_vaes512
