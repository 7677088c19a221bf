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

/*
 * Brackets nest: each has its own save area. Interrupts off, or no interrupt handler may use
 * vector registers (none does). Needs CR0.TS and CR0.EM clear and CR4.OSFXSR set, which bring-up
 * does on every CPU. Functions of their own, so that no compiler keeps a value in XMM across
 * them.
 */
void simd_begin(struct simd_save *save);
/* Restores; what was left of keys in the registers is gone with it. */
void simd_end(const struct simd_save *save);

#endif
