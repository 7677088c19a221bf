/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of memory that is not paged: a sorted list of extents, as large as the machine's free
 * memory allows. All frames are allocated at once. This code neither maps nor zeroes them.
 */
#ifndef UMBRA_EPT_EXTENTS_H
#define UMBRA_EPT_EXTENTS_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

/* Addresses [base, base + bytes) are in frames from `first` on. */
struct extent {
	uint64_t base;
	uint64_t bytes;
	uint64_t first;
};

/* One allocation of host pages, which doubles when the list no longer fits. */
struct extents {
	uint64_t max_leaf;
	bool stale;	   /* at allocation caches held lines of some frames, from their last use */
	uint64_t epoch;	   /* cache_epoch() at the allocation */
	size_t page_count; /* size of this structure in host pages */
	size_t count;
	struct extent list[]; /* sorted, without gaps: the list covers the whole range */
};

/*
 * Allocates frames for [base, base + bytes), whole pages, aligned so that leaves of up to max_leaf
 * bytes (PAGE_SIZE, SIZE_2M, SIZE_1G) fit. For a KeyID other than 0, flushes the caches if they may
 * hold lines of the frames under another KeyID; then on the BSP with no lock held. Returns
 * ERR_NOMEM, or ERR_AGAIN when the last flush was too recent. `now` flushes anyway: for commands of
 * a user. *out is NULL after an error.
 */
int extents_create(uint64_t base, uint64_t bytes, uint64_t max_leaf, keyid_t keyid, bool now,
		   struct extents **out);

/*
 * Would extents_create return ERR_AGAIN now? Call this before a KeyID is taken, which else would
 * have to be given back. After it returned false, extents_create does not return ERR_AGAIN until
 * memory that was used under KeyID 0 is freed. BSP.
 */
bool extents_wait(void);

/*
 * Frees the frames. All lines that their user touched have left the caches: by a flush of all
 * caches, line by line, or by gmem_zero_frames for KeyID 0. Ignores NULL.
 */
void extents_destroy(struct extents *extents);

/* The extent that holds an address of the range. */
const struct extent *extents_find(const struct extents *extents, uint64_t at);

/*
 * The size of the largest leaf that can map the address: inside the extent, aligned, and supported
 * by the CPU.
 */
uint64_t extents_leaf(const struct extents *extents, const struct extent *extent, uint64_t at);

#endif
