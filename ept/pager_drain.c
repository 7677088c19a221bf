/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drain: seals pages that a VM has not used for a while, so that an idle VM has little in clear.
 * About once a second a sweep begins, in which the boot processor checks every frame of the window.
 * It does this in short turns. Where a frame has got another page since, it writes the frame back,
 * so that what was drained earlier is not in DRAM any more.
 */
#include "ept/pager.h"

#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/cache_lines.h"
#include "vmm/base/cpu.h"
#include "vmm/base/tsc.h"
#include "vmm/host/host_paging.h"

/*
 * One turn checks at most TURN_LOOKS frames. It ends after it has sealed or written back TURN_PAGES
 * pages, of which the last WINDOW_LOOKS frames may give more. It checks at most WINDOW_LOOKS frames
 * before it releases window_lock, because other CPUs wait for the lock.
 */
#define TURN_LOOKS 4096u
#define TURN_PAGES 16u

/* The sweep through the window. Boot processor only. */
static struct {
	uint64_t began;	  /* TSC */
	uint32_t seconds; /* from the previous sweep's start to this one's, rounded down */
	uint64_t next;	  /* the next frame to look at */
	bool wanted;	  /* a VM with a drain was created */
} sweep = { .next = UINT64_MAX };

void pager_set_drain(struct pager_vm *vm, uint32_t seconds)
{
	vm->drain_s = seconds;
	sweep.wanted |= seconds != 0;
}

/* Frames that DRAM may hold with the page before their present one. */
struct stale {
	uint32_t count;
	uint32_t frames[WINDOW_LOOKS];
};

/*
 * Under window_lock. The frame may get another page before copy_back: then it is stale again. If it
 * is just getting one, it stays stale, for part of what is written back may be its old page.
 */
static void collect_stale(struct stale *stale, uint32_t index)
{
	struct window_frame *frame = window_frame(index);

	if (frame->region != NULL && frame->idle_s == WINDOW_STALE) {
		frame->idle_s = window_is_busy(frame) ? WINDOW_STALE : 0;
		stale->frames[stale->count++] = index;
	}
}

/* Without window_lock: a frame is always the window's, and writing back changes no byte of it. */
static void copy_back(const struct stale *stale)
{
	for (uint32_t i = 0; i < stale->count; i++) {
		cache_copy_back(
			host_temp_map(GMEM_SLOT_CLEAR, window_page(window_frame(stale->frames[i]))),
			PAGE_SIZE);
		host_temp_unmap(GMEM_SLOT_CLEAR);
	}
}

uint32_t pager_copy_back(uint32_t *next)
{
	const uint32_t end = MIN(*next + WINDOW_LOOKS, (uint32_t)window_frame_count());
	struct stale stale = { .count = 0 };

	lock_take(&window_lock, LOCK_WINDOW);
	while (*next < end) {
		collect_stale(&stale, (*next)++);
	}
	lock_drop(&window_lock);
	copy_back(&stale);
	return stale.count;
}

/* Pages of one region that will be sealed together. */
struct due {
	uint32_t count;
	struct window_frame *frames[PAGER_UNMAP_MAX];
};

/* Has the frame a page that can be sealed now, of a VM that wants this? */
static bool can_drain(const struct window_frame *frame)
{
	return frame->region != NULL && frame->region->vm->drain_s != 0 && !frame->region->dead &&
	       frame->pins == 0 && !window_is_busy(frame) && frame->idle_s != WINDOW_STALE;
}

static bool is_due(const struct window_frame *frame)
{
	return can_drain(frame) && frame->idle_s >= frame->region->vm->drain_s;
}

/* In each sweep: for how long was the frame's page not used? */
static void count_idle(struct window_frame *frame)
{
	if (can_drain(frame)) {
		frame->idle_s = window_seen(frame) ? 0 : frame->idle_s + sweep.seconds;
	}
}

/*
 * Adds a frame to those that are due. CLOCK's note of its last use goes: what has a note after the
 * shoot-down was used meanwhile.
 */
static void add_due(struct due *due, struct window_frame *frame)
{
	if (frame->holds != 0) {
		/*
		 * The vCPU that holds the frame sleeps: it has not used the frame either. When it
		 * wakes up, it faults again for the pages that it held.
		 */
		window_let_vm_go(frame->region->vm);
	}
	frame->referenced = frame->seen = false;
	due->frames[due->count++] = frame;
}

/*
 * Seals the pages and frees their frames. All of them share one shoot-down. Meanwhile a guest may
 * use a page, or another CPU may evict it: those are not due any more. Returns how many were
 * sealed. Under window_lock, which it releases meanwhile.
 */
static uint32_t seal_due(const struct due *due)
{
	uint32_t sealed = 0;

	if (due->count == 0) {
		return 0;
	}
	pager_unmap(due->frames, due->count);
	for (uint32_t i = 0; i < due->count; i++) {
		struct window_frame *frame = due->frames[i];

		if (is_due(frame) && !frame->referenced && frame->holds == 0) {
			frame->region->vm->counters.drained++;
			pager_evict(window_index(frame));
			sealed++;
		}
	}
	return sealed;
}

/*
 * Checks up to WINDOW_LOOKS frames, but stops when it has as many pages to seal as share a
 * shoot-down, or meets one of another region. Returns how many it has sealed or written back.
 */
static uint32_t drain_few(void)
{
	struct stale stale = { .count = 0 };
	struct due due = { .count = 0 };
	uint32_t sealed;

	lock_take(&window_lock, LOCK_WINDOW);
	for (uint32_t i = 0;
	     i < WINDOW_LOOKS && due.count < PAGER_UNMAP_MAX && sweep.next < window_frame_count();
	     i++, sweep.next++) {
		struct window_frame *frame = window_frame((uint32_t)sweep.next);

		collect_stale(&stale, (uint32_t)sweep.next);
		count_idle(frame);
		if (!is_due(frame)) {
			continue;
		}
		if (due.count != 0 && due.frames[0]->region != frame->region) {
			break;
		}
		add_due(&due, frame);
	}
	sealed = seal_due(&due);
	lock_drop(&window_lock);
	copy_back(&stale);
	return stale.count + sealed;
}

void pager_drain(void)
{
	uint32_t pages = 0;

	if (!sweep.wanted) {
		return;
	}
	if (sweep.next >= window_frame_count()) {
		const uint64_t now = cpu_rdtsc(), hz = tsc_hz();

		if (now - sweep.began < hz) {
			return;
		}
		sweep.seconds = (uint32_t)((now - sweep.began) / hz);
		sweep.began = now;
		sweep.next = 0;
	}
	for (uint32_t looks = 0; looks < TURN_LOOKS && pages < TURN_PAGES; looks += WINDOW_LOOKS) {
		pages += drain_few();
	}
}
