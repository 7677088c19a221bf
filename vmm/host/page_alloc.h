/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Physical memory in two kinds that never mix.
 *
 * The hypervisor itself uses host pages: mapped one to one (address == physical address),
 * read-write, from one pool that is set aside at boot. Guest frames are not mapped; only ept/
 * accesses them, through host_temp_map. Each of the two allocators has its own lock.
 */
#ifndef UMBRA_HOST_PAGE_ALLOC_H
#define UMBRA_HOST_PAGE_ALLOC_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

/* A range of RAM; page_count in pages of 4 KiB. */
struct mem_range {
	hpa_t base;
	uint64_t page_count;
};

/* The size of the host pool in pages, and where it may lie. */
struct page_pool_plan {
	uint64_t wanted;
	uint64_t least; /* the hypervisor cannot run with less */
	uint64_t end;	/* an address: the whole pool lies below it */
};

/*
 * Takes the machine's usable RAM from firmware's list. Ranges may be unsorted, overlapping,
 * unaligned, empty or impossible (these are skipped with a warning). The first MiB is never used.
 *
 * The bootstrap pages come from the end of the largest range below 4 GiB. The host pool is one
 * piece, because the hypervisor needs contiguous memory for each VM. It comes from the end of the
 * largest range above 4 GiB if plan->wanted fits there: that keeps it out of reach of devices with
 * 32-bit addresses, and keeps the memory below 4 GiB for code that needs it. Else it comes from the
 * largest range of all, and is no larger than that. All other pages become guest frames. Returns
 * ERR_NOMEM when the pool would have fewer than plan->least pages, or there is no room for the
 * bootstrap pages.
 *
 * Writes to the pool's first pages, which must be mapped one to one, as firmware's page tables map
 * all memory (UEFI, "x64 Platforms"). BSP only, once.
 */
int frames_init(const struct mem_range *ranges, size_t range_count,
		const struct page_pool_plan *plan);

/*
 * Adds RAM that held firmware's tables until the hypervisor loaded its own. It becomes guest
 * frames. Checks the ranges as frames_init does; they must not overlap with those.
 */
void frames_add(const struct mem_range *ranges, size_t range_count);

/*
 * The host pool, for code that maps it. The pool begins with a bitmap: bit n % 64 of quadword n /
 * 64 is set when page n of the pool is in use. The bitmap's own pages count as in use.
 */
struct mem_range page_pool(void);
/*
 * The first part of the pool, up to the last page that was ever handed out, with the bitmap. The
 * pages behind it were never written.
 */
struct mem_range page_pool_written(void);

/*
 * The pages for bootstrap.c: below 4 GiB, at KeyID 0 for ever. Their content is undefined. There
 * are PAGE_BOOTSTRAP pages, and one more for each GiB of the pool, because the bootstrap tables map
 * the pool.
 */
#define PAGE_BOOTSTRAP 160ul
struct mem_range page_bootstrap(void);

/* Does any byte at addresses [first, end) lie in the pool or in the bootstrap pages? */
bool page_is_own(uint64_t first, uint64_t end);

/* count consecutive host pages, zeroed; NULL when the pool is exhausted. */
void *page_alloc(size_t count);
/* Zeroes and frees pages from page_alloc, all or a part of an allocation. Ignores NULL. */
void page_free(void *pages, size_t count);
uint64_t page_free_count(void);
/* The number of free pages without the reserved ones: what page_alloc can still allocate. */
uint64_t page_left_count(void);

/*
 * page_reserve sets count free pages aside for an operation that must not fail later; it returns
 * false when fewer are left. page_alloc does not use reserved pages. page_alloc_reserved takes one
 * of them, zeroed, and cannot fail. page_free_reserved zeroes a page and reserves it again.
 * page_unreserve ends the reservation of pages that the caller has not taken.
 */
bool page_reserve(uint64_t count);
void page_unreserve(uint64_t count);
void *page_alloc_reserved(void);
void page_free_reserved(void *page);

/*
 * Convert between a host page's address and its number in an entry or register of the hardware: the
 * physical address with the KeyID of host pages (page_keyid). Both CHECK that the page lies in the
 * pool.
 */
hpa_t page_hpa(const void *page);
void *page_va(hpa_t page);
/* The KeyID of the pool and the window; 0 until the hypervisor has one. */
extern keyid_t page_keyid_now; /* set by page_set_keyid */
static inline keyid_t page_keyid(void)
{
	return page_keyid_now;
}
/* Called after the pool's content has moved under the KeyID: page_hpa uses it from now on. */
void page_set_keyid(keyid_t keyid);

/*
 * Allocates page_count consecutive guest frames whose address is a multiple of align_pages (a power
 * of two). Their content is undefined. Returns ERR_NOMEM when no such extent is free, ERR_INVAL for
 * 0 pages or an alignment that is not a power of two.
 */
int frames_alloc(uint64_t page_count, uint64_t align_pages, hpa_t *first);
/*
 * As frames_alloc, for use under a KeyID other than 0. *stale says that caches may still hold lines
 * of these frames from their last use: then the caller must call cache_flush_all before the first
 * access.
 */
int frames_alloc_keyed(uint64_t page_count, uint64_t align_pages, hpa_t *first, bool *stale);
/*
 * Frees frames and merges adjacent extents. The range may be a part of an allocation.
 * frames_free_flushed: the caches were flushed after the last access.
 */
void frames_free(hpa_t first, uint64_t page_count);
void frames_free_flushed(hpa_t first, uint64_t page_count);
uint64_t frames_free_count(void);
/* Could frames_alloc_keyed set *stale for any of the free frames? */
bool frames_stale(void);
/*
 * Removes the free frames of the range from the allocator for good. Returns how many pages it
 * removed. Frames in use stay, and so do frames for whose removal the table of extents has no room.
 */
uint64_t frames_remove(struct mem_range range);

#endif
