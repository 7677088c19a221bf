/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a page of sealed RAM: it is opened on a fault or for the door, and evicted when
 * its frame is needed. The fault path runs under the VM's gmem.lock, and all code here runs under
 * window_lock too. So evicting another VM's page does not need that VM's gmem.lock.
 */
#include "ept/pager.h"

#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"

/* At most so many other pages share the shoot-down of a page that is evicted. */
#define UNMAP_AHEAD 7

/* At most so many pages are opened ahead of a vCPU that reads in sequence. */
#define OPEN_AHEAD 7u

/* What opening a page has cost. */
enum cost {
	COST_NONE, /* it was open */
	COST_FIRST_TOUCH,
	COST_CLEAN,
	COST_DIRTY,
	COST_TAMPERED, /* it cannot be opened: an attacker has changed what was stored */
};

/*
 * The lowest set bit of a mask of mappings, for loops over a mask: for (m = ...; bits != 0; ...).
 */
static uint32_t lowest(uint32_t bits)
{
	return (uint32_t)__builtin_ctz(bits);
}

/*
 * Removes the page from all EPTs that map it. The frame keeps the content, and notes whether an
 * entry was dirty. Returns the mask of mappings, for which the caller does a shoot-down.
 */
static uint32_t take_entries(struct window_frame *frame)
{
	const uint32_t taken = frame->mapped;

	for (uint32_t bits = taken; bits != 0; bits &= bits - 1) {
		frame->dirty |= ept_entry_take(window_entry(frame, lowest(bits)));
	}
	frame->entry = NULL;
	frame->mapped = frame->writable = 0;
	return taken;
}

/*
 * Removes a page that will be evicted from the EPTs of all guests that map it. When this returns,
 * no CPU reads or writes the frame any more, and frame->dirty says whether one wrote. The order
 * matters:
 *
 * 1. Each EPT entry becomes 0 in one exchange. From here on no CPU makes a new translation. A CPU
 *     that has the page as clean in its TLB cannot set the dirty bit any more: to set it, the CPU
 *     reads the entry again, so its write faults and waits for window_lock. So the old entry is
 *     final: the page was written if its D bit was set, or if software's bit is, because the door
 *     sets no D bit. (D is never cleared while the page is mapped, so no write is forgotten.)
 * 2. The shoot-down. Until it returns, a CPU that has the page as dirty in its TLB may still write
 *     to the frame: encrypting earlier would lose those bytes.
 *
 * A shoot-down costs the same for one page as for many: it flushes all translations of this VM and
 * interrupts the CPUs that run it; under another hypervisor one INVEPT costs more than the rest of
 * a fault. So the pages of this VM that are next in turn are unmapped with it. They stay in their
 * frames: if the guest uses one, it is mapped again, and CLOCK knows that it is in use.
 */
static void unmap(struct window_frame *frame)
{
	struct window_frame *next[UNMAP_AHEAD];
	uint32_t count = window_next_idle(frame, next, UNMAP_AHEAD);
	const struct sealed_region *region = frame->region;
	uint32_t taken = take_entries(frame);

	for (uint32_t i = 0; i < count; i++) {
		taken |= take_entries(next[i]);
	}
	for (; taken != 0; taken &= taken - 1) {
		ept_tlb_shootdown(&region->mappings[lowest(taken)].gmem->root);
		region->vm->counters.shoot_downs++;
	}
}

/* For a frame of a dead region: no CPU uses its EPT any more, and its content is not kept. */
static void forget(struct window_frame *frame)
{
	frame->mapped = frame->writable = 0;
	frame->entry = NULL;
	frame->dirty = false;
}

/*
 * Evicts the page in the frame, if there is one, and puts another page in its place. *sealed says
 * whether the old page was encrypted. Returns ERR_TAMPERED, with zeros in the frame, if the other
 * page is not what was stored; the old one is evicted nevertheless.
 *
 * 1. It is unmapped. From here on no CPU can write to it.
 * 2. It is encrypted under a version that was never used before. If it was not written, it is
 *     dropped instead: the ciphertext from which it was opened is still right.
 * 3. The next page is decrypted over it, or zeros are written if there is none (region NULL). The
 *     frame never holds more than one page.
 */
static int exchange(struct window_frame *frame, struct sealed_region *region, uint64_t page,
		    bool *sealed)
{
	struct sealed_page out = { .region = NULL }, in = { region, page };
	struct sealed_region *old = frame->region;
	struct pager_counters *counters = old != NULL ? &old->vm->counters : NULL;
	bool written;
	int err;

	if (old != NULL && old->dead) {
		forget(frame);
	}
	if (frame->mapped != 0) {
		unmap(frame);
	}
	written = frame->dirty;
	if (written) {
		out = (struct sealed_page){ old, frame->page };
	}
	err = store_exchange(&out, &in, window_page(frame), sealed);
	if (old != NULL) {
		if (*sealed) {
			counters->sealings++;
		} else if (written || *store_kind(old, frame->page) != STORE_SEALED) {
			counters->zero_drops++;
		} else {
			counters->drops++;
		}
		*store_opened(old, frame->page) = 0;
		old->open_pages--;
		counters->clear_pages--;
	}
	return err;
}

/*
 * Puts a page that is not open, with its content in clear, into a frame of the window that is free
 * or a victim. With COST_TAMPERED the frame is free after this.
 */
static enum cost fill_frame(uint32_t index, struct sealed_region *region, uint64_t page)
{
	struct pager_counters *counters = &region->vm->counters;
	struct window_frame *frame = window_frame(index);
	const bool absent = *store_kind(region, page) != STORE_SEALED;
	bool sealed;

	if (exchange(frame, region, page, &sealed) != 0) {
		window_put_free(index);
		return COST_TAMPERED;
	}
	*frame = (struct window_frame){ .frame = frame->frame, .region = region, .page = page };
	*store_opened(region, page) = index + 1;
	counters->opens += !absent;
	region->open_pages++;
	counters->clear_pages++;
	counters->clear_peak = MAX(counters->clear_peak, counters->clear_pages);
	return sealed ? COST_DIRTY : absent ? COST_FIRST_TOUCH : COST_CLEAN;
}

void pager_evict(uint32_t index)
{
	bool was_dirty;

	(void)exchange(window_frame(index), NULL, 0, &was_dirty); /* opens nothing */
	window_put_free(index);
}

/*
 * Gives the page a frame of the window, with its content in clear. *index means nothing with
 * COST_TAMPERED.
 */
static enum cost open_page(struct sealed_region *region, uint64_t page, uint32_t *index)
{
	const uint32_t opened = *store_opened(region, page);
	enum cost cost = COST_NONE;

	if (opened != 0) {
		*index = opened - 1;
	} else {
		*index = window_take_free();
		if (*index == WINDOW_NONE) {
			*index = window_victim(region->vm);
		}
		cost = fill_frame(*index, region, page);
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

static void count_fault(struct pager_counters *counters, enum cost cost)
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
		if (fill_frame(index, region, next) == COST_TAMPERED) {
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
	const uint32_t m = pager_mapping_of(sealed, gmem);
	uint64_t page = (gpa.v - region->base.v) / PAGE_SIZE;
	struct gmem_faulter holder;
	enum cost cost;
	uint32_t index;
	int err;

	if (sealed->mappings[m].read_only && (access & GMEM_ACCESS_WRITE) != 0) {
		return ERR_RIGHTS;
	}
	if (by != NULL) {
		holder = *by;
		holder.vcpu += sealed->mappings[m].first_hold;
		by = &holder;
	}
	lock_take(&window_lock, LOCK_WINDOW);
	if (by != NULL) {
		window_let_go(sealed->vm, by, *store_opened(sealed, page) == 0);
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
	enum cost cost;
	uint32_t index;
	int err = 0;

	if (write && sealed->mappings[pager_mapping_of(sealed, gmem)].read_only) {
		return ERR_RIGHTS;
	} /* else unpin reports whether it was written */
	lock_take(&window_lock, LOCK_WINDOW);
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

/* Seals a page at a time, because other CPUs wait for window_lock. */
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
