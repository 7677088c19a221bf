/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window: its frames, their owners, and the choice of a frame to evict. It owns window_lock.
 *
 * Each account (struct pager_vm) has its own CLOCK: a ring of its frames, but for those that a vCPU
 * holds. A second ring has the accounts above their floor, whose frames any VM may take. So a
 * search does not pass frames that it must not take.
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
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"

/*
 * One search gives at most so many used frames a second chance. All CPUs wait for window_lock, and
 * going once through a window of 65,536 used frames would take milliseconds.
 */
#define CHANCES 32

/*
 * While frames are taken from several accounts, the turn of one ends when about this fraction of
 * its frames was looked at: one in TURNS_A_ROUND.
 */
#define TURNS_A_ROUND 32u

/*
 * So many frames (64 MiB) are zeroed when the machine starts, so that a first touch finds one that
 * is. In a larger window the others are zeroed when they are first used.
 */
#define ZEROED_AT_START 16384u

/* window_spare looks at so many frames. */
#define SPARE_LOOKS 32u

/* window_next_idle looks at so many frames, which the hand reaches soon. */
#define LOOK_AHEAD 32u

struct lock window_lock;
struct window_frame *window_frames;
uint32_t window_busy, window_pins;
struct window_endings window_endings;

static struct {
	uint32_t count;
	uint32_t first_free;
	uint64_t claimed;
	/* The accounts above their floor: whose turn it is, and for how many looks more. */
	struct pager_vm *turn;
	uint64_t turn_looks;
	uint32_t above; /* how many there are, and the frames in all of their rings */
	uint64_t above_frames;
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
	uint64_t from = window_frames[0].frame.v, to = from + PAGE_SIZE;

	for (uint32_t i = 1; i <= window.count; i++) {
		uint64_t next = i < window.count ? window_frames[i].frame.v : 0;

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

/* Zeroes those free frames that are taken first. */
static void zero_some(void)
{
	uint32_t index = window.first_free;

	for (uint32_t i = 0; i < ZEROED_AT_START && index != WINDOW_NONE; i++) {
		struct window_frame *frame = window_frame(index);

		gmem_fill_frames(GMEM_SLOT_CLEAR, window_page(frame), PAGE_SIZE, 0);
		frame->zero = true;
		index = frame->next;
	}
}

int window_init(uint64_t frame_count)
{
	bool stale = false, frame_stale;
	uint32_t i;

	if (frame_count == 0 || frame_count >= WINDOW_NONE) {
		return ERR_RANGE;
	}
	window_frames = page_alloc(table_pages(frame_count));
	if (window_frames == NULL) {
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
		window_frames[i].frame = frame;
		window_put_free(i);
		window_frames[i].zero = false;
	}
	if (stale && page_keyid() != KEYID_PLATFORM) {
		/* The frames are used under another KeyID now: see flush_if_stale in extents.c. */
		cache_flush_all();
	}
	zero_some();
	log_place();
	return 0;
}

void window_exit(void)
{
	CHECK(window.claimed == 0);
	for (uint32_t i = 0; i < window.count && window_frames[i].frame.v != 0; i++) {
		frames_free(window_frames[i].frame, 1);
	}
	page_free(window_frames, table_pages(window.count));
	window_frames = NULL;
	memset(&window, 0, sizeof(window));
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

void window_wipe(void)
{
	for (uint32_t i = 0; i < window.count; i++) {
		gmem_zero_frames(GMEM_SLOT_WIPE, window_page(&window_frames[i]), PAGE_SIZE);
	}
}

/* --- Accounts: the ring of an account's frames, and the ring of accounts above their floor --- */

static void take_turn(struct pager_vm *vm)
{
	window.turn = vm;
	window.turn_looks = vm != NULL ? vm->ring_frames / TURNS_A_ROUND + 1 : 0;
}

/* The account's number of frames has risen above its floor, or is no longer above it. */
static __attribute__((noinline)) void change_level(struct pager_vm *vm, bool above)
{
	if (above) { /* its turn comes last */
		struct pager_vm *next = window.turn != NULL ? window.turn : vm;

		vm->above_next = next;
		vm->above_prev = next == vm ? vm : next->above_prev;
		next->above_prev->above_next = vm;
		next->above_prev = vm;
		window.above++;
		window.above_frames += vm->ring_frames;
		if (next == vm) {
			take_turn(vm);
		}
		return;
	}
	if (window.turn == vm) {
		take_turn(vm->above_next != vm ? vm->above_next : NULL);
	}
	vm->above_prev->above_next = vm->above_next;
	vm->above_next->above_prev = vm->above_prev;
	vm->above_next = vm->above_prev = NULL;
	window.above--;
	window.above_frames -= vm->ring_frames;
}

/* Called after the account's floor, or the number of its frames, has changed. */
static inline void note_level(struct pager_vm *vm)
{
	const bool above = vm->frames > vm->floor;

	if (above != (vm->above_next != NULL)) {
		change_level(vm, above);
	}
}

/* Into the ring, just behind the hand: the hand looks at all others before. */
static void link_frame(struct pager_vm *vm, struct window_frame *frame)
{
	const uint32_t index = window_index(frame);
	struct window_frame *next;

	if (vm->hand == WINDOW_NONE) {
		vm->hand = frame->next = frame->prev = index;
	} else {
		next = &window_frames[vm->hand];
		frame->next = vm->hand;
		frame->prev = next->prev;
		window_frames[next->prev].next = index;
		next->prev = index;
	}
	vm->ring_frames++;
	window.above_frames += vm->above_next != NULL;
}

static inline void unlink_frame(struct pager_vm *vm, struct window_frame *frame)
{
	const uint32_t index = window_index(frame);

	if (vm->hand == index) {
		vm->hand = frame->next != index ? frame->next : WINDOW_NONE;
	}
	window_frames[frame->prev].next = frame->next;
	window_frames[frame->next].prev = frame->prev;
	frame->next = frame->prev = WINDOW_NONE;
	vm->ring_frames--;
	window.above_frames -= vm->above_next != NULL;
}

/*
 * Sets each field on its own and never writes the frame's address: at the end of the machine
 * window_wipe reads the address, and a CPU may have been stopped in this function.
 */
static inline void set_page(struct window_frame *frame, struct sealed_region *region, uint64_t page)
{
	frame->region = region;
	frame->page = page;
	frame->holds = region != NULL;
	frame->pins = 0;
	frame->next = frame->prev = WINDOW_NONE;
	frame->mapped = frame->writable = 0;
	frame->entry = NULL;
	frame->dirty = frame->referenced = frame->seen = frame->zero = false;
	frame->idle_s = WINDOW_STALE; /* if it is free, this does not count */
}

/* A frame leaves one account and joins another one; NULL: it is free. */
static __attribute__((noinline)) void change_account(struct pager_vm *from, struct pager_vm *to)
{
	if (from != NULL) {
		from->frames--;
		note_level(from);
	}
	if (to != NULL) {
		to->frames++;
		note_level(to);
	}
}

void window_change(struct window_frame *frame, struct sealed_region *region, uint64_t page)
{
	struct pager_vm *from = frame->region != NULL ? frame->region->vm : NULL;
	struct pager_vm *to = region != NULL ? region->vm : NULL;

	if (from != NULL && frame->holds == 0) {
		unlink_frame(from, frame);
	}
	set_page(frame, region, page);
	if (from != to) {
		change_account(from, to);
	}
}

void window_put_free(uint32_t index)
{
	struct window_frame *frame = window_frame(index);

	window_change(frame, NULL, 0);
	frame->zero = true;
	frame->next = window.first_free;
	window.first_free = index;
}

void window_drop_floor(struct pager_vm *vm)
{
	window_unclaim(vm->floor);
	vm->floor = 0;
	note_level(vm);
}

/* --- CLOCK --- */

/* For a page of a share, which may be mapped in several EPTs. */
static __attribute__((noinline)) bool was_shared_used(struct window_frame *frame)
{
	bool used = false;

	for (uint32_t bits = frame->mapped; bits != 0; bits &= bits - 1) {
		used |= ept_entry_referenced(window_entry(frame, (uint32_t)__builtin_ctz(bits)));
	}
	return used;
}

/* Was the frame used since the hand last passed? Clears the notes of that. */
static inline bool was_used(struct window_frame *frame)
{
	bool used = frame->referenced;

	frame->referenced = frame->seen = false;
	if (frame->mapped == 1) { /* mostly */
		used |= ept_entry_referenced(frame->entry);
	} else if (frame->mapped != 0) {
		used |= was_shared_used(frame);
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

/* As is_accessed, for a page of a share. */
static __attribute__((noinline)) bool is_shared_accessed(const struct window_frame *frame)
{
	bool accessed = false;

	for (uint32_t bits = frame->mapped; bits != 0; bits &= bits - 1) {
		accessed |= ept_entry_accessed(window_entry(frame, (uint32_t)__builtin_ctz(bits)));
	}
	return accessed;
}

/* Was the frame accessed where it is mapped? Clears nothing. */
static inline bool is_accessed(const struct window_frame *frame)
{
	return frame->mapped == 1 ? ept_entry_accessed(frame->entry) : is_shared_accessed(frame);
}

/* How a search is done, and how far it has come. */
struct search {
	bool must;	  /* it gives a frame that is used, if it finds no other */
	uint32_t chances; /* used frames that got another chance */
	uint64_t looked;
	uint64_t round; /* after so many looks no frame has another chance, ... */
	uint64_t most;	/* ... and after so many the search ends */
};

static void begin_search(struct search *search, bool must, uint64_t round)
{
	search->must = must;
	search->looked = 0;
	search->round = round;
	search->most = must ? 2 * round : MIN(SPARE_LOOKS, round);
}

/*
 * Looks at the account's next frame, and moves its hand behind it. Returns the frame if it can be
 * evicted now, else WINDOW_NONE. must: in the second round no frame has another chance, because
 * guests may touch pages faster than this looks.
 */
static inline __attribute__((always_inline)) uint32_t look(struct pager_vm *vm,
							   struct search *search)
{
	const uint32_t index = vm->hand;
	struct window_frame *frame = &window_frames[index];

	search->looked++;
	vm->hand = frame->next;
	/* In a large window it is in no cache. The next look comes soon, or with the next fault. */
	__builtin_prefetch(&window_frames[frame->next], 1);
	if (frame->pins == 0 && !window_is_busy(frame) &&
	    (!was_used(frame) ||
	     (search->must && (++search->chances > CHANCES || search->looked > search->round)))) {
		return index;
	}
	return WINDOW_NONE;
}

/*
 * Takes from the accounts above their floor in turn. The looks of a turn are in proportion to the
 * account's frames, so a large one loses more of them.
 */
static inline __attribute__((always_inline)) uint32_t find_above(struct search *search)
{
	uint32_t index = WINDOW_NONE;

	while (index == WINDOW_NONE && search->looked < search->most) {
		if (window.turn_looks == 0 || window.turn->ring_frames == 0) {
			take_turn(window.turn->above_next);
			search->looked += window.turn->ring_frames == 0;
			continue;
		}
		window.turn_looks--;
		index = look(window.turn, search);
	}
	return index;
}

/*
 * Accounts above their floor lose frames first. A VM at its floor takes one of its own, if the
 * others have none.
 */
static inline __attribute__((always_inline)) uint32_t find_victim(struct pager_vm *vm, bool must)
{
	struct search search = { .chances = 0 };
	uint32_t index = WINDOW_NONE;

	if (window.turn != NULL) {
		begin_search(&search, must, window.above_frames + TURNS_A_ROUND * window.above);
		index = find_above(&search);
	}
	if (index == WINDOW_NONE && vm->frames == vm->floor) {
		begin_search(&search, must, vm->ring_frames);
		while (index == WINDOW_NONE && search.looked < search.most) {
			index = look(vm, &search);
		}
	}
	return index;
}

/* WINDOW_NONE: there is none. */
static uint32_t take_free(void)
{
	const uint32_t index = window.first_free;

	if (index != WINDOW_NONE) {
		window.first_free = window_frames[index].next;
	}
	return index;
}

/* Apart from window_find, which saves no registers if a frame is free. */
static __attribute__((noinline)) uint32_t must_find_victim(struct pager_vm *vm)
{
	const uint32_t index = find_victim(vm, true);

	if (index == WINDOW_NONE && window_busy == 0 && window_pins == 0) {
		panic("the window has no frame for %s, although its floor says so", vm->name);
	}
	return index;
}

uint32_t window_find(struct pager_vm *vm)
{
	const uint32_t index = take_free();

	return index != WINDOW_NONE ? index : must_find_victim(vm);
}

uint32_t window_spare(struct pager_vm *vm)
{
	const uint32_t index = take_free();

	return index != WINDOW_NONE ? index : find_victim(vm, false);
}

uint32_t window_next_idle(const struct window_frame *victim, struct window_frame **idle,
			  uint32_t max)
{
	const struct sealed_region *region = victim->region;
	struct window_frame *frame = &window_frames[victim->next];
	uint32_t looks = MIN(LOOK_AHEAD, region->vm->ring_frames - 1), count = 0;

	for (; looks != 0 && count < max; looks--) {
		/* One branch for all of it: which part is not 0 is hard to predict. */
		const uint32_t unfit = (frame->region != region) | (frame->mapped == 0) |
				       frame->pins | window_is_busy(frame) | frame->referenced;

		if (unfit == 0 && !is_accessed(frame)) {
			idle[count++] = frame;
		}
		frame = &window_frames[frame->next];
	}
	return count;
}

/* The i-th latest frame that is held. */
static uint32_t held(const struct vcpu_hold *hold, uint32_t i)
{
	return hold->frames[(hold->next + HOLD_FRAMES - 1 - i) % HOLD_FRAMES];
}

void window_release(struct pager_vm *vm, struct window_frame *frame)
{
	if (--frame->holds == 0) {
		link_frame(vm, frame);
	}
}

static inline void let_oldest_go(struct pager_vm *vm, struct vcpu_hold *hold)
{
	const uint32_t index = held(hold, hold->count - 1);

	hold->count--;
	window_release(vm, &window_frames[index]);
}

/* From the oldest to the latest: it mostly holds one frame. */
static inline void let_all_go(struct pager_vm *vm, struct vcpu_hold *hold)
{
	const uint32_t end = hold->next;

	for (uint32_t i = end - hold->count; i != end; i++) {
		window_release(vm, &window_frames[hold->frames[i % HOLD_FRAMES]]);
	}
	hold->count = 0;
}

void window_let_vm_go(struct pager_vm *vm)
{
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		let_all_go(vm, &vm->holds[i]);
	}
}

struct vcpu_hold *window_let_go(struct pager_vm *vm, uint32_t vcpu, uint64_t place, bool opens)
{
	struct vcpu_hold *hold;

	CHECK(vcpu < vm->vcpu_count);
	hold = &vm->holds[vcpu];
	if (hold->place != place) {
		let_all_go(vm, hold);
		hold->place = place;
	} else if (opens && hold->count == HOLD_FRAMES) {
		/*
		 * A string instruction faults many times at one place: it needs only its latest
		 * pages.
		 */
		let_oldest_go(vm, hold);
	}
	return hold;
}

void window_hold(struct pager_vm *vm, struct vcpu_hold *hold, uint32_t index)
{
	for (uint32_t i = 0; i < hold->count; i++) {
		if (held(hold, i) == index) {
			return;
		}
	}
	if (hold->count == HOLD_FRAMES) {
		let_oldest_go(vm, hold);
	}
	if (window_frames[index].holds++ == 0) {
		unlink_frame(vm, &window_frames[index]);
	}
	window_keep(hold, index);
}
