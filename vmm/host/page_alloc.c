/* SPDX-License-Identifier: Apache-2.0 */
/* The host pool, with a bitmap in its own first pages. */
#include "vmm/host/page_alloc.h"

#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/lock.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/host/frames_priv.h"

static struct {
	struct lock lock;
	uint64_t first; /* page number */
	uint64_t page_count;
	ATOMIC(uint64_t) free_count; /* changed under the lock, read without it */
	uint64_t reserved;	     /* how many of the free pages page_reserve has set aside */
	uint64_t hint;		     /* no page below this one is free */
	ATOMIC(uint64_t) written;    /* no page from this one on was ever allocated */
	uint64_t *used;		     /* one bit for each page */
} pool;

keyid_t page_keyid_now;

static struct mem_range bootstrap;

static bool pool_is_used(uint64_t page)
{
	return (pool.used[page / 64] & BIT(page % 64)) != 0;
}

/*
 * Sets whole words at a time: a VM's metadata may be gigabytes, and other CPUs wait for the lock.
 */
static void pool_set_used(uint64_t page, uint64_t count, bool used)
{
	while (count > 0) {
		const bool whole = page % 64 == 0 && count >= 64;
		const uint64_t bits = whole ? UINT64_MAX : BIT(page % 64);
		const uint64_t step = whole ? 64 : 1;

		CHECK((pool.used[page / 64] & bits) == (used ? 0 : bits));
		pool.used[page / 64] ^= bits;
		page += step;
		count -= step;
	}
}

void page_pool_init(struct mem_range pages, struct mem_range bootstrap_pages)
{
	uint64_t bitmap_bytes = ALIGN_UP(pages.page_count, 64ul) / 8;
	uint64_t bitmap_pages = ALIGN_UP(bitmap_bytes, PAGE_SIZE) / PAGE_SIZE;

	memset(&pool, 0, sizeof(pool));
	pool.first = pages.base.v / PAGE_SIZE;
	pool.page_count = pages.page_count;
	bootstrap = bootstrap_pages;
	pool.used = page_va(pages.base);
	memset(pool.used, 0, bitmap_pages * PAGE_SIZE);
	pool_set_used(0, bitmap_pages, true);
	atomic_store_relaxed(&pool.free_count, pool.page_count - bitmap_pages);
	pool.hint = bitmap_pages;
	atomic_store_relaxed(&pool.written, bitmap_pages);
}

struct mem_range page_pool(void)
{
	return (struct mem_range){ hpa(pool.first * PAGE_SIZE), pool.page_count };
}

struct mem_range page_pool_written(void)
{
	return (struct mem_range){ hpa(pool.first * PAGE_SIZE),
				   atomic_load_relaxed(&pool.written) };
}

struct mem_range page_bootstrap(void)
{
	return bootstrap;
}

static bool overlaps(uint64_t first, uint64_t end, struct mem_range pages)
{
	return first < pages.base.v + pages.page_count * PAGE_SIZE && pages.base.v < end;
}

bool page_is_own(uint64_t first, uint64_t end)
{
	return overlaps(first, end, page_pool()) || overlaps(first, end, bootstrap);
}

/*
 * Returns the first page of count free pages in a row, or page_count of the pool. Looks at whole
 * words at a time, because a VM's metadata may be gigabytes.
 */
static uint64_t pool_find(uint64_t count)
{
	uint64_t page = pool.hint;
	uint64_t run = 0;

	while (page < pool.page_count && run < count) {
		const bool whole = page % 64 == 0 && pool.page_count - page >= 64;

		if (whole && pool.used[page / 64] == UINT64_MAX) {
			page += 64;
			run = 0;
		} else if (whole && pool.used[page / 64] == 0) {
			page += 64;
			run += 64;
		} else {
			run = pool_is_used(page) ? 0 : run + 1;
			page++;
		}
	}
	return run >= count ? page - run : pool.page_count;
}

/* reserved: takes pages that page_reserve has set aside; else takes none of those. */
static void *take(size_t count, bool reserved)
{
	uint64_t page = pool.page_count;
	void *pages;

	lock_take(&pool.lock, LOCK_POOL);
	pool.reserved -= reserved ? count : 0;
	if (count <= atomic_load_relaxed(&pool.free_count) - pool.reserved) {
		page = pool_find(count);
	}
	if (page == pool.page_count) {
		lock_drop(&pool.lock);
		return NULL;
	}
	/*
	 * Stored before the pages can be written, because a CPU may be stopped at any instruction
	 * when the machine ends.
	 */
	atomic_store_release(&pool.written, MAX(atomic_load_relaxed(&pool.written), page + count));
	pool_set_used(page, count, true);
	atomic_add_own(&pool.free_count, 0 - (uint64_t)count);
	if (page == pool.hint) {
		pool.hint = page + count;
	}
	lock_drop(&pool.lock);
	pages = page_va(hpa((pool.first + page) * PAGE_SIZE));
	memset(pages, 0, count * PAGE_SIZE);
	return pages;
}

void *page_alloc(size_t count)
{
	return count != 0 ? take(count, false) : NULL;
}

void *page_alloc_reserved(void)
{
	void *page = take(1, true);

	CHECK(page != NULL);
	return page;
}

bool page_reserve(uint64_t count)
{
	bool done;

	lock_take(&pool.lock, LOCK_POOL);
	done = count <= atomic_load_relaxed(&pool.free_count) - pool.reserved;
	pool.reserved += done ? count : 0;
	lock_drop(&pool.lock);
	return done;
}

void page_unreserve(uint64_t count)
{
	lock_take(&pool.lock, LOCK_POOL);
	CHECK(count <= pool.reserved);
	pool.reserved -= count;
	lock_drop(&pool.lock);
}

static void give(void *pages, size_t count, bool reserved)
{
	uint64_t page;

	if (pages == NULL) {
		return;
	}
	page = keyid_unpack(page_hpa(pages).v).frame.v / PAGE_SIZE - pool.first;
	CHECK(IS_ALIGNED((uintptr_t)pages, PAGE_SIZE) && count <= pool.page_count - page);
	secure_zero(pages, count * PAGE_SIZE);
	lock_take(&pool.lock, LOCK_POOL);
	pool_set_used(page, count, false);
	atomic_add_own(&pool.free_count, count);
	pool.reserved += reserved ? count : 0;
	pool.hint = MIN(pool.hint, page);
	lock_drop(&pool.lock);
}

void page_free(void *pages, size_t count)
{
	give(pages, count, false);
}

void page_free_reserved(void *page)
{
	give(page, 1, true);
}

uint64_t page_free_count(void)
{
	return atomic_load_relaxed(&pool.free_count);
}

uint64_t page_left_count(void)
{
	uint64_t left;

	lock_take(&pool.lock, LOCK_POOL);
	left = atomic_load_relaxed(&pool.free_count) - pool.reserved;
	lock_drop(&pool.lock);
	return left;
}

void page_set_keyid(keyid_t keyid)
{
	page_keyid_now = keyid;
}

hpa_t page_hpa(const void *page)
{
	uint64_t number = (uintptr_t)page / PAGE_SIZE;

	CHECK(number >= pool.first && number - pool.first < pool.page_count);
	return hpa(keyid_pack(keyed(hpa((uintptr_t)page), page_keyid_now)));
}

void *page_va(hpa_t page)
{
	uint64_t address = keyid_unpack(page.v).frame.v;
	uint64_t number = address / PAGE_SIZE;

	CHECK(number >= pool.first && number - pool.first < pool.page_count);
	return (void *)(uintptr_t)address;
}
