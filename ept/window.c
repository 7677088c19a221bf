/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window: its frames, their owners, and the choice of a frame to evict. It owns window_lock.
 *
 * Why there is always a victim. The sum of all floors is at most the number of frames. So if a VM
 * below its floor finds no free frame, another VM is above its own, or a CPU is making a frame
 * free, which is busy until then. A VM at its floor has 64 frames
 * per vCPU and one more. Each vCPU holds at most 64 frames, of which one may just be getting its
 * page; so a vCPU that looks for a frame holds 63. So some frames are not held. If each of them is
 * busy, or pinned by the door, then not for long, and the CPU tries again. Whoever makes a frame
 * busy or pins it needs no other frame for that, and no CPU that looks for a frame holds gmem.lock.
 */
#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/cache.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

/*
 * One search gives at most so many used frames a second chance. All CPUs wait for window_lock, and
 * going once through a window of 65,536 used frames would take milliseconds.
 */
#define CHANCES 32

/* window_spare looks at so many frames. */
#define SPARE_LOOKS 32u

/* window_next_idle looks at so many frames, which the hand reaches soon. */
#define LOOK_AHEAD 32u

struct lock window_lock;

static struct {
	struct window_frame *frames;
	uint32_t count;
	uint32_t first_free;
	uint32_t hand; /* the CLOCK hand: the next frame to look at */
	uint64_t claimed;
} window;

static size_t table_pages(uint64_t frame_count)
{
	return ALIGN_UP(frame_count * sizeof(struct window_frame), PAGE_SIZE) / PAGE_SIZE;
}

/*
 * Logs where the window lies, because a dump of DRAM may hold clear text there. The end is
 * exclusive.
 */
static void log_place(void)
{
	uint64_t from = window.frames[0].frame.v, to = from + PAGE_SIZE;

	for (uint32_t i = 1; i <= window.count; i++) {
		uint64_t next = i < window.count ? window.frames[i].frame.v : 0;

		if (next == to) {
			to += PAGE_SIZE;
		} else if (next + PAGE_SIZE == from) {
			from = next;
		} else {
			log_info("window: %u pages in clear, %lu of them at 0x%lx-0x%lx",
				 window.count, (to - from) / PAGE_SIZE, from, to);
			from = next;
			to = next + PAGE_SIZE;
		}
	}
}

int window_init(uint64_t frame_count)
{
	bool stale = false, frame_stale;
	uint32_t i;

	if (frame_count == 0 || frame_count >= WINDOW_NONE) {
		return ERR_RANGE;
	}
	window.frames = page_alloc(table_pages(frame_count));
	if (window.frames == NULL) {
		return ERR_NOMEM;
	}
	window.count = (uint32_t)frame_count;
	window.first_free = WINDOW_NONE;
	for (i = 0; i < window.count; i++) {
		hpa_t frame;

		if (frames_alloc_keyed(1, 1, &frame, &frame_stale) != 0) {
			window_exit();
			return ERR_NOMEM;
		}
		stale |= frame_stale;
		window.frames[i].frame = frame;
		window_put_free(i);
	}
	if (stale && page_keyid() != KEYID_PLATFORM) {
		/* The frames are used under another KeyID now: see flush_if_stale in extents.c. */
		cache_flush_all();
	}
	log_place();
	return 0;
}

void window_exit(void)
{
	CHECK(window.claimed == 0);
	for (uint32_t i = 0; i < window.count && window.frames[i].frame.v != 0; i++) {
		frames_free(window.frames[i].frame, 1);
	}
	page_free(window.frames, table_pages(window.count));
	memset(&window, 0, sizeof(window));
}

struct window_frame *window_frame(uint32_t index)
{
	return &window.frames[index];
}

uint64_t window_frame_count(void)
{
	return window.count;
}

bool window_claim(uint64_t frames)
{
	if (frames > window_unclaimed()) {
		return false;
	}
	window.claimed += frames;
	return true;
}

void window_unclaim(uint64_t frames)
{
	window.claimed -= frames;
}

uint64_t window_unclaimed(void)
{
	return window.count - window.claimed;
}

uint32_t window_take_free(void)
{
	uint32_t index = window.first_free;

	if (index != WINDOW_NONE) {
		window.first_free = window.frames[index].next_free;
	}
	return index;
}

void window_put_free(uint32_t index)
{
	window_reset(&window.frames[index]);
	window.frames[index].next_free = window.first_free;
	window.first_free = index;
}

/*
 * One field after the other, but not the address: at the end of the machine window_wipe reads it,
 * and a CPU may have been stopped right here.
 */
void window_reset(struct window_frame *frame)
{
	frame->region = NULL;
	frame->page = 0;
	frame->pins = frame->holds = 0;
	frame->mapped = frame->writable = 0;
	frame->entry = NULL;
	frame->dirty = frame->referenced = frame->seen = false;
	frame->idle_s = 0;
}

void window_wipe(void)
{
	for (uint32_t i = 0; i < window.count; i++) {
		gmem_zero_frames(GMEM_SLOT_WIPE, window_page(&window.frames[i]), PAGE_SIZE);
	}
}

/* May a frame be taken from its owner for vm? The owner may be vm itself. */
static bool may_lose(const struct pager_vm *owner, const struct pager_vm *vm)
{
	return owner == vm ? owner->frames >= owner->floor : owner->frames > owner->floor;
}

/* Was the frame used since the hand last passed? Clears the notes of that. */
static inline bool was_used(struct window_frame *frame)
{
	bool used = frame->referenced;

	frame->referenced = frame->seen = false;
	for (uint32_t bits = frame->mapped; bits != 0; bits &= bits - 1) {
		used |= ept_entry_referenced(window_entry(frame, (uint32_t)__builtin_ctz(bits)));
	}
	return used;
}

bool window_seen(struct window_frame *frame)
{
	const bool reported = frame->referenced && frame->seen;
	bool used;

	frame->referenced &= !reported;
	used = was_used(frame);
	frame->referenced = frame->seen = reported || used;
	return used;
}

/* As was_used, but clears nothing. */
static bool is_used(const struct window_frame *frame)
{
	bool used = frame->referenced;

	for (uint32_t bits = frame->mapped; bits != 0; bits &= bits - 1) {
		used |= ept_entry_accessed(window_entry(frame, (uint32_t)__builtin_ctz(bits)));
	}
	return used;
}

/*
 * Moves the hand to the frame behind the one that it finds. must: in the second round no frame has
 * another chance, because guests may touch pages faster than this looks.
 */
static uint32_t find_victim(const struct pager_vm *vm, bool must)
{
	struct window_frame *frame = &window.frames[window.hand];
	const struct window_frame *end = &window.frames[window.count];
	const struct sealed_region *region = NULL; /* of the previous frame: mostly the same */
	const uint64_t most = must ? 2ul * window.count : MIN(SPARE_LOOKS, window.count);
	uint32_t chances = 0;
	bool may = false;

	for (uint64_t looked = 0; looked < most; looked++) {
		struct window_frame *here = frame;

		frame = frame + 1 == end ? window.frames : frame + 1;
		if (here->region != region) {
			region = here->region;
			may = region != NULL && may_lose(region->vm, vm);
		}
		if (may && (here->pins | here->holds) == 0 && !window_is_busy(here) &&
		    (!was_used(here) ||
		     (must && (++chances > CHANCES || looked >= window.count)))) {
			window.hand = (uint32_t)(frame - window.frames);
			return (uint32_t)(here - window.frames);
		}
	}
	window.hand = (uint32_t)(frame - window.frames);
	return WINDOW_NONE;
}

/* Will a frame soon be neither busy nor pinned? */
static bool any_is_in_use(void)
{
	for (uint32_t i = 0; i < window.count; i++) {
		if (window.frames[i].pins != 0 || window_is_busy(&window.frames[i])) {
			return true;
		}
	}
	return false;
}

uint32_t window_victim(const struct pager_vm *vm)
{
	const uint32_t index = find_victim(vm, true);

	if (index == WINDOW_NONE && !any_is_in_use()) {
		panic("the window has no frame for %s, although its floor says so", vm->name);
	}
	return index;
}

uint32_t window_spare(const struct pager_vm *vm)
{
	return find_victim(vm, false);
}

uint32_t window_next_idle(const struct window_frame *victim, struct window_frame **idle,
			  uint32_t max)
{
	uint32_t looks = MIN(LOOK_AHEAD, window.count - 1), count = 0;
	uint32_t at = (uint32_t)(victim - window.frames);

	while (looks-- != 0 && count < max) {
		struct window_frame *frame;

		at = at + 1 == window.count ? 0 : at + 1;
		frame = &window.frames[at];
		if (frame->mapped == 0 || frame->region->vm != victim->region->vm ||
		    frame->region->dead || (frame->pins | frame->holds) != 0 ||
		    window_is_busy(frame) || is_used(frame)) {
			continue;
		}
		idle[count++] = frame;
	}
	return count;
}

/* The i-th latest frame that is held. */
static uint32_t held(const struct vcpu_hold *hold, uint32_t i)
{
	return hold->frames[(hold->next + HOLD_FRAMES - 1 - i) % HOLD_FRAMES];
}

static void let_oldest_go(struct vcpu_hold *hold)
{
	window.frames[held(hold, hold->count - 1)].holds--;
	hold->count--;
}

static void let_all_go(struct vcpu_hold *hold)
{
	while (hold->count != 0) {
		let_oldest_go(hold);
	}
}

void window_let_vm_go(struct pager_vm *vm)
{
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		let_all_go(&vm->holds[i]);
	}
}

void window_let_go(struct pager_vm *vm, const struct gmem_faulter *by, bool opens)
{
	struct vcpu_hold *hold;

	CHECK(by->vcpu < vm->vcpu_count);
	hold = &vm->holds[by->vcpu];
	if (hold->place != by->place) {
		let_all_go(hold);
		hold->place = by->place;
	}
	/* A string instruction faults many times at one place: it needs only its latest pages. */
	if (opens && hold->count == HOLD_FRAMES) {
		let_oldest_go(hold);
	}
}

void window_hold(struct pager_vm *vm, const struct gmem_faulter *by, uint32_t index)
{
	struct vcpu_hold *hold = &vm->holds[by->vcpu];

	for (uint32_t i = 0; i < hold->count; i++) {
		if (held(hold, i) == index) {
			return;
		}
	}
	if (hold->count == HOLD_FRAMES) {
		let_oldest_go(hold);
	}
	hold->frames[hold->next] = index;
	hold->next = (hold->next + 1) % HOLD_FRAMES;
	hold->count++;
	window.frames[index].holds++;
}
