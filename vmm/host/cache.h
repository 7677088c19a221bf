/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flushes the caches of all CPUs, and finds out which CPUs must execute the flush. If a line stays
 * cached under one KeyID while its memory is used under another, the CPU may later write it back
 * over the new data, or read it in their place (336907, "Cache coherency"). Flushes are numbered,
 * so that other code can find out whether a flush came after the last use of a page.
 */
#ifndef UMBRA_HOST_CACHE_H
#define UMBRA_HOST_CACHE_H

#include "vmm/base/types.h"

/*
 * Finds out from CPUID.04H which CPUs must execute WBINVD to flush the caches of all CPUs, and logs
 * it: one CPU for each L3 if CPUID promises that WBINVD reaches the caches of all its sharers, else
 * every CPU. Before this call every CPU executes it. BSP, after smp_start_all, with no lock held.
 */
void cache_init(void);

/*
 * Writes back and invalidates the lines of all KeyIDs in the caches of every CPU (WBINVD). Logs
 * nothing. The caller has removed every mapping through which a CPU could fetch the flushed lines
 * again. Takes milliseconds on a machine with large caches, and stalls all its CPUs: see
 * cache_may_flush. BSP, with no lock held.
 */
void cache_flush_all(void);

/*
 * Is a flush allowed now? Only one is in CACHE_FLUSH_US: else a VM that ends and starts in a loop
 * would stall its neighbours. BSP.
 */
#define CACHE_FLUSH_US 1000000u
bool cache_may_flush(void);

/* Does the CPU have CLFLUSHOPT, which flushes many lines at a time? Known after cache_init. */
bool cache_can_flush_lines(void);

/* The number of flushes so far. Any CPU. */
uint64_t cache_epoch(void);

/* The duration of the last flush in TSC ticks; 0 before the first. BSP. */
uint64_t cache_flush_ticks(void);

#endif
