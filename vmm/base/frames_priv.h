/* SPDX-License-Identifier: Apache-2.0 */
/* What frames.c, which has the memory that firmware lists, gives page_alloc.c for the host pool. */
#ifndef UMBRA_BASE_FRAMES_PRIV_H
#define UMBRA_BASE_FRAMES_PRIV_H

#include "vmm/base/page_alloc.h"

/* Under the lock of what is counted; others read it without. The sum may wrap: it is less then. */
static inline void add_free(uint64_t *count, uint64_t pages)
{
	__atomic_store_n(count, *count + pages, __ATOMIC_RELAXED);
}

/* Starts with these ranges (page_alloc_init). */
void frames_init(const struct mem_range *ranges, size_t range_count);

/*
 * The longest run of free frames in [from, end), by page number: how many there are, and the same
 * with count of them taken for good from its end, on a 2 MiB boundary if that fits and count is as
 * much. False: it is too short, or count is 0.
 */
uint64_t frames_longest(uint64_t from, uint64_t end);
bool frames_cut(uint64_t from, uint64_t end, uint64_t count, uint64_t *first);

#endif
