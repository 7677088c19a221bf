/* SPDX-License-Identifier: Apache-2.0 */
/* What smp.c has in common with smp_call.c, and with ap_boot.asm in the trampoline page. */
#ifndef UMBRA_HOST_SMP_PRIV_H
#define UMBRA_HOST_SMP_PRIV_H

#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

/* In smp_call.c. On an AP that starts: it does not run what smp_call_all was called with before. */
void smp_call_skip(void);
/* In smp_call.c: kicks every CPU but the BSP, which calls it. */
void smp_kick_others(void);

/* The last stage that an AP has reached; logged when it goes no further. */
enum ap_stage {
	AP_STAGE_NONE, /* no instruction of the trampoline ran */
	AP_STAGE_REAL, /* in the trampoline, real mode */
	AP_STAGE_LONG, /* in the trampoline, on the bootstrap page tables or the hypervisor's */
	AP_STAGE_C,    /* in C code */
};

struct ap_params {
	uint64_t gdt[3];
	uint16_t gdt_register[3]; /* limit and base, for LGDT in real mode */
	uint16_t reserved;
	uint32_t entry64[2]; /* offset and selector, for the far jump */
	uint32_t stage;	     /* enum ap_stage */
	uint32_t cr4;
	uint32_t cr3; /* the bootstrap tables */
	uint32_t efer;
	uint32_t clear_xd; /* nonzero: firmware disabled NX, enable it */
	uint32_t cr0;
	uint64_t own_cr3; /* the hypervisor's tables, which may have a KeyID above bit 31 */
	void *stack;
	struct percpu *cpu;
	void (*main)(struct percpu *cpu);
};

/*
 * Position-independent code for a page below 1 MiB; the parameters follow at ap_trampoline_params.
 */
extern const char ap_trampoline[], ap_trampoline_long[], ap_trampoline_params[],
	ap_trampoline_end[];

#endif
