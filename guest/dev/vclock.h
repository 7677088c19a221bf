/* SPDX-License-Identifier: Apache-2.0 */
/* Converts TSC ticks to the ticks of a device's crystal and back, without 128-bit arithmetic. */
#ifndef UMBRA_GUEST_DEV_VCLOCK_H
#define UMBRA_GUEST_DEV_VCLOCK_H

#include "vmm/base/tsc.h"
#include "vmm/base/types.h"

/*
 * The most interrupts in a second that a device sends when it repeats them by itself. A guest may
 * ask for more than the path through the host can handle; it would then do nothing but handle
 * interrupts.
 */
#define VCLOCK_IRQS_PER_SECOND_MAX 10000u

/*
 * value times `to`, divided by `from`, rounded down. Exact as long as the result and (from - 1)
 * times `to` fit into 64 bits, for example for a TSC below 2^34 Hz and a crystal below 2^30 Hz.
 */
static inline uint64_t vclock_scale(uint64_t value, uint64_t from, uint64_t to)
{
	return value / from * to + value % from * to / from;
}

/*
 * Whole crystal ticks from one TSC value to another; 0 if tsc is before start_tsc, as TSCs of CPUs
 * may differ.
 */
static inline uint64_t vclock_ticks(uint64_t start_tsc, uint64_t tsc, uint64_t hz)
{
	return tsc <= start_tsc ? 0 : vclock_scale(tsc - start_tsc, tsc_hz(), hz);
}

/*
 * The first TSC value t at which vclock_ticks(start_tsc, t, hz) >= ticks; UINT64_MAX if it does not
 * fit.
 */
static inline uint64_t vclock_tsc_at(uint64_t start_tsc, uint64_t ticks, uint64_t hz)
{
	uint64_t tsc = ticks / hz < BIT(30) ? vclock_scale(ticks, hz, tsc_hz()) + 1 : UINT64_MAX;

	return __builtin_add_overflow(tsc, start_tsc, &tsc) ? UINT64_MAX : tsc;
}

#endif
