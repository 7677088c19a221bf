/* SPDX-License-Identifier: Apache-2.0 */
/* Flushes single lines of the caches; cache.h flushes whole caches. */
#ifndef UMBRA_BASE_CACHE_LINES_H
#define UMBRA_BASE_CACHE_LINES_H

#include "vmm/base/types.h"

/*
 * Writes the lines of a range back to memory and drops them from the caches of all CPUs, for the
 * KeyID under which the range is mapped at this address. What the caller zeroed is zero in DRAM
 * when this returns, even for an attacker who removes the memory modules. Flushes whole lines of 64
 * bytes. Any CPU; any lock may be held.
 */
void cache_write_back(const void *area, size_t bytes);

/*
 * The same for lines that will be used again: where the CPU has CLWB, they may stay in the caches.
 */
void cache_copy_back(const void *area, size_t bytes);

#endif
