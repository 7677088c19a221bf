/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long CPUs wait for each other in root mode. Each CPU has a counter for each enum wait_kind.
 * Only a CPU that finds that it must wait calls these functions, so a lock that is free costs
 * nothing more. Waiting for hardware is not counted, nor is HLT.
 */
#ifndef UMBRA_BASE_WAITS_H
#define UMBRA_BASE_WAITS_H

#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

/* Called before a loop that waits for another CPU. Pass its result to waits_end. */
static inline uint64_t waits_begin(void)
{
	return cpu_rdtsc();
}

/* Called after the loop. Only once this CPU has its block; a CPU that is alone never waits. */
static inline void waits_end(enum wait_kind kind, uint64_t began)
{
	atomic_add_own(&percpu_self()->wait_ticks[kind], cpu_rdtsc() - began);
}

/* A text of waits_words fits into so many bytes. */
#define WAITS_WORDS_MAX 384u

/*
 * Says how long the CPUs have waited so far, in all and for what, and which one waited longest. Any
 * CPU; the figures of other CPUs may be a moment old.
 */
void waits_words(char *text, size_t bytes);

#endif
