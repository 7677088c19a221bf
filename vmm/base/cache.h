/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flushing the caches of all CPUs, and who has to. A line that stays cached under one KeyID while
 * its memory is used under another is written back over the new data at some later time, or is
 * read in its place (336907, "Cache coherency"). Flushes are counted, so that it can be said of
 * memory whether there has been one since its last use.
 */
#ifndef UMBRA_BASE_CACHE_H
#define UMBRA_BASE_CACHE_H

#include "vmm/base/types.h"

/*
 * Finds out from CPUID.04H which CPUs have to execute WBINVD so that the caches of all are flushed,
 * and logs it: one for each L3 that promises to reach all its sharers, else each CPU. Until then
 * each CPU does. BSP, after smp_start_all, with no lock held.
 */
void cache_init(void);

/*
 * Writes back and invalidates the lines of all KeyIDs in the caches of every CPU (WBINVD), and
 * logs nothing. No mapping may be left through which a CPU could fetch again what was to be
 * flushed. Takes milliseconds on a machine with large caches, and stalls all its CPUs: see
 * cache_may_flush. BSP, with no lock held.
 */
void cache_flush_all(void);

/*
 * Whether a flush may be had now: at most one in CACHE_FLUSH_US is, so that a VM that ends and
 * starts in a loop does not stall its neighbours. BSP.
 */
#define CACHE_FLUSH_US 1000000u
bool cache_may_flush(void);

/*
 * Whether the CPU has CLFLUSHOPT, by which many lines are flushed at once: known after cache_init.
 */
bool cache_can_flush_lines(void);

/*
 * Writes the lines of a range back to memory and drops them, from the caches of all CPUs, under the
 * KeyID by which it is mapped here: what was zeroed is zero in DRAM when this returns, for whoever
 * takes the modules out. 64 bytes at a time. Any CPU, any lock.
 */
void cache_write_back(const void *area, size_t bytes);

/* How many flushes there have been. Any CPU. */
uint64_t cache_epoch(void);

/* What the last flush took, in TSC ticks; 0 before the first. BSP. */
uint64_t cache_flush_ticks(void);

#endif
