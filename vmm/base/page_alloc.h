/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Physical memory in two kinds that never mix.
 *
 * Host pages are what the hypervisor itself uses: mapped one to one (address == physical address),
 * read-write, taken from one pool that is carved out at boot. Guest frames are never mapped; they
 * are touched through host_temp_map alone (and only by ept/). Both allocators have their own lock.
 */
#ifndef UMBRA_BASE_PAGE_ALLOC_H
#define UMBRA_BASE_PAGE_ALLOC_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

/* A range of RAM; page_count in pages of 4 KiB. */
struct mem_range {
	hpa_t base;
	uint64_t page_count;
};

/* How large the host pool shall be, in pages, and where it may lie. */
struct page_pool_plan {
	uint64_t wanted;
	uint64_t least; /* what the hypervisor cannot do without */
	uint64_t end;	/* an address: all of the pool lies below */
};

/*
 * Takes the machine's usable RAM as firmware describes it: ranges may be unsorted, overlapping,
 * unaligned, empty or impossible (left out with a warning); the first MiB is never used.
 *
 * The bootstrap pages are cut from the end of the largest range below 4 GiB. The host pool is one
 * piece, for what a VM keeps of its memory is one: it comes from the end of the largest range above
 * 4 GiB, if all that is wanted fits there, which leaves the memory below to those who can use no
 * other, and keeps the pool out of reach of devices with 32-bit addresses; else from the largest
 * range of all, and is no larger than that. ERR_NOMEM: it would have fewer pages than plan->least,
 * or there are no bootstrap pages. The rest become guest frames.
 *
 * Writes to the pool's first pages: they must be mapped one to one, as firmware's page tables do
 * with all memory (UEFI, "x64 Platforms"). BSP only, once.
 */
int page_alloc_init(const struct mem_range *ranges, size_t range_count,
		    const struct page_pool_plan *plan);

/*
 * More RAM, for guest frames only: what held firmware's tables until ours were loaded. Checked
 * like page_alloc_init's ranges; must not overlap with those.
 */
void frames_add(const struct mem_range *ranges, size_t range_count);

/*
 * The host pool, for the one who maps it. It begins with a bitmap: bit n % 64 of quadword n / 64 is
 * set when page n of the pool is in use, and the bitmap's own pages are.
 */
struct mem_range page_pool(void);
/* The beginning of it that was ever handed out, bitmap included: behind it nobody has written. */
struct mem_range page_pool_written(void);

/*
 * The pages of bootstrap.c: below 4 GiB, at KeyID 0 for ever. Content undefined. PAGE_BOOTSTRAP of
 * them, and one for each GiB of the pool, which the tables there map.
 */
#define PAGE_BOOTSTRAP 160ul
struct mem_range page_bootstrap(void);

/* Does any byte of [first, end) lie in the pool or in the bootstrap pages? Addresses. */
bool page_is_own(uint64_t first, uint64_t end);

/* count consecutive host pages, zeroed; NULL when the pool is exhausted. */
void *page_alloc(size_t count);
/* Zeroes and returns what page_alloc gave, or a part of it. NULL is ignored. */
void page_free(void *pages, size_t count);
uint64_t page_free_count(void);
/* Of these, how many are not set aside (page_reserve): what page_alloc has left. */
uint64_t page_left_count(void);

/*
 * Sets pages aside, one at a time later, for what must not fail then: false when so many are not
 * left. page_alloc does not touch them. page_alloc_reserved takes one of them, zeroed, and cannot
 * fail; page_free_reserved gives one page back and sets it aside again. page_unreserve ends it for
 * as many as the caller has not taken.
 */
bool page_reserve(uint64_t count);
void page_unreserve(uint64_t count);
void *page_alloc_reserved(void);
void page_free_reserved(void *page);

/*
 * Between a host page's address and the number that stands for it in an entry or register of the
 * hardware: its physical address, with the KeyID of host pages (page_keyid). CHECKs that it lies
 * in the pool.
 */
hpa_t page_hpa(const void *page);
void *page_va(hpa_t page);
/* The KeyID under which the pool and the window are used; 0 until the hypervisor has one. */
keyid_t page_keyid(void);
/* For the one who has moved the pool's content under the KeyID: page_hpa carries it from now on. */
void page_set_keyid(keyid_t keyid);

/*
 * page_count consecutive guest frames whose address is a multiple of align_pages (a power of two).
 * Content is undefined. ERR_NOMEM when no such extent is free.
 */
int frames_alloc(uint64_t page_count, uint64_t align_pages, hpa_t *first);
/*
 * The same for use under another KeyID than 0. *stale says that caches may still hold lines of
 * these frames from their last use: cache_flush_all has to come before the first access.
 */
int frames_alloc_keyed(uint64_t page_count, uint64_t align_pages, hpa_t *first, bool *stale);
/*
 * Returns frames; extents merge again. Any part of an earlier allocation may be returned.
 * frames_free_flushed: the caches were flushed since the last access.
 */
void frames_free(hpa_t first, uint64_t page_count);
void frames_free_flushed(hpa_t first, uint64_t page_count);
uint64_t frames_free_count(void);
/* Whether frames_alloc_keyed may find *stale in any of the free frames. */
bool frames_stale(void);
/*
 * Takes what of the range is free out of the frames, for good. Returns how many pages; those that
 * are in use, and any for which the table of extents has no room, are not among them.
 */
uint64_t frames_remove(struct mem_range range);

#endif
