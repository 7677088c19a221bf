/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs move between CPUs, and what was chosen on the boot processor is used on all: so a CPU that
 * lacks something which the boot processor has, and Umbra or a guest uses, is left out of the
 * machine. What a CPU has beyond that is hidden from guests and not used. Flaws count as those of
 * the worst CPU. (Processors with cores of two kinds usually show the same features on both; their
 * flaws differ.)
 */
#ifndef UMBRA_VMM_ALIKE_H
#define UMBRA_VMM_ALIKE_H

#include "vmm/flaws.h"

/* Boot processor, after vmx_choose and before other CPUs start: what they are measured by. */
void alike_capture(void);

/*
 * On another CPU as it starts, before any guest runs, one at a time. False: it cannot be one of the
 * machine's; why gets a clause that names what differs.
 */
bool alike_check(char *why, size_t bytes);

/* Clears what not every CPU has from CPUID's answer to a guest (EAX, EBX, ECX, EDX). Any CPU. */
void alike_trim(uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);

/* The flaws of all CPUs together. Constant once all have started. */
const struct flaw_facts *alike_flaws(void);

#endif
