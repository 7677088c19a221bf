/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest frames: a sorted table of free extents, with used frames between any two. The table starts
 * in the image and moves to host pages when it must grow. Locks: frames.lock, then the pool's.
 */
#include "vmm/host/frames_priv.h"

#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/lock.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/cache.h"

#define LOW_PAGES    (BIT(20) / PAGE_SIZE) /* first MiB: firmware, trampolines; never used */
#define PHYS_PAGES   (BIT(52) / PAGE_SIZE) /* no physical address is larger */
#define BELOW_4G     (BIT(32) / PAGE_SIZE)
#define PAGES_PER_2M (SIZE_2M / PAGE_SIZE)
#define PAGES_PER_1G (SIZE_1G / PAGE_SIZE)
#define FIRST_TABLE  512

/*
 * Pages [first, end) by page number. used_at is the number of cache flushes at the last use of any
 * part of the extent: caches may hold lines of it until another flush.
 */
struct extent {
	uint64_t first;
	uint64_t end;
	uint64_t used_at;
};

static struct extent first_table[FIRST_TABLE];
static struct {
	struct lock lock;
	struct extent *extents; /* sorted, disjoint, not adjacent */
	size_t count;
	size_t cap;
	size_t table_pages;	     /* 0 while the table is first_table */
	bool has_pool;		     /* page_alloc may be called */
	ATOMIC(uint64_t) free_count; /* changed under the lock, read without it */
} frames;

/* Index of the first extent that ends at or after page. */
static size_t extent_find(uint64_t page)
{
	size_t lo = 0;
	size_t hi = frames.count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (frames.extents[mid].end < page) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

/* Makes room for one more extent; doubles the table if it is full. */
static bool extent_reserve(void)
{
	size_t pages = MAX(frames.table_pages * 2, 4u);
	struct extent *bigger;

	if (frames.count < frames.cap) {
		return true;
	}
	bigger = frames.has_pool ? page_alloc(pages) : NULL;
	if (bigger == NULL) {
		return false;
	}
	memcpy(bigger, frames.extents, frames.count * sizeof(*bigger));
	if (frames.table_pages != 0) {
		page_free(frames.extents, frames.table_pages);
	}
	frames.extents = bigger;
	frames.table_pages = pages;
	frames.cap = pages * PAGE_SIZE / sizeof(*bigger);
	return true;
}

static void extent_delete(size_t at, size_t count)
{
	memmove(&frames.extents[at], &frames.extents[at + count],
		(frames.count - at - count) * sizeof(frames.extents[0]));
	frames.count -= count;
}

static bool extent_insert(size_t at, struct extent e)
{
	if (!extent_reserve()) {
		return false;
	}
	memmove(&frames.extents[at + 1], &frames.extents[at],
		(frames.count - at) * sizeof(frames.extents[0]));
	frames.extents[at] = e;
	frames.count++;
	return true;
}

/* Adds e to the free extents, merged with all extents that it touches or overlaps. */
static bool extent_add(struct extent e)
{
	size_t at = extent_find(e.first);
	size_t last = at;

	while (last < frames.count && frames.extents[last].first <= e.end) {
		e.first = MIN(e.first, frames.extents[last].first);
		e.end = MAX(e.end, frames.extents[last].end);
		e.used_at = MAX(e.used_at, frames.extents[last].used_at);
		atomic_add_own(&frames.free_count,
			       frames.extents[last].first - frames.extents[last].end);
		last++;
	}
	if (last > at) {
		frames.extents[at] = e;
		extent_delete(at + 1, last - at - 1);
	} else if (!extent_insert(at, e)) {
		return false;
	}
	atomic_add_own(&frames.free_count, e.end - e.first);
	return true;
}

/* Removes [first, end) from the extent at index at, in which it lies. */
static bool extent_take(size_t at, uint64_t first, uint64_t end)
{
	struct extent old = frames.extents[at];

	if (old.first < first && end < old.end) {
		if (!extent_insert(at + 1, (struct extent){ end, old.end, old.used_at })) {
			return false;
		}
		frames.extents[at].end = first;
	} else if (old.first < first) {
		frames.extents[at].end = first;
	} else if (end < old.end) {
		frames.extents[at].first = end;
	} else {
		extent_delete(at, 1);
	}
	atomic_add_own(&frames.free_count, first - end);
	return true;
}

/* The usable part of a range from firmware: whole pages, above 1 MiB, no wrap-around. */
static struct extent usable_part(const struct mem_range *range)
{
	uint64_t first = range->base.v / PAGE_SIZE;
	uint64_t end;
	struct extent none = { 0, 0, 0 };

	if (__builtin_add_overflow(first, range->page_count, &end) || end > PHYS_PAGES) {
		log_warn("memory map: range at 0x%lx of %lu pages is impossible, left out",
			 range->base.v, range->page_count);
		return none;
	}
	if (end > keyid_address_end() / PAGE_SIZE) {
		log_warn("memory map: range at 0x%lx of %lu pages is left out: its addresses have "
			 "bits that this CPU takes for KeyIDs (from 0x%lx on)",
			 range->base.v, range->page_count, keyid_address_end());
		return none;
	}
	/* An unaligned range loses its partial first page here, and its partial last page below. */
	if (!IS_ALIGNED(range->base.v, PAGE_SIZE)) {
		first++;
	}
	first = MAX(first, LOW_PAGES);
	return first < end ? (struct extent){ first, end, cache_epoch() } : none;
}

void frames_add(const struct mem_range *ranges, size_t range_count)
{
	size_t i;

	lock_take(&frames.lock, LOCK_FRAMES);
	for (i = 0; i < range_count; i++) {
		struct extent e = usable_part(&ranges[i]);

		if (e.first < e.end && !extent_add(e)) {
			log_warn("memory map: too many ranges, the one at 0x%lx is left out",
				 e.first * PAGE_SIZE);
		}
	}
	lock_drop(&frames.lock);
}

/*
 * Finds the extent with the largest part in [from, end), and that part. False when there is none.
 */
static bool find_largest(uint64_t from, uint64_t end, size_t *at, struct extent *part)
{
	uint64_t size = 0;

	for (size_t i = 0; i < frames.count; i++) {
		const uint64_t first = MAX(frames.extents[i].first, from);
		const uint64_t past = MIN(frames.extents[i].end, end);

		if (first < past && past - first > size) {
			size = past - first;
			*at = i;
			*part = (struct extent){ .first = first, .end = past };
		}
	}
	return size != 0;
}

uint64_t frames_longest(uint64_t from, uint64_t end)
{
	struct extent part = { 0 };
	size_t at;

	lock_take(&frames.lock, LOCK_FRAMES);
	(void)find_largest(from, end, &at, &part);
	lock_drop(&frames.lock);
	return part.end - part.first;
}

/*
 * Removes count frames from the end of the longest run in [from, end) for good, and stores the
 * first in *first. Starts on a 2 MiB boundary if the run has room for that and count is at least
 * that large. Returns false when the run is too short or count is 0.
 */
static bool cut(uint64_t from, uint64_t end, uint64_t count, uint64_t *first)
{
	struct extent part;
	size_t at;
	bool done;

	lock_take(&frames.lock, LOCK_FRAMES);
	done = count != 0 && find_largest(from, end, &at, &part) && part.end - part.first >= count;
	if (done) {
		*first = ALIGN_DOWN(part.end - count, count < PAGES_PER_2M ? 1 : PAGES_PER_2M);
		if (*first < part.first || !extent_take(at, *first, *first + count)) {
			/*
			 * Cutting the end off an extent needs no new extent, so it works with a
			 * full table.
			 */
			*first = part.end - count;
			done = extent_take(at, *first, part.end);
		}
	}
	lock_drop(&frames.lock);
	return done;
}

/* Takes the bootstrap pages first, because fewer ranges are good for them. */
static int cut_own(const struct page_pool_plan *plan, struct mem_range *pool,
		   struct mem_range *bootstrap)
{
	const uint64_t end = plan->end / PAGE_SIZE;
	uint64_t from = BELOW_4G, first;

	*bootstrap = (struct mem_range){ hpa(0), PAGE_BOOTSTRAP + plan->wanted / PAGES_PER_1G };
	*pool = (struct mem_range){ hpa(0), plan->wanted };
	if (!cut(0, BELOW_4G, bootstrap->page_count, &first)) {
		return ERR_NOMEM;
	}
	bootstrap->base = hpa(first * PAGE_SIZE);
	if (frames_longest(from, end) < pool->page_count) {
		from = 0;
		pool->page_count = MIN(pool->page_count, frames_longest(from, end));
	}
	if (pool->page_count < plan->least || !cut(from, end, pool->page_count, &first)) {
		return ERR_NOMEM;
	}
	pool->base = hpa(first * PAGE_SIZE);
	return 0;
}

int frames_init(const struct mem_range *ranges, size_t range_count,
		const struct page_pool_plan *plan)
{
	struct mem_range pool, bootstrap;
	int err;

	memset(&frames, 0, sizeof(frames));
	frames.extents = first_table;
	frames.cap = FIRST_TABLE;
	frames_add(ranges, range_count);
	err = cut_own(plan, &pool, &bootstrap);
	if (err == 0) {
		page_pool_init(pool, bootstrap);
		frames.has_pool = true;
	}
	return err;
}

int frames_alloc(uint64_t page_count, uint64_t align_pages, hpa_t *first)
{
	bool stale;

	/* KeyID 0, or the caller flushes anyway: stale lines of other KeyIDs do no harm. */
	return frames_alloc_keyed(page_count, align_pages, first, &stale);
}

int frames_alloc_keyed(uint64_t page_count, uint64_t align_pages, hpa_t *first, bool *stale)
{
	uint64_t best_size = UINT64_MAX;
	size_t best = 0;
	size_t i;
	int err = ERR_NOMEM;

	if (page_count == 0 || align_pages == 0 || (align_pages & (align_pages - 1)) != 0) {
		return ERR_INVAL;
	}
	lock_take(&frames.lock, LOCK_FRAMES);
	/*
	 * Takes the smallest extent that fits, so that large and aligned ones stay for large
	 * requests.
	 */
	for (i = 0; i < frames.count; i++) {
		const struct extent *e = &frames.extents[i];
		uint64_t skip = ALIGN_UP(e->first, align_pages) - e->first;
		uint64_t size = e->end - e->first;

		if (size < best_size && skip <= size && size - skip >= page_count) {
			best_size = size;
			best = i;
		}
	}
	if (best_size != UINT64_MAX) {
		uint64_t at = ALIGN_UP(frames.extents[best].first, align_pages);

		*stale = frames.extents[best].used_at >= cache_epoch();

		if (extent_take(best, at, at + page_count)) {
			*first = hpa(at * PAGE_SIZE);
			err = 0;
		}
	}
	lock_drop(&frames.lock);
	return err;
}

static void give_back(hpa_t first, uint64_t page_count, uint64_t used_at)
{
	struct extent e = { first.v / PAGE_SIZE, first.v / PAGE_SIZE + page_count, used_at };
	size_t at;
	bool kept;

	CHECK(IS_ALIGNED(first.v, PAGE_SIZE) && page_count <= PHYS_PAGES && e.end <= PHYS_PAGES);
	if (page_count == 0) {
		return;
	}
	lock_take(&frames.lock, LOCK_FRAMES);
	at = extent_find(e.first + 1); /* the first extent that ends after e begins */
	CHECK(at == frames.count || frames.extents[at].first >= e.end);
	kept = extent_add(e);
	lock_drop(&frames.lock);
	if (!kept) {
		log_warn("free memory is too scattered: %lu pages at 0x%lx are lost", page_count,
			 first.v);
	}
}

void frames_free(hpa_t first, uint64_t page_count)
{
	give_back(first, page_count, cache_epoch());
}

void frames_free_flushed(hpa_t first, uint64_t page_count)
{
	give_back(first, page_count, cache_epoch() - 1);
}

uint64_t frames_free_count(void)
{
	return atomic_load_relaxed(&frames.free_count);
}

uint64_t frames_remove(struct mem_range range)
{
	const uint64_t first = range.base.v / PAGE_SIZE, end = first + range.page_count;
	uint64_t before;
	uint64_t removed;

	lock_take(&frames.lock, LOCK_FRAMES);
	before = atomic_load_relaxed(&frames.free_count);
	for (size_t i = extent_find(first + 1);
	     i < frames.count && frames.extents[i].first < end;) {
		const struct extent e = frames.extents[i];

		/* Skips an extent of which a first part, or all, stays free. */
		if (!extent_take(i, MAX(e.first, first), MIN(e.end, end)) || e.first < first) {
			i++;
		}
	}
	removed = before - atomic_load_relaxed(&frames.free_count);
	lock_drop(&frames.lock);
	return removed;
}

bool frames_stale(void)
{
	bool stale = false;

	lock_take(&frames.lock, LOCK_FRAMES);
	for (size_t i = 0; i < frames.count && !stale; i++) {
		stale = frames.extents[i].used_at >= cache_epoch();
	}
	lock_drop(&frames.lock);
	return stale;
}
