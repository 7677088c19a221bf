/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves and restores the guest's vector registers around code that uses them. All hypervisor code
 * is compiled for general registers alone, so while it runs, the XMM registers still hold the
 * guest's values. mbedTLS' AES-NI assembly uses XMM0-15 in their legacy encodings, which leave the
 * upper parts of YMM and ZMM, MXCSR and x87 alone. So saving these sixteen registers is enough,
 * whatever the guest has in XCR0.
 */
#ifndef UMBRA_CRYPTO_SIMD_H
#define UMBRA_CRYPTO_SIMD_H

#include "vmm/base/types.h"

struct simd_save {
	uint8_t xmm[16][16];
} __attribute__((aligned(16)));

/* Which registers a kernel writes. Its encodings zero the bits above the width that they use. */
enum simd_set {
	SIMD_YMM, /* ymm0-15, VEX */
	SIMD_ZMM, /* zmm0-31, EVEX, no mask register */
};

/* What to save and restore around such a kernel on this CPU. */
struct simd_plan {
	uint64_t xcr0;	/* bits that must be set while the kernel runs */
	bool zmm;	/* the CPU has ZMM: a write of YMM zeroes the upper half */
	bool high;	/* zmm16-31 are written too */
	bool see_inuse; /* XGETBV(1) shows which components are in their initial state */
};

struct simd_wide_save {
	uint8_t reg[32][64];
	uint64_t xcr0;	/* the guest's */
	uint64_t inuse; /* the components that are not in their initial state */
} __attribute__((aligned(64)));

/*
 * simd_begin saves XMM0-15. Brackets of simd_begin and simd_end nest, since each has its own save
 * area. They must run with interrupts off, or no interrupt handler may use vector registers (none
 * does). CR0.TS and CR0.EM must be clear and CR4.OSFXSR set; bring-up does this on every CPU. These
 * are functions and not inline, so that the compiler keeps no value in XMM across them.
 */
void simd_begin(struct simd_save *save);
/* Restores XMM0-15. This also overwrites what was left of keys in the registers. */
void simd_end(const struct simd_save *save);

/*
 * Fills *plan for a kernel that writes set. Returns ERR_UNSUPPORTED if XCR0 cannot have the bits
 * that the set needs. The host's CR4.OSXSAVE is set on every CPU that has XSAVE.
 */
int simd_plan(struct simd_plan *plan, enum simd_set set);

/*
 * The same for wide kernels, under the same rules. The registers are saved in the CPU's full width,
 * whatever the guest's XCR0 says: a component that the guest switched off still holds its values.
 * Upper halves that were never used are zeroed instead of loaded, so that they stay in their
 * initial state: otherwise the guest's SSE code would run slower.
 */
void simd_begin_wide(struct simd_wide_save *save, const struct simd_plan *plan);
void simd_end_wide(const struct simd_wide_save *save, const struct simd_plan *plan);

#endif
