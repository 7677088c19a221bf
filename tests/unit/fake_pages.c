/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host pages and guest frames.
 *
 * Host pages come from a range below 2 GiB, so that their addresses fit any physical-address width
 * that a test configures. They are allocated in rising order, so that a freed page stays poisoned
 * until the whole range was used once.
 */
#define _GNU_SOURCE
#include <sanitizer/asan_interface.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/fake_base.h"
#include "tests/unit/fake_frames.h"
#include "vmm/base/err.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"

#define POOL_BASE  0x10000000ul
#define POOL_PAGES 0x10000u /* 256 MiB */

static uint8_t *pool; /* NULL: not made yet */
static bool pool_used[POOL_PAGES];
static size_t pool_next;
static uint64_t pages_live;
static int pages_fail_after = -1;

static int frames_fd = -1;
static uint8_t *frames_view; /* the tests' own mapping of all frames */
enum frame_state { FRAME_FREE, FRAME_FRESH, FRAME_USED };
static uint8_t frame_states[FAKE_FRAME_COUNT];
static uint64_t frame_count = FAKE_FRAME_COUNT;
static uint64_t frame_high; /* all frames above it are free */
static uint64_t frames_live;
static int frames_fail_after = -1;

static bool fails_now(int *after)
{
	if (*after < 0) {
		return false;
	}
	if (*after == 0) {
		return true;
	}
	*after -= 1;
	return false;
}

static void pool_make(void)
{
	pool = mmap((void *)POOL_BASE, POOL_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (pool != (uint8_t *)POOL_BASE) {
		fake_fail("no memory at the host pool's address");
	}
	ASAN_POISON_MEMORY_REGION(pool, POOL_PAGES * PAGE_SIZE);
}

/* The index of count free pages in a row, or POOL_PAGES. */
static size_t pool_find(size_t count)
{
	size_t run = 0;

	for (size_t i = 0; i < 2 * POOL_PAGES; i++) {
		size_t at = (pool_next + i) % POOL_PAGES;

		run = at == 0 ? 0 : run;
		run = pool_used[at] ? 0 : run + 1;
		if (run == count) {
			return at + 1 - count;
		}
	}
	return POOL_PAGES;
}

void *page_alloc(size_t count)
{
	size_t at;

	if (pool == NULL) {
		pool_make();
	}
	if (count == 0) {
		fake_fail("page_alloc(0)");
	}
	if (fails_now(&pages_fail_after)) {
		return NULL;
	}
	at = pool_find(count + 1); /* the page after the allocation stays inaccessible */
	if (at == POOL_PAGES) {
		return NULL;
	}
	memset(pool_used + at, true, count + 1);
	pool_next = at + count + 1;
	pages_live += count;
	ASAN_UNPOISON_MEMORY_REGION(pool + at * PAGE_SIZE, count * PAGE_SIZE);
	return memset(pool + at * PAGE_SIZE, 0, count * PAGE_SIZE);
}

/* The index of a page, which must be in use. */
static size_t pool_index(const void *page, const char *caller)
{
	uint64_t at = ((uintptr_t)page - POOL_BASE) / PAGE_SIZE;

	if (pool == NULL || (uintptr_t)page < POOL_BASE || at >= POOL_PAGES || !pool_used[at]) {
		fake_fail("%s: %p is not a host page", caller, page);
	}
	return at;
}

void page_free(void *pages, size_t count)
{
	size_t at;

	if (pages == NULL) {
		return;
	}
	at = pool_index(pages, "page_free");
	for (size_t i = 0; i <= count; i++) {
		if (!pool_used[at + i]) {
			fake_fail("page_free: %p has fewer than %zu pages", pages, count);
		}
	}
	if (!__asan_address_is_poisoned(pool + (at + count) * PAGE_SIZE)) {
		fake_fail("page_free: %p has more than %zu pages", pages, count);
	}
	memset(pool_used + at, false, count + 1);
	ASAN_POISON_MEMORY_REGION(pages, count * PAGE_SIZE);
	pages_live -= count;
}

static uint64_t reserved;

bool page_reserve(uint64_t count)
{
	if (fails_now(&pages_fail_after)) {
		return false;
	}
	reserved += count;
	return true;
}

void page_unreserve(uint64_t count)
{
	if (count > reserved) {
		fake_fail("more pages given up than set aside");
	}
	reserved -= count;
}

/* Works even when the test lets page_alloc fail. */
void *page_alloc_reserved(void)
{
	const int after = pages_fail_after;
	void *page;

	page_unreserve(1);
	pages_fail_after = -1;
	page = page_alloc(1);
	pages_fail_after = after;
	return page;
}

void page_free_reserved(void *page)
{
	page_free(page, 1);
	reserved++;
}

uint64_t fake_pages_reserved(void)
{
	return reserved;
}

uint64_t page_free_count(void)
{
	return POOL_PAGES - pages_live;
}

uint64_t page_left_count(void)
{
	return POOL_PAGES - pages_live - reserved;
}

bool page_is_own(uint64_t first, uint64_t end)
{
	const struct mem_range own = page_pool();

	return first < own.base.v + own.page_count * PAGE_SIZE && end > own.base.v;
}

__attribute__((weak)) struct mem_range page_pool(void)
{
	return (struct mem_range){ .base = hpa(POOL_BASE), .page_count = POOL_PAGES };
}

keyid_t page_keyid_now;

hpa_t page_hpa(const void *page)
{
	(void)pool_index(page, "page_hpa");
	return hpa(keyid_pack(keyed(hpa((uintptr_t)page), page_keyid_now)));
}

void *page_va(hpa_t page)
{
	const uint64_t address = keyid_unpack(page.v).frame.v;

	(void)pool_index((void *)address, "page_va");
	return (void *)address;
}

static void frames_make(void)
{
	frames_fd = memfd_create("frames", 0);
	if (frames_fd < 0 || ftruncate(frames_fd, (off_t)(FAKE_FRAME_COUNT * PAGE_SIZE)) != 0) {
		fake_fail("no memory for guest frames");
	}
	frames_view = mmap(NULL, FAKE_FRAME_COUNT * PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_NORESERVE, frames_fd, 0);
	if (frames_view == MAP_FAILED) {
		fake_fail("no room for guest frames");
	}
}

/* cache_epoch() when a frame was last freed without a flush, plus one. */
static uint64_t frames_used_at[FAKE_FRAME_COUNT];

int frames_alloc(uint64_t page_count, uint64_t align_pages, hpa_t *first)
{
	bool stale;

	return frames_alloc_keyed(page_count, align_pages, first, &stale);
}

static bool any_stale(uint64_t at, uint64_t count)
{
	for (uint64_t i = at; i < at + count; i++) {
		if (cache_epoch() < MAX(frames_used_at[i], 1u)) {
			return true;
		}
	}
	return false;
}

int frames_alloc_keyed(uint64_t page_count, uint64_t align_pages, hpa_t *first, bool *stale)
{
	uint64_t run;

	if (frames_fd < 0) {
		frames_make();
	}
	if (page_count == 0 || align_pages == 0 || (align_pages & (align_pages - 1)) != 0) {
		fake_fail("frames_alloc: bad size or alignment");
	}
	if (fails_now(&frames_fail_after)) {
		return ERR_NOMEM;
	}
	for (uint64_t at = 0; at + page_count <= frame_count; at += align_pages) {
		for (run = 0; run < page_count; run++) {
			if (at + run < frame_high && frame_states[at + run] != FRAME_FREE) {
				break;
			}
		}
		if (run < page_count) {
			continue;
		}
		memset(frame_states + at, FRAME_FRESH, page_count);
		frame_high = MAX(frame_high, at + page_count);
		frames_live += page_count;
		*first = hpa(FAKE_FRAME_BASE + at * PAGE_SIZE);
		*stale = any_stale(at, page_count);
		return 0;
	}
	return ERR_NOMEM;
}

static uint64_t frame_index(hpa_t frame, const char *caller)
{
	uint64_t at = (frame.v - FAKE_FRAME_BASE) / PAGE_SIZE;

	if (frame.v < FAKE_FRAME_BASE || at >= FAKE_FRAME_COUNT || frame_states[at] == FRAME_FREE) {
		fake_fail("%s: %#lx is not an allocated frame", caller, frame.v);
	}
	return at;
}

static void give_back(hpa_t first, uint64_t page_count, uint64_t used_at)
{
	for (uint64_t i = 0; i < page_count; i++) {
		const uint64_t at = frame_index(hpa(first.v + i * PAGE_SIZE), "frames_free");

		frame_states[at] = FRAME_FREE;
		frames_used_at[at] = used_at;
	}
	frames_live -= page_count;
}

void frames_free(hpa_t first, uint64_t page_count)
{
	give_back(first, page_count, cache_epoch() + 1);
}

void frames_free_flushed(hpa_t first, uint64_t page_count)
{
	give_back(first, page_count, cache_epoch());
}

bool frames_stale(void)
{
	for (uint64_t at = 0; at < frame_high; at++) {
		if (frame_states[at] == FRAME_FREE && any_stale(at, 1)) {
			return true;
		}
	}
	return any_stale(frame_high, frame_high < FAKE_FRAME_COUNT);
}

uint64_t frames_free_count(void)
{
	return frame_count - frames_live;
}

int fake_frames_fd(hpa_t frame, uint64_t *offset)
{
	(void)fake_frame(frame);
	*offset = ALIGN_DOWN(frame.v, PAGE_SIZE) - FAKE_FRAME_BASE;
	return frames_fd;
}

/* One page fault instead of many; a kernel that cannot do it has the many. */
static void populate(uint64_t part)
{
	static bool done[FAKE_FRAME_COUNT * PAGE_SIZE / FAKE_FRAME_PART];

	if (!done[part]) {
		(void)madvise(frames_view + part * FAKE_FRAME_PART, FAKE_FRAME_PART,
			      MADV_POPULATE_WRITE);
		done[part] = true;
	}
}

void *fake_frame(hpa_t frame)
{
	uint64_t at = frame_index(frame, "frame");

	if (frame_states[at] == FRAME_FRESH) {
		frame_states[at] = FRAME_USED;
		populate(at * PAGE_SIZE / FAKE_FRAME_PART);
		memset(frames_view + at * PAGE_SIZE, 0xa5, PAGE_SIZE);
	}
	return frames_view + (frame.v - FAKE_FRAME_BASE);
}

bool fake_frame_is_live(hpa_t frame)
{
	uint64_t at = (frame.v - FAKE_FRAME_BASE) / PAGE_SIZE;

	return frame.v >= FAKE_FRAME_BASE && at < FAKE_FRAME_COUNT &&
	       frame_states[at] != FRAME_FREE;
}

uint64_t fake_pages_live(void)
{
	return pages_live;
}

uint64_t fake_frames_live(void)
{
	return frames_live;
}

void fake_pages_fail_after(int after)
{
	pages_fail_after = after;
}

void fake_frames_fail_after(int after)
{
	frames_fail_after = after;
}

void fake_frames_set_count(uint64_t count)
{
	frame_count = count;
}

void fake_pages_reset(void)
{
	reserved = 0;
	if (pool != NULL) {
		ASAN_POISON_MEMORY_REGION(pool, pool_next * PAGE_SIZE);
		memset(pool_used, false, sizeof(pool_used));
	}
	memset(frame_states, FRAME_FREE, frame_high);
	memset(frames_used_at, 0, frame_high * sizeof(frames_used_at[0]));
	fake_cache_flush_all();
	pages_live = frames_live = frame_high = 0;
	frame_count = FAKE_FRAME_COUNT;
	pages_fail_after = frames_fail_after = -1;
	page_keyid_now = 0;
	keyid_configure(52, 0);
}
