/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs move between CPUs, and all CPUs use the features that were chosen on the boot processor. So
 * a CPU is left out of the machine if it lacks a feature that the boot processor has and that Umbra
 * or a guest uses. Features that the boot processor lacks are hidden from guests and not used.
 * Flaws count if any CPU has them. (Processors with two kinds of cores usually show the same
 * features on both; their flaws differ.)
 */
#ifndef UMBRA_VMM_ALIKE_H
#define UMBRA_VMM_ALIKE_H

#include "vmm/flaws.h"

/*
 * Stores the boot processor's values, with which other CPUs are compared. Boot processor, after
 * vmx_choose and before other CPUs start.
 */
void alike_capture(void);

/*
 * Compares another CPU, on that CPU as it starts, before any guest runs, one CPU at a time. Returns
 * false when the CPU cannot be used; why then holds a clause that names the difference.
 */
bool alike_check(char *why, size_t bytes);

/* Clears bits that not every CPU has in a guest's CPUID result (EAX, EBX, ECX, EDX). Any CPU. */
void alike_trim(uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);

/* The flaws of all CPUs together. Constant after all have started. */
const struct flaw_facts *alike_flaws(void);

#endif
