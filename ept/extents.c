/* SPDX-License-Identifier: Apache-2.0 */
#include "ept/extents.h"

#include "ept/ept.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"

static size_t capacity(size_t page_count)
{
	return (page_count * PAGE_SIZE - sizeof(struct extents)) / sizeof(struct extent);
}

const struct extent *extents_find(const struct extents *extents, uint64_t at)
{
	size_t low = 0, high = extents->count;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (extents->list[middle].base <= at) {
			low = middle;
		} else {
			high = middle;
		}
	}
	return &extents->list[low];
}

/* Can a leaf of `size` bytes that lies wholly in the extent map the address? */
static bool leaf_fits(const struct extent *extent, uint64_t at, uint64_t size)
{
	/* Wraps to a huge value if it is below the base. */
	uint64_t offset = ALIGN_DOWN(at, size) - extent->base;

	return offset < extent->bytes && extent->bytes - offset >= size &&
	       IS_ALIGNED(extent->first + offset, size);
}

uint64_t extents_leaf(const struct extents *extents, const struct extent *extent, uint64_t at)
{
	if (extents->max_leaf >= SIZE_1G && ept_caps()->page_1g && leaf_fits(extent, at, SIZE_1G)) {
		return SIZE_1G;
	}
	if (extents->max_leaf >= SIZE_2M && ept_caps()->page_2m && leaf_fits(extent, at, SIZE_2M)) {
		return SIZE_2M;
	}
	return PAGE_SIZE;
}

/* Appends an extent. May move the whole structure. */
static int add_extent(struct extents **extents, struct extent extent)
{
	struct extents *old = *extents;

	if (old->count == capacity(old->page_count)) {
		struct extents *larger = page_alloc(2 * old->page_count);

		if (larger == NULL) {
			return ERR_NOMEM;
		}
		memcpy(larger, old, old->page_count * PAGE_SIZE);
		larger->page_count = 2 * old->page_count;
		page_free(old, old->page_count);
		*extents = larger;
	}
	(*extents)->list[(*extents)->count++] = extent;
	return 0;
}

/* The largest leaf that the CPU and max_leaf allow above `size` bytes; 0 when there is none. */
static uint64_t larger_leaf(uint64_t max_leaf, uint64_t size)
{
	if (size < SIZE_2M && max_leaf >= SIZE_2M && ept_caps()->page_2m) {
		return SIZE_2M;
	}
	return size < SIZE_1G && max_leaf >= SIZE_1G && ept_caps()->page_1g ? SIZE_1G : 0;
}

/*
 * Allocates one piece of at most `most` bytes, in multiples of align: halves the size until one is
 * free.
 */
static int take_piece(uint64_t most, uint64_t align, uint64_t *limit, uint64_t *bytes, hpa_t *first,
		      bool *stale)
{
	bool piece_stale;
	uint64_t size = ALIGN_DOWN(MIN(most, MAX(*limit, align)), align);

	for (; size != 0; size = ALIGN_DOWN(size / 2, align)) {
		if (frames_alloc_keyed(size / PAGE_SIZE, align / PAGE_SIZE, first, &piece_stale) ==
		    0) {
			*stale |= piece_stale;
			*bytes = size;
			return 0;
		}
		*limit = size / 2;
	}
	return ERR_NOMEM;
}

/*
 * Allocates frames for the first part of [at, at + bytes), as one piece: aligned for the largest
 * leaf that fits there, else for a smaller one. A piece ends where a leaf that is larger than its
 * alignment could begin. *limit remembers which size failed, so that in fragmented memory later
 * pieces do not try it again.
 */
static int take_extent(uint64_t max_leaf, uint64_t at, uint64_t bytes, uint64_t *limit,
		       struct extent *out, bool *stale)
{
	static const uint64_t aligns[] = { SIZE_1G, SIZE_2M, PAGE_SIZE };
	hpa_t first;

	for (size_t i = 0; i < ARRAY_COUNT(aligns); i++) {
		uint64_t align = aligns[i], larger = larger_leaf(max_leaf, align), most = bytes;

		if (align > PAGE_SIZE && (larger_leaf(max_leaf, align / 2) != align ||
					  !IS_ALIGNED(at, align) || bytes < align)) {
			continue; /* no such leaf fits there */
		}
		if (larger != 0) {
			most = MIN(bytes, ALIGN_DOWN(at, larger) + larger - at);
		}
		if (take_piece(most, align, limit, &out->bytes, &first, stale) == 0) {
			out->base = at;
			out->first = first.v;
			return 0;
		}
	}
	return ERR_NOMEM;
}

static int reserve(struct extents **extents, uint64_t base, uint64_t bytes)
{
	uint64_t limit = UINT64_MAX;

	for (uint64_t done = 0; done < bytes;) {
		struct extent extent;
		bool stale = false;
		int err = take_extent((*extents)->max_leaf, base + done, bytes - done, &limit,
				      &extent, &stale);

		(*extents)->stale |= stale;
		if (err != 0) {
			return err;
		}
		err = add_extent(extents, extent);
		if (err != 0) {
			frames_free(hpa(extent.first), extent.bytes / PAGE_SIZE);
			return err;
		}
		done += extent.bytes;
	}
	return 0;
}

/*
 * For frames that are used under another KeyID next (336907, "Assign"). Nothing maps them any more:
 * their last user has unmapped them and done a shoot-down. Lines that are still cached must be
 * flushed before the first access, or they are written back later over the new owner's data.
 */
static int flush_if_stale(struct extents *extents, bool now)
{
	if (extents->stale && !now && !cache_may_flush()) {
		return ERR_AGAIN;
	}
	if (extents->stale) {
		cache_flush_all();
		extents->stale = false;
	}
	return 0;
}

bool extents_wait(void)
{
	return frames_stale() && !cache_may_flush();
}

int extents_create(uint64_t base, uint64_t bytes, uint64_t max_leaf, keyid_t keyid, bool now,
		   struct extents **out)
{
	struct extents *extents = page_alloc(1);
	int err;

	*out = NULL;
	if (extents == NULL) {
		return ERR_NOMEM;
	}
	extents->max_leaf = max_leaf;
	extents->page_count = 1;
	extents->epoch = cache_epoch();
	err = reserve(&extents, base, bytes);
	if (err == 0 && keyid != KEYID_PLATFORM) {
		err = flush_if_stale(extents, now);
	}
	if (err != 0) {
		extents_destroy(extents);
		return err;
	}
	*out = extents;
	return 0;
}

/*
 * The user of the frames leaves no line of them in the caches, under any KeyID, so the next owner
 * need not wait for a flush. That is not true for frames that were never touched: caches may still
 * hold lines of the use before. Then a flush must come before an access under another KeyID, unless
 * there was one since they were allocated.
 */
void extents_destroy(struct extents *extents)
{
	bool stale;

	if (extents == NULL) {
		return;
	}
	stale = extents->stale && extents->epoch == cache_epoch();
	for (size_t i = 0; i < extents->count; i++) {
		const hpa_t first = hpa(extents->list[i].first);
		const uint64_t pages = extents->list[i].bytes / PAGE_SIZE;

		if (stale) {
			frames_free(first, pages);
		} else {
			frames_free_flushed(first, pages);
		}
	}
	page_free(extents, extents->page_count);
}
