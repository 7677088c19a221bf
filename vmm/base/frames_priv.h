/* SPDX-License-Identifier: Apache-2.0 */
/* What frames.c, which has the memory that firmware lists, gives page_alloc.c for the host pool. */
#ifndef UMBRA_BASE_FRAMES_PRIV_H
#define UMBRA_BASE_FRAMES_PRIV_H

#include "vmm/base/page_alloc.h"

/* Starts with these ranges (page_alloc_init). */
void frames_init(const struct mem_range *ranges, size_t range_count);

/*
 * Takes count frames for good, from the end of the largest run of free frames that lies in
 * [from, end), by page number; on a 2 MiB boundary if it fits. False: the run is too short.
 */
bool frames_cut(uint64_t from, uint64_t end, uint64_t count, uint64_t *first);

#endif
