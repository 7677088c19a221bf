/* SPDX-License-Identifier: Apache-2.0 */
/* What frames.c, which owns all memory that firmware lists, has in common with page_alloc.c. */
#ifndef UMBRA_HOST_FRAMES_PRIV_H
#define UMBRA_HOST_FRAMES_PRIV_H

#include "vmm/host/page_alloc.h"

/* In page_alloc.c: these pages are the host pool and the bootstrap pages. For frames_init. */
void page_pool_init(struct mem_range pages, struct mem_range bootstrap_pages);

/*
 * The length of the longest run of free frames in [from, end); all are page numbers. Public for its
 * unit test.
 */
uint64_t frames_longest(uint64_t from, uint64_t end);

#endif
