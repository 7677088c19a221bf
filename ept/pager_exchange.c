/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a frame of the window changes its page: the page in it is evicted, and another one is opened.
 * The slow steps (a shoot-down, encryption, decryption) run without window_lock, so other CPUs
 * open and evict other pages meanwhile. The frame is busy from the first step to the last: only the
 * CPU that made it busy changes it, and a CPU that needs its old or its new page waits.
 */
#include "ept/pager.h"

#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/cache_lines.h"
#include "vmm/base/str.h"
#include "vmm/base/waits.h"
#include "vmm/host/host_paging.h"

/* What is removed from EPTs for one shoot-down. */
struct unmapping {
	uint32_t taken; /* mappings for which a shoot-down is due: bit m for m */
	uint32_t ahead_count;
	/* Frames that keep their pages, and are busy until the shoot-down has returned. */
	struct window_frame *ahead[PAGER_UNMAP_MAX];
};

/*
 * The lowest set bit of a mask of mappings, for loops over a mask: for (m = ...; bits != 0; ...).
 */
static uint32_t lowest(uint32_t bits)
{
	return (uint32_t)__builtin_ctz(bits);
}

/* For a page of a share: from the EPTs of all its mappings but the first one. */
static __attribute__((noinline)) void take_other_entries(struct window_frame *frame)
{
	for (uint32_t bits = frame->mapped & ~1u; bits != 0; bits &= bits - 1) {
		frame->dirty |= ept_entry_take(window_entry(frame, lowest(bits)));
	}
}

/*
 * Removes the page from all EPTs that map it. The frame keeps the content, and notes whether an
 * entry was dirty. Returns the mask of mappings, for which the caller does a shoot-down.
 */
static inline uint32_t take_entries(struct window_frame *frame)
{
	const uint32_t taken = frame->mapped;

	if ((taken & 1) != 0) {
		frame->dirty |= ept_entry_take(frame->entry);
	}
	if (taken > 1) {
		take_other_entries(frame);
	}
	frame->entry = NULL;
	frame->mapped = frame->writable = 0;
	return taken;
}

/* The frames of u->ahead, all of this region. */
static void unmap_ahead(struct unmapping *u, struct sealed_region *region)
{
	for (uint32_t i = 0; i < u->ahead_count; i++) {
		u->taken |= take_entries(u->ahead[i]);
		window_mark_busy(u->ahead[i], true);
	}
	for (uint32_t bits = u->taken; bits != 0; bits &= bits - 1) {
		region->mappings[lowest(bits)].shoot_downs++;
		region->vm->counters.shoot_downs++;
	}
}

/*
 * Removes a page that will be evicted from the EPTs of all guests that map it. shoot_down must
 * follow: when that returns, no CPU reads or writes the frame any more. The order matters:
 *
 * 1. Each EPT entry becomes 0 in one exchange. From here on no CPU makes a new translation. A CPU
 *     that has the page as clean in its TLB cannot set the dirty bit any more: to set it, the CPU
 *     reads the entry again, so its write faults and waits until the frame is not busy. So the old
 *     entry is final: the page was written if its D bit was set, or if software's bit is, because
 *     the door sets no D bit. (D is never cleared while the page is mapped, so no write is
 *     forgotten.)
 * 2. The shoot-down. Until it returns, a CPU that has the page as dirty in its TLB may still write
 *     to the frame: encrypting earlier would lose those bytes.
 *
 * A shoot-down costs the same for one page as for many: it flushes all translations of this VM and
 * interrupts the CPUs that run it; under another hypervisor one INVEPT costs more than the rest of
 * a fault. So the pages of this region that are next in turn are unmapped with it. They stay in
 * their frames: if the guest uses one, it is mapped again, and CLOCK knows that it is in use. They
 * are busy until the shoot-down has returned, for another CPU would evict such a page without one.
 */
static void unmap(struct unmapping *u, struct window_frame *frame)
{
	u->ahead_count = window_next_idle(frame, u->ahead, PAGER_UNMAP_MAX);
	u->taken = take_entries(frame);
	unmap_ahead(u, frame->region);
}

/*
 * Without window_lock: the mappings stay while their shoot_downs is not 0. Behind the shoot-down
 * the pages that shared it are as any page that is open and not mapped. A guest that uses one need
 * not wait for the ciphers, and the next victim of another CPU needs no shoot-down. From there on
 * this exchange does not touch them: they may be evicted, and their frames may get other pages.
 */
static void shoot_down(const struct unmapping *u, struct sealed_region *region)
{
	for (uint32_t bits = u->taken; bits != 0; bits &= bits - 1) {
		ept_tlb_shootdown(&region->mappings[lowest(bits)].gmem->root);
	}
	for (uint32_t i = 0; i < u->ahead_count; i++) {
		window_mark_busy(u->ahead[i], false);
	}
}

static void end_unmapping(const struct unmapping *u, struct sealed_region *region)
{
	for (uint32_t bits = u->taken; bits != 0; bits &= bits - 1) {
		region->mappings[lowest(bits)].shoot_downs--;
	}
}

void pager_unmap(struct window_frame *const *frames, uint32_t count)
{
	struct sealed_region *region = frames[0]->region;
	struct unmapping u = { .taken = 0, .ahead_count = count };

	memcpy(u.ahead, frames, count * sizeof(*frames));
	region->exchanges++;
	window_busy++;
	unmap_ahead(&u, region);
	lock_drop(&window_lock);
	shoot_down(&u, region);
	lock_take(&window_lock, LOCK_WINDOW);
	end_unmapping(&u, region);
	window_busy--;
	region->exchanges--;
	window_note_end();
}

/* How the old page was closed. */
static inline void count_closed(struct sealed_page out, bool written, bool sealed)
{
	struct stored_page *stored = store_page(out.region, out.page);
	struct pager_counters *counters = &out.region->vm->counters;

	if (sealed) {
		counters->sealings++;
	} else if (written || stored->kind != STORE_SEALED) {
		counters->zero_drops++;
	} else {
		counters->drops++;
	}
	stored->opened = 0;
}

/*
 * A page of one account is in clear no more, and one of another account is instead; NULL: no page.
 * Nothing changes if it is the same account, as in most exchanges.
 */
static inline void count_clear(struct pager_vm *from, struct pager_vm *to)
{
	uint64_t now;

	if (from == to) {
		return;
	}
	now = pager_clock();
	if (from != NULL) {
		pager_vm_count_closed(from, now);
	}
	if (to != NULL) {
		pager_vm_count_open(to, now);
	}
}

/*
 * The page of a region that ends. No CPU uses its EPT any more, and its content is not kept. The
 * region may be freed after this, although the old content stays in the frame until it is
 * overwritten.
 */
static void drop_dead(struct sealed_page out)
{
	out.region->open_pages--;
	count_closed(out, false, false);
	count_clear(out.region->vm, NULL);
}

/* The frame was to get a page that is not what was stored. It holds zeros. */
static void forget(uint32_t index, struct sealed_page in)
{
	*store_opened(in.region, in.page) = 0;
	in.region->open_pages--;
	count_clear(in.region->vm, NULL);
	window_put_free(index);
}

/*
 * Writes a frame back to DRAM. The burial of a region writes back what lies over its pages, but
 * may have passed this frame before the next page was decrypted over a page of that region.
 */
static void copy_back(struct window_frame *frame)
{
	cache_copy_back(host_temp_map(GMEM_SLOT_CLEAR, window_page(frame)), PAGE_SIZE);
	host_temp_unmap(GMEM_SLOT_CLEAR);
}

/*
 * The order matters:
 *
 * 1. The old page is unmapped and shot down. From here on no CPU can write to it.
 * 2. It is encrypted under a version that was never used before. If it was not written, it is
 *     dropped instead: the ciphertext from which it was opened is still right.
 * 3. The next page is decrypted over it, or zeros are written if there is none. The frame never
 *     holds more than one page.
 * 4. Only now the frame is not busy any more, and the next page can be mapped.
 */
enum pager_cost pager_exchange(uint32_t index, struct sealed_region *region, uint64_t page)
{
	static const struct sealed_page nothing = { .region = NULL };
	struct window_frame *frame = window_frame(index);
	const struct sealed_page in = { region, page };
	struct sealed_page out = { frame->region, frame->page };
	const bool zeroed = frame->zero;
	struct unmapping u;
	bool written = false, absent = true, sealed, was_dead = false;
	struct pager_vm *from = NULL;
	int err;

	u.taken = u.ahead_count = 0;
	if (out.region != NULL && out.region->dead) {
		drop_dead(out);
		was_dead = true;
		out.region = NULL;
	} else if (out.region != NULL) {
		out.region->open_pages--;
		out.region->exchanges++;
		if (frame->mapped != 0) {
			unmap(&u, frame);
		}
		written = frame->dirty;
	}
	window_change(frame, region, page);
	if (region != NULL) { /* another CPU that wants the page waits for the frame */
		absent = *store_kind(region, page) != STORE_SEALED;
		*store_opened(region, page) = index + 1;
		region->open_pages++;
	}
	window_set_busy(frame, true);
	lock_drop(&window_lock);
	if (u.taken != 0) {
		shoot_down(&u, out.region);
	}
	err = store_exchange(written ? out : nothing, in, window_page(frame), zeroed, &sealed);
	if (was_dead) {
		copy_back(frame);
	}
	lock_take(&window_lock, LOCK_WINDOW);
	if (out.region != NULL) {
		end_unmapping(&u, out.region);
		count_closed(out, written, sealed);
		out.region->exchanges--;
		from = out.region->vm;
	}
	count_clear(from, region != NULL ? region->vm : NULL);
	window_set_busy(frame, false);
	if (region == NULL) {
		window_put_free(index);
		return COST_NONE;
	}
	if (err != 0) {
		forget(index, in);
		return COST_TAMPERED;
	}
	region->vm->counters.opens += !absent;
	return sealed ? COST_DIRTY : absent ? COST_FIRST_TOUCH : COST_CLEAN;
}

void pager_wait(const struct window_frame *frame)
{
	uint64_t began;

	lock_drop(&window_lock);
	began = waits_begin();
	while (window_is_busy(frame)) {
		__builtin_ia32_pause();
	}
	waits_end(WAIT_PAGE, began);
	lock_take(&window_lock, LOCK_WINDOW);
}

void pager_let_others_end(void)
{
	const uint32_t seen = atomic_load_relaxed(&window_endings.count);
	uint64_t began;

	lock_drop(&window_lock);
	began = waits_begin();
	while (atomic_load_relaxed(&window_endings.count) == seen) {
		__builtin_ia32_pause();
	}
	waits_end(WAIT_FRAME, began);
	lock_take(&window_lock, LOCK_WINDOW);
}
