/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frames.c owns all memory that firmware lists; these are its functions for page_alloc.c, which
 * takes the host pool from it.
 */
#ifndef UMBRA_HOST_FRAMES_PRIV_H
#define UMBRA_HOST_FRAMES_PRIV_H

#include "vmm/host/page_alloc.h"

/* Adds the given ranges, for page_alloc_init. */
void frames_init(const struct mem_range *ranges, size_t range_count);

/*
 * frames_longest: the length of the longest run of free frames in [from, end); all are page
 * numbers. frames_cut removes count frames from the end of that run for good, stores the first in
 * *first, and starts on a 2 MiB boundary if the run has room for that and count is at least that
 * large. Returns false when the run is too short or count is 0.
 */
uint64_t frames_longest(uint64_t from, uint64_t end);
bool frames_cut(uint64_t from, uint64_t end, uint64_t count, uint64_t *first);

#endif
