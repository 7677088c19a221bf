/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that allocate and free host pages and guest frames at the same time, under ThreadSanitizer,
 * with the product's allocators (vmm/host/page_alloc.c). The CPU that has a page or a frame writes
 * its own words to it without ordering: if two CPUs have the same page, that is a data race. At the
 * end all memory must be free again. Exits with 0 on success.
 */
#include <stdio.h>

#include "tests/unit/race_cpus.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"

#define PAGES	   4096u /* pages of the machine */
#define POOL_PAGES 512u
#define STEPS	   20000u
#define HOLD	   12u /* at most so many allocations of each kind for each CPU */
#define PIECE_MAX  8u

static uint8_t memory[PAGES][PAGE_SIZE] __attribute__((aligned(SIZE_2M)));
static uint8_t spare[3][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE))); /* the middle one */
static uint64_t pages_taken, frames_taken, reserved_taken;

/* An allocation that a CPU has. */
struct piece {
	void *at;
	uint32_t count;
	bool reserved;
};
static _Thread_local struct piece pages[HOLD], extents[HOLD];
static _Thread_local uint64_t set_aside;

/* Checks and writes the first word of each page, which no other CPU may have changed. */
static void mark(const struct piece *piece, uint64_t before)
{
	for (uint32_t i = 0; i < piece->count; i++) {
		uint64_t *word = (uint64_t *)((uint8_t *)piece->at + i * PAGE_SIZE);

		if (*word != before) {
			race_broken("CPU %u finds %lu in a page, not %lu", race_self, *word,
				    before);
		}
		*word = before == 0 ? race_self + 1 : 0;
	}
}

static void give_page(struct piece *piece)
{
	mark(piece, race_self + 1);
	if (piece->reserved) {
		page_free_reserved(piece->at);
		set_aside++;
	} else {
		page_free(piece->at, piece->count);
	}
	*piece = (struct piece){ NULL, 0, false };
}

static void step_page(struct piece *piece)
{
	if (piece->at != NULL) {
		give_page(piece);
		return;
	}
	if (set_aside != 0 && race_random(2) == 0) {
		set_aside--;
		*piece = (struct piece){ page_alloc_reserved(), 1, true };
		race_count(&reserved_taken);
	} else {
		piece->count = 1 + race_random(PIECE_MAX);
		piece->at = page_alloc(piece->count);
	}
	if (piece->at != NULL) {
		mark(piece, 0);
		race_count(&pages_taken);
	}
}

static void step_reserve(void)
{
	if (race_random(2) == 0) {
		set_aside += page_reserve(4) ? 4 : 0;
	} else if (set_aside >= 4) {
		page_unreserve(4);
		set_aside -= 4;
	}
}

static void step_frames(struct piece *piece)
{
	hpa_t first;

	if (piece->at != NULL) {
		mark(piece, race_self + 1);
		frames_free(hpa((uintptr_t)piece->at), piece->count);
		piece->at = NULL;
		return;
	}
	piece->count = 1 + race_random(4 * PIECE_MAX);
	if (frames_alloc(piece->count, 1u << race_random(4), &first) == 0) {
		piece->at = (void *)first.v;
		mark(piece, 0);
		race_count(&frames_taken);
	}
}

/* CPU 0 adds a page, and removes it as soon as no CPU has it. */
static void step_spare(bool add)
{
	static bool added;
	const struct mem_range range = { hpa((uintptr_t)spare[1]), 1 };

	if (add && !added) {
		frames_add(&range, 1);
	}
	added = (added || add) && frames_remove(range) == 0;
	if (added && !add) {
		race_broken("a page without an owner is not free");
	}
}

static void run(void)
{
	for (uint32_t i = 0; i < STEPS; i++) {
		switch (race_random(5)) {
		case 0: step_reserve(); break;
		case 1:
		case 2: step_page(&pages[race_random(HOLD)]); break;
		default: step_frames(&extents[race_random(HOLD)]); break;
		}
		if (race_self == 0) {
			step_spare(true);
		}
		(void)frames_stale();
		if (page_free_count() > POOL_PAGES || page_left_count() > POOL_PAGES ||
		    frames_free_count() > PAGES + 1) {
			race_broken("more is free than there is");
		}
	}
	for (uint32_t i = 0; i < HOLD; i++) {
		if (pages[i].at != NULL) {
			give_page(&pages[i]);
		}
		if (extents[i].at != NULL) {
			step_frames(&extents[i]);
		}
	}
	page_unreserve(set_aside);
}

int main(void)
{
	const struct mem_range range = { hpa((uintptr_t)memory), PAGES };
	const struct page_pool_plan plan = { POOL_PAGES, POOL_PAGES, UINT64_MAX };
	uint64_t free_pages, free_frames;

	if (frames_init(&range, 1, &plan) != 0) {
		race_broken("no pool");
	}
	free_pages = page_free_count();
	free_frames = frames_free_count();
	race_run(run);
	step_spare(false);
	if (page_free_count() != free_pages || frames_free_count() != free_frames ||
	    !page_reserve(free_pages)) {
		race_broken("%lu of %lu pages and %lu of %lu frames are free", page_free_count(),
			    free_pages, frames_free_count(), free_frames);
	}
	printf("%lu pieces of the pool, %lu pages that were set aside, %lu extents of frames\n",
	       pages_taken, reserved_taken, frames_taken);
	if (pages_taken < 1000 || reserved_taken < 1000 || frames_taken < 1000) {
		race_broken("too little happened");
	}
	return 0;
}
