/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of sealed RAM, and the door to it. Both begin under the VM's gmem.lock. A fault that has
 * to open its page releases this lock meanwhile, so the VM's other vCPUs go on.
 */
#include "ept/pager.h"

#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"

/* At most so many pages are opened ahead of a vCPU that reads in sequence. */
#define OPEN_AHEAD 7u

/*
 * Waits while a CPU opens or seals the page. Returns the index of its frame + 1, or 0 if the page
 * is not open.
 */
static uint32_t settled(struct sealed_region *region, uint64_t page)
{
	uint32_t opened;

	for (;;) {
		opened = *store_opened(region, page);
		if (opened == 0 || !window_is_busy(window_frame(opened - 1))) {
			return opened;
		}
		pager_wait(window_frame(opened - 1));
	}
}

/* A frame that is free, or whose page can be evicted for vm. WINDOW_NONE: try again. */
static uint32_t find_frame(const struct pager_vm *vm)
{
	const uint32_t index = window_take_free();

	return index != WINDOW_NONE ? index : window_victim(vm);
}

/*
 * Gives the page a frame of the window, with its content in clear. *index is WINDOW_NONE if it
 * could not: with COST_TAMPERED, or because the region ends. Releases window_lock if the page was
 * not open.
 */
static enum pager_cost open_page(struct sealed_region *region, uint64_t page, uint32_t *index)
{
	enum pager_cost cost = COST_NONE;
	uint32_t opened;

	*index = WINDOW_NONE;
	while ((opened = settled(region, page)) == 0 && !region->dead) {
		*index = find_frame(region->vm);
		if (*index != WINDOW_NONE) {
			cost = pager_open(*index, region, page);
			break;
		}
		pager_let_others_end();
	}
	if (opened != 0) {
		*index = opened - 1;
	}
	if (cost == COST_TAMPERED) {
		*index = WINDOW_NONE;
	}
	if (*index != WINDOW_NONE) {
		window_frame(*index)->referenced = true;
		window_frame(*index)->seen = false;
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
static int map_page(struct window_frame *frame, uint32_t m, unsigned access)
{
	const struct sealed_mapping *mapping = &frame->region->mappings[m];
	const uint32_t bit = (uint32_t)BIT(m);
	bool writable = !mapping->read_only && (ept_caps()->accessed_dirty || frame->dirty ||
						(access & GMEM_ACCESS_WRITE) != 0);
	const struct ept_attr attr = {
		.access = writable ? EPT_RWX : EPT_READ | EPT_EXEC,
		.memtype = EPT_MEMTYPE_WB,
		.ignore_pat = true,
		.keyid = page_keyid(),
	};
	uint64_t *entry;
	int err;

	if ((frame->mapped & bit) == 0) {
		err = ept_map_page(&mapping->gmem->root,
				   gpa(mapping->base.v + frame->page * PAGE_SIZE), frame->frame,
				   attr, &entry);
		if (err != 0) {
			return err;
		}
		frame->entry = m == 0 ? entry : frame->entry;
		frame->mapped |= bit;
		frame->writable |= writable ? bit : 0;
	} else if (writable && (frame->writable & bit) == 0) {
		ept_entry_allow_write(window_entry(frame, m));
		frame->writable |= bit;
	} /* else another vCPU has mapped it */
	return 0;
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

/* Does the vCPU fault where it would if it read on? Notes where it would fault next. */
static struct stream *find_stream(struct vcpu_hold *hold, const struct sealed_region *region,
				  uint64_t page, bool *reads_on)
{
	struct stream *stream;

	for (stream = hold->streams; stream < hold->streams + STREAMS; stream++) {
		if (stream->region == region && stream->next == page) {
			*reads_on = true;
			return stream;
		}
	}
	*reads_on = false;
	stream = &hold->streams[hold->stream];
	hold->stream = (hold->stream + 1) % STREAMS;
	stream->region = region;
	return stream;
}

/*
 * A vCPU that reads in sequence would fault at each page. So the next pages that are sealed are
 * opened with this one, in frames that are free or not in use. A guess may be wrong: these pages
 * are neither held nor marked as used, so they are the next victims if the guest does not touch
 * them. Pages that were never written are not opened ahead, for a guest may never want them.
 * Returns the pages that it opened: bit i is page + 1 + i.
 */
static uint32_t open_ahead(struct sealed_region *region, const struct gmem_faulter *by,
			   uint64_t page)
{
	bool reads_on;
	struct stream *stream = find_stream(&region->vm->holds[by->vcpu], region, page, &reads_on);
	uint64_t next = page + 1;
	uint32_t opened = 0;

	for (; reads_on && next <= page + OPEN_AHEAD && next < region->page_count; next++) {
		uint32_t index;

		if (*store_opened(region, next) != 0) {
			continue;
		}
		if (*store_kind(region, next) != STORE_SEALED || region->dead) {
			break;
		}
		index = window_take_free();
		index = index != WINDOW_NONE ? index : window_spare(region->vm);
		if (index == WINDOW_NONE) {
			break;
		}
		if (pager_open(index, region, next) == COST_TAMPERED) {
			break; /* the VM ends if it touches this page, not for a guess */
		}
		opened |= (uint32_t)BIT(next - page - 1);
		region->vm->counters.opened_ahead++;
	}
	stream->next = next;
	return opened;
}

/* A fault of a vCPU, or of nobody if by is NULL. */
struct fault {
	struct gmem *gmem;
	struct sealed_region *region;
	uint64_t page;
	unsigned access;
	const struct gmem_faulter *by; /* with the number that the vCPU has in region->vm */
	uint32_t ahead;		       /* what open_ahead returned */
};

/*
 * Opens the page of a fault. Holding gmem.lock all the while would make the VM's other vCPUs wait
 * for a shoot-down and for ciphers. So this releases both locks, and takes them again. Meanwhile
 * the region may move or leave the gmem. It is not freed, because `exchanges` counts this as well.
 * The page stays open until it is mapped, because the vCPU holds it. Returns ERR_TAMPERED.
 */
static int open_for(struct fault *f)
{
	struct sealed_region *region = f->region;
	struct gmem_tampered tampered = { 0 };
	enum pager_cost cost;
	uint32_t index;

	region->exchanges++;
	lock_drop(&f->gmem->lock);
	cost = open_page(region, f->page, &index);
	count_fault(&region->vm->counters, cost);
	if (cost == COST_TAMPERED) {
		tampered = name_of(region, f->page);
	} else if (index != WINDOW_NONE && !region->dead && f->by != NULL) {
		window_hold(region->vm, f->by, index);
		f->ahead = cost == COST_CLEAN || cost == COST_DIRTY
				   ? open_ahead(region, f->by, f->page)
				   : 0;
	}
	region->exchanges--;
	lock_drop(&window_lock);
	lock_take(&f->gmem->lock, LOCK_GMEM);
	lock_take(&window_lock, LOCK_WINDOW);
	if (cost == COST_TAMPERED) {
		f->gmem->tampered = tampered;
		return ERR_TAMPERED;
	}
	return 0;
}

/* Does the gmem's region still show this page at gpa? Under gmem.lock. */
static bool shows(const struct gmem_region *region, const struct fault *f, gpa_t gpa)
{
	return region->state == f->region && region->ops->fault == pager_fault &&
	       !atomic_load_relaxed(&region->off) &&
	       (gpa.v - region->base.v) / PAGE_SIZE == f->page;
}

/* The frame of a page that is open, and that no CPU exchanges now; else NULL. */
static struct window_frame *open_frame(struct sealed_region *region, uint64_t page)
{
	const uint32_t opened = *store_opened(region, page);
	struct window_frame *frame = opened != 0 ? window_frame(opened - 1) : NULL;

	return frame != NULL && !window_is_busy(frame) ? frame : NULL;
}

/* Maps what open_for has opened. What was sealed again since then will fault again. */
static int map_opened(const struct fault *f, uint32_t m)
{
	struct window_frame *frame = open_frame(f->region, f->page);
	int err = frame != NULL ? map_page(frame, m, f->access) : 0;

	for (uint32_t bits = err == 0 ? f->ahead : 0; bits != 0; bits &= bits - 1) {
		frame = open_frame(f->region, f->page + 1 + (uint32_t)__builtin_ctz(bits));
		if (frame != NULL) {
			(void)map_page(frame, m, GMEM_ACCESS_READ); /* else it will fault */
		}
	}
	return err;
}

/* Under both locks, which it may release and take again. */
static int fix(struct fault *f, const struct gmem_region *region, gpa_t gpa)
{
	const struct sealed_mapping
		*mapping = &f->region->mappings[pager_mapping_of(f->region, f->gmem)];
	struct window_frame *frame = open_frame(f->region, f->page);
	struct gmem_faulter holder;
	int err;

	if (mapping->read_only && (f->access & GMEM_ACCESS_WRITE) != 0) {
		return ERR_RIGHTS;
	}
	if (f->by != NULL) {
		holder = *f->by;
		holder.vcpu += mapping->first_hold;
		f->by = &holder;
		window_let_go(f->region->vm, &holder, frame == NULL);
	}
	if (frame == NULL) {
		err = open_for(f);
		if (err != 0 || !shows(region, f, gpa)) {
			return err; /* with 0 the guest tries again, and finds what is there now */
		}
		return map_opened(f, pager_mapping_of(f->region, f->gmem));
	}
	count_fault(&f->region->vm->counters, COST_NONE);
	frame->referenced = true;
	frame->seen = false;
	err = map_page(frame, (uint32_t)(mapping - f->region->mappings), f->access);
	if (err == 0 && f->by != NULL) {
		window_hold(f->region->vm, f->by, *store_opened(f->region, f->page) - 1);
	}
	return err;
}

int pager_fault(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
		const struct gmem_faulter *by)
{
	struct fault f = { .gmem = gmem,
			   .region = region->state,
			   .page = (gpa.v - region->base.v) / PAGE_SIZE,
			   .access = access,
			   .by = by };
	int err;

	lock_take(&window_lock, LOCK_WINDOW);
	err = fix(&f, region, gpa);
	lock_drop(&window_lock);
	return err;
}

int pager_pin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
	      struct keyed_frame *out)
{
	struct sealed_region *sealed = region->state;
	const uint64_t number = (page.v - region->base.v) / PAGE_SIZE;
	enum pager_cost cost;
	uint32_t index;
	int err = 0;

	lock_take(&window_lock, LOCK_WINDOW);
	if (write && sealed->mappings[pager_mapping_of(sealed, gmem)].read_only) {
		lock_drop(&window_lock);
		return ERR_RIGHTS;
	} /* else unpin reports whether it was written */
	cost = open_page(sealed, number, &index);
	if (cost == COST_TAMPERED) {
		gmem->tampered = name_of(sealed, number);
		err = ERR_TAMPERED;
	} else {
		sealed->vm->counters.door_opens += cost != COST_NONE;
		window_frame(index)->pins++;
		*out = window_page(window_frame(index));
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
	frame->pins--;
	frame->dirty |= written;
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

/* Also waits for CPUs that evict pages of the VM for another VM. */
void pager_vm_seal(struct pager_vm *vm)
{
	bool sealed = false;

	if (vm->gmem == NULL) {
		return; /* the configuration keeps all of the VM's RAM in clear */
	}
	lock_take(&vm->gmem->lock, LOCK_GMEM); /* keeps the door shut: nothing is pinned */
	lock_take(&window_lock, LOCK_WINDOW);
	window_let_vm_go(vm); /* current instructions will fault again */
	lock_drop(&window_lock);
	for (uint32_t i = 0; !sealed && i < window_frame_count(); i++) {
		struct window_frame *frame = window_frame(i);

		lock_take(&window_lock, LOCK_WINDOW);
		while (window_is_busy(frame)) {
			pager_wait(frame);
		}
		if (frame->region != NULL && frame->region->vm == vm) {
			CHECK(frame->pins == 0);
			if (frame->holds != 0) {
				window_let_vm_go(vm); /* a fault ended after the first call */
			}
			pager_evict(i);
		}
		sealed = vm->counters.clear_pages == 0;
		lock_drop(&window_lock);
	}
	lock_drop(&vm->gmem->lock);
}

void pager_window(uint64_t *frames, uint64_t *unclaimed)
{
	lock_take(&window_lock, LOCK_WINDOW);
	*frames = window_frame_count();
	*unclaimed = window_unclaimed();
	lock_drop(&window_lock);
}
