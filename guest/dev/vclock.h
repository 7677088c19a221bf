/* SPDX-License-Identifier: Apache-2.0 */
/* From TSC ticks to those of a device's crystal and back, without 128-bit arithmetic. */
#ifndef UMBRA_GUEST_DEV_VCLOCK_H
#define UMBRA_GUEST_DEV_VCLOCK_H

#include "vmm/base/tsc.h"
#include "vmm/base/types.h"

/*
 * A guest may ask for interrupts more often than the path through the host takes, and would then
 * see nothing else. From a device that repeats them by itself it gets so many a second at the most.
 */
#define VCLOCK_IRQS_PER_SECOND_MAX 10000u

/*
 * value * to / from, rounded down. Exact while the result fits 64 bits and (from - 1) * to does:
 * a TSC below 2^34 Hz against a crystal below 2^30 Hz.
 */
static inline uint64_t vclock_scale(uint64_t value, uint64_t from, uint64_t to)
{
	return value / from * to + value % from * to / from;
}

/*
 * Whole crystal ticks from one TSC value to another; 0 when time seems to run backwards between
 * CPUs.
 */
static inline uint64_t vclock_ticks(uint64_t start_tsc, uint64_t tsc, uint64_t hz)
{
	return tsc <= start_tsc ? 0 : vclock_scale(tsc - start_tsc, tsc_hz(), hz);
}

/* The first TSC value at which vclock_ticks(start_tsc, it, hz) >= ticks; saturates. */
static inline uint64_t vclock_tsc_at(uint64_t start_tsc, uint64_t ticks, uint64_t hz)
{
	uint64_t tsc = ticks / hz < BIT(30) ? vclock_scale(ticks, hz, tsc_hz()) + 1 : UINT64_MAX;

	return __builtin_add_overflow(tsc, start_tsc, &tsc) ? UINT64_MAX : tsc;
}

#endif
