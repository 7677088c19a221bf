/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of sealed RAM, and the door to it. Both begin under the VM's gmem.lock. A fault releases
 * it once it has window_lock. The door releases it where the page has to be opened first, and takes
 * it again. So the VM's other CPUs go on meanwhile.
 */
#include "ept/pager.h"

#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"

/* At most so many pages are opened ahead of a vCPU that reads in sequence. */
#define OPEN_AHEAD 7u

/* How often pager_vm_seal looks through the window. */
#define SEAL_ROUNDS 4u

static void mark_used(struct window_frame *frame)
{
	frame->referenced = true;
	frame->seen = false;
}

/*
 * Gives the page a frame of the window, with its content in clear. Waits while another CPU opens or
 * seals it. Returns COST_NONE if it was open. *index is WINDOW_NONE if it could not: with
 * COST_TAMPERED, or because the region ends. Releases window_lock if the page was not open; then
 * the caller holds the frame.
 */
static inline enum pager_cost open_page(struct sealed_region *region, uint64_t page,
					uint32_t *index)
{
	const struct stored_page *stored = store_page(region, page);
	enum pager_cost cost;

	for (;;) {
		*index = stored->opened - 1;
		if (*index != WINDOW_NONE) {
			if (!window_is_busy(window_frame(*index))) {
				return COST_NONE;
			}
			pager_wait(window_frame(*index));
			continue;
		}
		if (region->dead) {
			return COST_NONE;
		}
		*index = window_find(region->vm);
		if (*index != WINDOW_NONE) {
			break;
		}
		pager_let_others_end();
	}
	cost = pager_exchange(*index, region, page);
	if (cost == COST_TAMPERED) {
		*index = WINDOW_NONE;
	}
	return cost;
}

/* Which page it is, for gmem.c, which ends the VM. Under window_lock. */
static struct gmem_tampered name_of(struct sealed_region *region, uint64_t page)
{
	return (struct gmem_tampered){ .region = region->id,
				       .page = page,
				       .version = *store_version(region, page) };
}

/*
 * On a CPU without dirty bits a page is mapped read-only first, and the fault of the first write
 * makes it writable: ept_entry_take then treats the right to write as the dirty bit.
 */
static inline __attribute__((always_inline)) void map_page(struct window_frame *frame, uint32_t m,
							   unsigned access, uint64_t *entry)
{
	const struct sealed_mapping *mapping = &frame->region->mappings[m];
	const uint32_t bit = (uint32_t)BIT(m);
	const bool writable = !mapping->read_only && ((access & GMEM_ACCESS_WRITE) != 0 ||
						      frame->dirty || ept_used_bits != 0);

	if ((frame->mapped & bit) == 0) {
		if (!ept_entry_map(entry, window_page(frame),
				   writable ? EPT_RWX : EPT_READ | EPT_EXEC)) {
			return; /* something else is there now: the guest tries again */
		}
		frame->entry = m == 0 ? entry : frame->entry;
		frame->mapped |= bit;
		frame->writable |= writable ? bit : 0;
	} else if (writable && (frame->writable & bit) == 0) {
		ept_entry_allow_write(entry);
		frame->writable |= bit;
	} /* else another vCPU has mapped it */
}

uint32_t pager_mapping_of(const struct sealed_region *region, const struct gmem *gmem)
{
	uint32_t m = 0;

	while (region->mappings[m].gmem != gmem) {
		m++;
	}
	return m;
}

static void count_fault(struct pager_counters *counters, enum pager_cost cost)
{
	switch (cost) {
	case COST_FIRST_TOUCH: counters->first_touches++; break;
	case COST_CLEAN: counters->clean_faults++; break;
	case COST_DIRTY: counters->dirty_faults++; break;
	case COST_TAMPERED: break;
	case COST_NONE:
	default: counters->mapped_faults++;
	}
}

/*
 * Returns the vCPU's stream that a fault belongs to: the one whose reader faults here if it reads
 * on, or a new one in place of the oldest. Its hold->ahead says how many pages to open.
 */
static inline uint32_t find_stream(struct vcpu_hold *hold, const struct stored_page *page)
{
	const struct stored_page *const *streams = hold->streams;
	uint32_t i = streams[0] == page	  ? 0
		     : streams[1] == page ? 1
		     : streams[2] == page ? 2
		     : streams[3] == page ? 3
					  : STREAMS;

	_Static_assert(STREAMS == 4, "all are compared, without a loop");
	if (i != STREAMS) {
		hold->ahead[i] = (uint8_t)MIN(2u * hold->ahead[i] + 1, OPEN_AHEAD);
		return i;
	}
	i = hold->stream;
	hold->stream = (i + 1) % STREAMS;
	hold->ahead[i] = 0;
	return i;
}

/*
 * A vCPU that reads in sequence would fault at each page. So the next pages that are sealed are
 * opened with this one, in frames that are free or not in use: one page, then three, then seven,
 * for most sequences are short. A guess may be wrong: these pages are neither held nor marked as
 * used, so they are the next victims if the guest does not touch them. Pages that were never
 * written are not opened ahead, for a guest may never want them. Returns the pages that it opened:
 * bit i is page + 1 + i.
 */
static __attribute__((noinline)) uint32_t open_ahead(struct sealed_region *region,
						     struct vcpu_hold *hold, uint32_t stream,
						     uint64_t page)
{
	const uint64_t end = MIN(page + 1 + hold->ahead[stream], region->page_count);
	uint64_t next = page + 1;
	uint32_t opened = 0;

	for (; next < end; next++) {
		uint32_t index;

		if (*store_opened(region, next) != 0) {
			continue;
		}
		if (*store_kind(region, next) != STORE_SEALED || region->dead) {
			break;
		}
		index = window_spare(region->vm);
		if (index == WINDOW_NONE) {
			break;
		}
		if (pager_exchange(index, region, next) == COST_TAMPERED) {
			break; /* the VM ends if it touches this page, not for a guess */
		}
		window_release(region->vm, window_frame(index));
		opened |= (uint32_t)BIT(next - page - 1);
		region->vm->counters.opened_ahead++;
	}
	hold->streams[stream] = store_page(region, next);
	return opened;
}

/* A page that was sealed was opened for a fault. Returns what open_ahead returns. */
static inline uint32_t note_read(struct sealed_region *region, struct vcpu_hold *hold,
				 uint64_t page)
{
	const uint32_t stream = find_stream(hold, store_page(region, page));

	if (hold->ahead[stream] != 0) {
		return open_ahead(region, hold, stream, page);
	}
	hold->streams[stream] = store_page(region, page + 1);
	return 0;
}

/* Why a page is needed: a vCPU's fault, a fault of nobody (hold is NULL), or the door. */
struct need {
	struct gmem *gmem;
	struct sealed_region *region;
	uint64_t page;
	unsigned access;
	bool writes;		/* for the door */
	struct vcpu_hold *hold; /* of the vCPU */
	/* For faults: the page's EPT entry, and the mapping as it was when they began. */
	uint64_t *entry;
	uint32_t m, changes;
	struct gmem_tampered *tampered; /* filled in with ERR_TAMPERED */
};

/*
 * Is the mapping as it was when the fault began? gmem.lock is not held, so meanwhile a guest may
 * have moved a share, or another VM may have lost it. Code that takes a mapping out of the EPT
 * first counts a change (begin_change), under window_lock, and then takes what is mapped. So each
 * page is either mapped before, and taken out, or never mapped.
 */
static inline bool is_unchanged(const struct need *need)
{
	return need->region->mappings[need->m].changes == need->changes;
}

/*
 * Opens the page for the door, and pins it. Returns ERR_TAMPERED, or 0 with *out: NULL if the
 * region ends. Under window_lock, which it releases meanwhile. The caller has counted itself in
 * `exchanges`, so that the region is not freed.
 */
static int open_and_pin(struct need *need, struct window_frame **out)
{
	struct sealed_region *region = need->region;
	uint32_t index;
	const enum pager_cost cost = open_page(region, need->page, &index);

	*out = NULL;
	if (cost == COST_TAMPERED) {
		*need->tampered = name_of(region, need->page);
		return ERR_TAMPERED;
	}
	region->vm->counters.door_opens += cost != COST_NONE;
	if (index != WINDOW_NONE) {
		*out = window_frame(index);
		mark_used(*out);
		window_pin(*out);
		if (cost != COST_NONE) {
			window_release(region->vm, *out);
		}
	}
	return 0;
}

/* Does the gmem's region still show this page at gpa? Under gmem.lock. */
static bool shows(const struct gmem_region *region, const struct need *need, gpa_t gpa)
{
	return region->state == need->region && region->ops->fault == pager_fault &&
	       !atomic_load_relaxed(&region->off) &&
	       (gpa.v - region->base.v) / PAGE_SIZE == need->page;
}

/* The frame of a page that is open, and that no CPU exchanges now; else NULL. */
static inline struct window_frame *open_frame(struct sealed_region *region, uint64_t page)
{
	const uint32_t opened = *store_opened(region, page);
	struct window_frame *frame = opened != 0 ? window_frame(opened - 1) : NULL;

	return frame != NULL && !window_is_busy(frame) ? frame : NULL;
}

/* Maps what open_ahead has opened. What was sealed again since then will fault. */
static void map_ahead(const struct need *need, uint32_t ahead)
{
	for (uint32_t bits = ahead; bits != 0; bits &= bits - 1) {
		const uint32_t behind = 1 + (uint32_t)__builtin_ctz(bits);
		uint64_t *entry = ept_entry_behind(need->entry, behind);
		struct window_frame *frame = open_frame(need->region, need->page + behind);

		if (frame != NULL && entry != NULL) { /* else it will fault */
			map_page(frame, need->m, GMEM_ACCESS_READ, entry);
		}
	}
}

/*
 * The page of a fault is open in a frame, which this CPU holds unless the page was open before
 * (COST_NONE). If its mapping has changed, the guest tries again, and finds what is there now.
 */
static inline void use_page(const struct need *need, uint32_t index, enum pager_cost cost)
{
	struct sealed_region *region = need->region;
	struct window_frame *frame = window_frame(index);
	const bool stays = !region->dead && is_unchanged(need);
	uint32_t ahead;

	mark_used(frame);
	if (stays) {
		map_page(frame, need->m, need->access, need->entry);
	}
	if (!stays || need->hold == NULL) {
		if (cost != COST_NONE) {
			window_release(region->vm, frame);
		}
		return;
	}
	if (cost == COST_NONE) {
		window_hold(region->vm, need->hold, index);
		return;
	}
	window_keep(need->hold, index);
	if (cost != COST_FIRST_TOUCH) {
		ahead = note_read(region, need->hold, need->page);
		if (ahead != 0 && is_unchanged(need)) {
			map_ahead(need, ahead);
		}
	}
}

/*
 * For a fault whose page is not open. It is counted in `exchanges` meanwhile, so that the region is
 * not freed.
 */
static inline int open_and_map(struct need *need)
{
	struct sealed_region *region = need->region;
	enum pager_cost cost;
	uint32_t index;

	region->exchanges++;
	cost = open_page(region, need->page, &index);
	count_fault(&region->vm->counters, cost);
	if (index != WINDOW_NONE) {
		use_page(need, index, cost);
	} else if (cost == COST_TAMPERED) {
		*need->tampered = name_of(region, need->page);
	}
	region->exchanges--;
	window_note_end();
	return cost == COST_TAMPERED ? ERR_TAMPERED : 0;
}

/* Under window_lock, which it may release and take again. */
static inline int fix(struct need *need, const struct gmem_faulter *by)
{
	const struct sealed_mapping *mapping = &need->region->mappings[need->m];
	struct window_frame *frame = open_frame(need->region, need->page);

	if (mapping->read_only && (need->access & GMEM_ACCESS_WRITE) != 0) {
		return ERR_RIGHTS;
	}
	if (by != NULL) {
		need->hold = window_let_go(need->region->vm, mapping->first_hold + by->vcpu,
					   by->place, frame == NULL);
	}
	if (frame == NULL) {
		return open_and_map(need);
	}
	count_fault(&need->region->vm->counters, COST_NONE);
	mark_used(frame);
	map_page(frame, need->m, need->access, need->entry);
	if (need->hold != NULL) {
		window_hold(need->region->vm, need->hold, window_index(frame));
	}
	return 0;
}

/*
 * gmem.lock is held only until window_lock is: until then it keeps the region in its place, and
 * from there on the mapping's `changes` show whether it is there. So the VM's other CPUs wait
 * neither for a shoot-down nor for ciphers, and once a page is open this CPU waits for no lock but
 * window_lock.
 */
int pager_fault(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
		const struct gmem_faulter *by)
{
	struct gmem_tampered tampered;
	struct need need = { .gmem = gmem,
			     .region = region->state,
			     .page = (gpa.v - region->base.v) / PAGE_SIZE,
			     .access = access,
			     .tampered = &tampered };
	uint64_t *entry;
	int err = ept_make_entry(&gmem->root, gpa, &entry); /* without window_lock */

	if (err != 0) {
		return err;
	}
	need.entry = entry;
	lock_take(&window_lock, LOCK_WINDOW);
	need.m = pager_mapping_of(need.region, gmem);
	need.changes = need.region->mappings[need.m].changes;
	lock_drop(&gmem->lock);
	err = fix(&need, by);
	lock_drop(&window_lock);
	if (err == 0) {
		return REGION_UNLOCKED;
	}
	lock_take(&gmem->lock, LOCK_GMEM);
	if (err == ERR_TAMPERED) {
		gmem->tampered = tampered;
	}
	return err;
}

/* The member's right may have changed while the locks were released. */
static bool may_access(const struct need *need)
{
	return !need->writes ||
	       !need->region->mappings[pager_mapping_of(need->region, need->gmem)].read_only;
}

/*
 * As open_and_pin, and releases gmem.lock too: as a fault does, an access through the door waits
 * for shoot-downs and ciphers without it. Meanwhile the region may move or leave the gmem.
 */
static int open_for_door(struct need *need, struct window_frame **out)
{
	int err;

	need->region->exchanges++;
	lock_drop(&need->gmem->lock);
	err = open_and_pin(need, out);
	/* It is mostly free. Without this, each access would wait for window_lock once more. */
	if (!lock_try(&need->gmem->lock, LOCK_GMEM)) {
		lock_drop(&window_lock);
		lock_take(&need->gmem->lock, LOCK_GMEM);
		lock_take(&window_lock, LOCK_WINDOW);
	}
	need->region->exchanges--;
	window_note_end();
	if (err == ERR_TAMPERED) {
		need->gmem->tampered = *need->tampered;
	}
	return err;
}

/* Under both locks, which it may release and take again. Also pins the frame. */
static int find_for_door(struct need *need, const struct gmem_region *region, gpa_t page,
			 struct window_frame **out)
{
	int err;

	*out = open_frame(need->region, need->page);
	if (*out != NULL) {
		mark_used(*out);
		window_pin(*out);
		return 0;
	}
	err = open_for_door(need, out);
	if (err != 0) {
		return err;
	}
	if (*out != NULL && (!shows(region, need, page) || !may_access(need))) {
		window_unpin(*out);
		*out = NULL;
	}
	return *out != NULL ? 0 : ERR_NOTFOUND;
}

int pager_pin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
	      struct keyed_frame *out)
{
	struct gmem_tampered tampered;
	struct need need = { .gmem = gmem,
			     .region = region->state,
			     .page = (page.v - region->base.v) / PAGE_SIZE,
			     .writes = write,
			     .tampered = &tampered };
	struct window_frame *frame;
	int err = ERR_RIGHTS;

	lock_take(&window_lock, LOCK_WINDOW);
	if (may_access(&need)) {
		err = find_for_door(&need, region, page, &frame);
	}
	if (err == 0) {
		*out = window_page(frame); /* unpin reports whether it was written */
	}
	lock_drop(&window_lock);
	return err;
}

void pager_unpin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool written)
{
	struct sealed_region *sealed = region->state;
	struct window_frame *frame;

	lock_take(&window_lock, LOCK_WINDOW);
	frame = window_frame(*store_opened(sealed, (page.v - region->base.v) / PAGE_SIZE) - 1);
	frame->dirty |= written;
	window_unpin(frame);
	lock_drop(&window_lock);
}

int pager_init(uint64_t frame_count)
{
	return window_init(frame_count);
}

void pager_exit(void)
{
	window_exit();
}

/* Is it a frame of the VM, pinned by an access through the door that will take gmem.lock next? */
static bool is_pinned(const struct window_frame *frame, const struct pager_vm *vm)
{
	return frame->region != NULL && frame->region->vm == vm && frame->pins != 0;
}

/*
 * Seals the pages of the VM that it finds. Returns whether it has none left: an access through the
 * door that had begun to open a page when this began may have put it into a frame that was looked
 * at already. Under gmem.lock, which it may release and take again.
 */
static bool seal_frames(struct pager_vm *vm)
{
	bool sealed = false;

	for (uint32_t i = 0; !sealed && i < window_frame_count(); i++) {
		struct window_frame *frame = window_frame(i);

		lock_take(&window_lock, LOCK_WINDOW);
		while (window_is_busy(frame) || is_pinned(frame, vm)) {
			lock_drop(&vm->gmem->lock);
			pager_let_others_end();
			lock_drop(&window_lock);
			lock_take(&vm->gmem->lock, LOCK_GMEM);
			lock_take(&window_lock, LOCK_WINDOW);
		}
		if (frame->region != NULL && frame->region->vm == vm) {
			if (frame->holds != 0) {
				window_let_vm_go(vm); /* a fault ended after the first call */
			}
			pager_evict(i);
		}
		/* Also none that is just getting its page, or whose page is being sealed. */
		sealed = vm->frames == 0 && vm->counters.clear_pages == 0;
		lock_drop(&window_lock);
	}
	return sealed;
}

/*
 * Also waits for CPUs that evict pages of the VM for another VM. No access to a paused VM begins,
 * so a few rounds are enough; if the VM runs, this ends as well.
 */
void pager_vm_seal(struct pager_vm *vm)
{
	uint32_t next = 0;

	if (vm->gmem == NULL) {
		return; /* the configuration keeps all of the VM's RAM in clear */
	}
	lock_take(&vm->gmem->lock, LOCK_GMEM); /* no access through the door begins */
	lock_take(&window_lock, LOCK_WINDOW);
	window_let_vm_go(vm); /* current instructions will fault again */
	lock_drop(&window_lock);
	for (unsigned round = 0; round < SEAL_ROUNDS && !seal_frames(vm); round++) {
	}
	lock_drop(&vm->gmem->lock);
	while (next < window_frame_count()) {
		(void)pager_copy_back(&next); /* frames that are another VM's now */
	}
}

void pager_window(uint64_t *frames, uint64_t *unclaimed)
{
	lock_take(&window_lock, LOCK_WINDOW);
	*frames = window_frame_count();
	*unclaimed = window_unclaimed();
	lock_drop(&window_lock);
}
