/* SPDX-License-Identifier: Apache-2.0 */
/* What smp.c writes into the trampoline page and ap_boot.asm reads. */
#ifndef UMBRA_BASE_SMP_PRIV_H
#define UMBRA_BASE_SMP_PRIV_H

#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

/* How far an AP came; for the log when it came no farther. */
enum ap_stage {
	AP_STAGE_NONE, /* no instruction of ours ran */
	AP_STAGE_REAL, /* in the trampoline, real mode */
	AP_STAGE_LONG, /* in the trampoline, on the bootstrap page tables or our own */
	AP_STAGE_C,    /* in C */
};

struct ap_params {
	uint64_t gdt[3];
	uint16_t gdt_register[3]; /* limit, base: what LGDT takes in real mode */
	uint16_t reserved;
	uint32_t entry64[2]; /* offset, selector: what the far jump takes */
	uint32_t stage;	     /* enum ap_stage */
	uint32_t cr4;
	uint32_t cr3; /* the bootstrap tables; */
	uint32_t efer;
	uint32_t clear_xd; /* nonzero: firmware switched NX off, take that back */
	uint32_t cr0;
	uint64_t own_cr3; /* and the hypervisor's own, which may carry a KeyID above bit 31 */
	void *stack;
	struct percpu *cpu;
	void (*main)(struct percpu *cpu);
};

/* The code, position-independent, for a page below 1 MiB; the params follow at ap_params. */
extern const char ap_trampoline[], ap_trampoline_long[], ap_trampoline_params[],
	ap_trampoline_end[];

#endif
