/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bracket around everything that touches vector registers. All hypervisor code is compiled
 * for general registers alone, so while it runs the live XMM registers are still the guest's.
 * mbedTLS' AES-NI assembly uses XMM0-15 in their legacy encodings, which leave the upper parts of
 * YMM and ZMM, MXCSR and x87 alone: saving these sixteen is exactly enough, whatever the guest
 * has in XCR0.
 */
#ifndef UMBRA_CRYPTO_SIMD_H
#define UMBRA_CRYPTO_SIMD_H

#include "vmm/base/types.h"

struct simd_save {
	uint8_t xmm[16][16];
} __attribute__((aligned(16)));

/* Which registers a kernel writes, in encodings that zero what is above the width they use. */
enum simd_set {
	SIMD_YMM, /* ymm0-15, VEX */
	SIMD_ZMM, /* zmm0-31, EVEX, no mask register */
};

/* How to bracket such a kernel on this CPU. */
struct simd_plan {
	uint64_t xcr0;	/* bits that have to be set meanwhile */
	bool zmm;	/* the CPU has them: a write of ymm zeroes their upper half */
	bool high;	/* zmm16-31 are written too */
	bool see_inuse; /* XGETBV shows which components are in their initial state */
};

struct simd_wide_save {
	uint8_t reg[32][64];
	uint64_t xcr0;	/* the guest's */
	uint64_t inuse; /* components whose registers hold anything but zero */
} __attribute__((aligned(64)));

/*
 * Brackets nest: each has its own save area. Interrupts off, or no interrupt handler may use
 * vector registers (none does). Needs CR0.TS and CR0.EM clear and CR4.OSFXSR set, which bring-up
 * does on every CPU. Functions of their own, so that no compiler keeps a value in XMM across
 * them.
 */
void simd_begin(struct simd_save *save);
/* Restores; what was left of keys in the registers is gone with it. */
void simd_end(const struct simd_save *save);

/*
 * ERR_UNSUPPORTED when XCR0 cannot be given the bits that the set needs. The host's CR4.OSXSAVE is
 * set on every CPU that has XSAVE.
 */
int simd_plan(struct simd_plan *plan, enum simd_set set);

/*
 * The wide bracket, under the same rules. Registers are saved in the width that the CPU has, not in
 * that of the guest's XCR0: what a guest left in a component that it switched off is still there.
 * Upper halves that were never used are zeroed and not loaded, so that they stay unused: the
 * guest's SSE code would run slower otherwise.
 */
void simd_begin_wide(struct simd_wide_save *save, const struct simd_plan *plan);
void simd_end_wide(const struct simd_wide_save *save, const struct simd_plan *plan);

#endif
