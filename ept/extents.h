/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames behind memory that stays in its frames: a sorted list of extents, as large as the
 * machine's free memory allows, that is complete from the start. Nothing here is mapped or zeroed.
 */
#ifndef UMBRA_EPT_EXTENTS_H
#define UMBRA_EPT_EXTENTS_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

/* Addresses [base, base + bytes) lie at frames from first on. */
struct extent {
	uint64_t base;
	uint64_t bytes;
	uint64_t first;
};

/* One run of host pages, doubled when the list no longer fits. */
struct extents {
	uint64_t max_leaf;
	bool stale;	   /* when they were taken, caches had lines of some, of the use before */
	uint64_t epoch;	   /* cache_epoch() then */
	size_t page_count; /* of this run */
	size_t count;
	struct extent list[]; /* sorted, without gaps: they cover the range */
};

/*
 * Takes frames for [base, base + bytes), whole pages, aligned so that leaves of up to max_leaf
 * bytes (PAGE_SIZE, SIZE_2M, SIZE_1G) fit. Under a KeyID other than 0 the caches are flushed when
 * they may hold lines of the frames under another one: BSP then, no lock held. ERR_NOMEM;
 * ERR_AGAIN when the last flush was too short a time ago. With now, which is for what a
 * person asked for, that does not matter. *out is NULL after an error.
 */
int extents_create(uint64_t base, uint64_t bytes, uint64_t max_leaf, keyid_t keyid, bool now,
		   struct extents **out);

/*
 * Whether extents_create may find ERR_AGAIN now. Once it may not, it does not until free memory is
 * used under KeyID 0: to be asked before a KeyID is taken, which would have to be given up. BSP.
 */
bool extents_wait(void);

/*
 * Gives the frames back. What was touched of them has left the caches: by a flush of all, line by
 * line, or as it was zeroed (gmem_zero_frames), the latter by KeyID 0. NULL is ignored.
 */
void extents_destroy(struct extents *extents);

/* The extent that holds an address of the range. */
const struct extent *extents_find(const struct extents *extents, uint64_t at);

/* The largest leaf that can map the address: within the extent, aligned, offered by the CPU. */
uint64_t extents_leaf(const struct extents *extents, const struct extent *extent, uint64_t at);

#endif
