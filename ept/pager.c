/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of sealed RAM, and the door to it. They run under the VM's gmem.lock and under
 * window_lock, which opening a page releases meanwhile.
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
 * Gives the page a frame of the window, with its content in clear. *index means nothing with
 * COST_TAMPERED. Releases window_lock if the page was not open.
 */
static enum pager_cost open_page(struct sealed_region *region, uint64_t page, uint32_t *index)
{
	enum pager_cost cost = COST_NONE;
	uint32_t opened;

	while ((opened = settled(region, page)) == 0) {
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
	if (cost != COST_TAMPERED) {
		window_frame(*index)->referenced = true;
		window_frame(*index)->seen = false;
	}
	return cost;
}

/* Notes which page it is, for gmem.c, which ends the VM. Under both locks. Returns the error. */
static int tampered(struct gmem *gmem, struct sealed_region *region, uint64_t page)
{
	gmem->tampered = (struct gmem_tampered){ .region = region->id,
						 .page = page,
						 .version = *store_version(region, page) };
	return ERR_TAMPERED;
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
 * opened and mapped with this one, in frames that are free or not in use. A guess may be wrong:
 * these pages are neither held nor marked as used, so they are the next victims if the guest does
 * not touch them. Pages that were never written are not opened ahead, for a guest may never want
 * them.
 */
static void open_ahead(struct sealed_region *region, uint32_t m, const struct gmem_faulter *by,
		       uint64_t page)
{
	bool reads_on;
	struct stream *stream = find_stream(&region->vm->holds[by->vcpu], region, page, &reads_on);
	uint64_t next = page + 1;

	for (; reads_on && next <= page + OPEN_AHEAD && next < region->page_count; next++) {
		uint32_t index;

		if (*store_opened(region, next) != 0) {
			continue;
		}
		if (*store_kind(region, next) != STORE_SEALED) {
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
		(void)map_page(window_frame(index), m, GMEM_ACCESS_READ); /* else it will fault */
		region->vm->counters.opened_ahead++;
	}
	stream->next = next;
}

int pager_fault(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
		const struct gmem_faulter *by)
{
	struct sealed_region *sealed = region->state;
	uint64_t page = (gpa.v - region->base.v) / PAGE_SIZE;
	struct gmem_faulter holder;
	enum pager_cost cost;
	uint32_t index, m;
	int err;

	lock_take(&window_lock, LOCK_WINDOW);
	m = pager_mapping_of(sealed, gmem);
	if (sealed->mappings[m].read_only && (access & GMEM_ACCESS_WRITE) != 0) {
		lock_drop(&window_lock);
		return ERR_RIGHTS;
	}
	if (by != NULL) {
		holder = *by;
		holder.vcpu += sealed->mappings[m].first_hold;
		by = &holder;
		window_let_go(sealed->vm, by, settled(sealed, page) == 0);
	}
	cost = open_page(sealed, page, &index);
	count_fault(&sealed->vm->counters, cost);
	err = cost == COST_TAMPERED ? tampered(gmem, sealed, page)
				    : map_page(window_frame(index), m, access);
	if (err == 0 && by != NULL) {
		window_hold(sealed->vm, by, index);
		if (cost == COST_CLEAN || cost == COST_DIRTY) {
			open_ahead(sealed, m, by, page);
		}
	}
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
		err = tampered(gmem, sealed, number);
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
