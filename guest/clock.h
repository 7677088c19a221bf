/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's crystal. CPUID.15H gives the TSC as crystal times a small ratio, and Linux takes the
 * crystal for the clock of the local APIC timer, so that neither has to be calibrated. We make the
 * crystal the TSC itself, divided by two only while its Hz do not fit the 32 bits of the leaf.
 */
#ifndef UMBRA_GUEST_CLOCK_H
#define UMBRA_GUEST_CLOCK_H

#include "vmm/base/tsc.h"
#include "vmm/base/types.h"

/* TSC ticks per tick of the crystal: 1, or 2 on a machine beyond 4.29 GHz. */
static inline uint32_t clock_crystal_ratio(void)
{
	return tsc_hz() >> 32 == 0 ? 1 : 2;
}

/* In Hz: also the input clock of the local APIC timer, before its divider. */
static inline uint32_t clock_crystal_hz(void)
{
	return (uint32_t)(tsc_hz() / clock_crystal_ratio());
}

#endif
