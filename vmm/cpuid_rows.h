/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID policy: which bits of the processor's features a guest sees, leaf by leaf. */
#ifndef UMBRA_VMM_CPUID_ROWS_H
#define UMBRA_VMM_CPUID_ROWS_H

#include "vmm/base/types.h"

#define CPUID_LEAF_BASIC_MAX	0x16u
#define CPUID_LEAF_EXTENDED_MAX 0x80000008u

enum cpuid_row_kind {
	CPUID_ABSENT,
	CPUID_SHOWN,
	CPUID_SHOWN_SUBLEAF_0, /* other subleaves read zero */
};

struct cpuid_row {
	uint8_t kind;	  /* enum cpuid_row_kind */
	bool changes;	  /* depends on the guest's state, so it must not be cached */
	uint32_t mask[4]; /* of EAX, EBX, ECX, EDX */
};

/*
 * The row of a leaf, or NULL: it reads zero. For a leaf beyond max_basic a CPU returns its last
 * basic leaf, so such a leaf has no row.
 */
const struct cpuid_row *cpuid_row(uint32_t leaf, uint32_t max_basic);

/* Which bits of a register (0 to 3: EAX to EDX) a guest may see. Only for leaves with rows. */
uint32_t cpuid_guest_mask(uint32_t leaf, unsigned reg);

#endif
