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
#include "vmm/base/waits.h"

/* At most so many other pages share the shoot-down of a page that is evicted. */
#define UNMAP_AHEAD 7u

struct exchange {
	struct window_frame *frame;
	struct sealed_page out; /* region NULL: there is no page to evict */
	struct sealed_page in;	/* region NULL: the frame will be free */
	bool written;		/* out was written since it was opened */
	uint32_t taken;		/* out's mappings for which a shoot-down is due: bit m for m */
	uint32_t ahead_count;
	struct window_frame *ahead[UNMAP_AHEAD]; /* unmapped together with out, and busy */
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
 * are busy until the exchange ends, for another CPU would evict such a page without a shoot-down.
 */
static void unmap(struct exchange *x)
{
	struct sealed_region *region = x->out.region;

	x->ahead_count = window_next_idle(x->frame, x->ahead, UNMAP_AHEAD);
	x->taken = take_entries(x->frame);
	for (uint32_t i = 0; i < x->ahead_count; i++) {
		x->taken |= take_entries(x->ahead[i]);
		window_set_busy(x->ahead[i], true);
	}
	for (uint32_t bits = x->taken; bits != 0; bits &= bits - 1) {
		region->mappings[lowest(bits)].shoot_downs++;
		region->vm->counters.shoot_downs++;
	}
}

/* Without window_lock: the mappings stay while their shoot_downs is not 0. */
static void shoot_down(const struct exchange *x)
{
	for (uint32_t bits = x->taken; bits != 0; bits &= bits - 1) {
		ept_tlb_shootdown(&x->out.region->mappings[lowest(bits)].gmem->root);
	}
}

/* The page is in clear no more. */
static inline void count_closed(const struct sealed_page *out, bool written, bool sealed,
				uint64_t now)
{
	struct sealed_region *region = out->region;
	struct stored_page *stored = store_page(region, out->page);
	struct pager_counters *counters = &region->vm->counters;

	if (sealed) {
		counters->sealings++;
	} else if (written || stored->kind != STORE_SEALED) {
		counters->zero_drops++;
	} else {
		counters->drops++;
	}
	stored->opened = 0;
	pager_vm_count_closed(region->vm, now);
}

/* Takes the frame's page out, if there is one. */
static inline void take_out(struct exchange *x)
{
	struct window_frame *frame = x->frame;
	struct sealed_region *region = frame->region;
	const struct sealed_page out = { region, frame->page };

	if (region == NULL) {
		return;
	}
	region->open_pages--;
	if (region->dead) {
		/*
		 * No CPU uses its EPT any more, and its content is not kept. The region may be
		 * freed from here on, although the old content stays in the frame until it is
		 * overwritten.
		 */
		window_part(frame);
		count_closed(&out, false, false, pager_clock());
		return;
	}
	region->exchanges++;
	x->out = out;
	if (frame->mapped != 0) {
		unmap(x);
	}
	window_part(frame);
	x->written = frame->dirty;
}

/*
 * Notes the frame as that of the page to open, so that another CPU that wants the page waits
 * for it.
 */
static inline void put_in(struct exchange *x, uint32_t index)
{
	struct sealed_region *region = x->in.region;

	window_reset(x->frame);
	if (region != NULL) {
		x->frame->region = region;
		x->frame->page = x->in.page;
		*store_opened(region, x->in.page) = index + 1;
		region->open_pages++;
		window_join(x->frame);
	}
}

/* Under window_lock. After it the regions may end. */
static inline void end(struct exchange *x, bool sealed)
{
	const uint64_t now = pager_clock();
	struct sealed_region *out = x->out.region;

	for (uint32_t bits = x->taken; bits != 0; bits &= bits - 1) {
		out->mappings[lowest(bits)].shoot_downs--;
	}
	for (uint32_t i = 0; i < x->ahead_count; i++) {
		window_set_busy(x->ahead[i], false);
	}
	if (out != NULL) {
		count_closed(&x->out, x->written, sealed, now);
		out->exchanges--;
	}
	if (x->in.region != NULL) {
		pager_vm_count_open(x->in.region->vm, now);
	}
	window_set_busy(x->frame, false);
}

/*
 * Evicts the page in the frame, if there is one, and puts another page in its place, or none
 * (region NULL). *sealed says whether the old page was encrypted. Returns ERR_TAMPERED, with zeros
 * in the frame, if the new page is not what was stored; the old one is evicted nevertheless. Under
 * window_lock, which it releases meanwhile. The frame is neither pinned, held nor busy. The order
 * matters:
 *
 * 1. The old page is unmapped and shot down. From here on no CPU can write to it.
 * 2. It is encrypted under a version that was never used before. If it was not written, it is
 *     dropped instead: the ciphertext from which it was opened is still right.
 * 3. The next page is decrypted over it, or zeros are written if there is none. The frame never
 *     holds more than one page.
 * 4. Only now the frame is not busy any more, and the next page can be mapped.
 */
static int exchange(uint32_t index, struct sealed_region *region, uint64_t page, bool *sealed)
{
	static const struct sealed_page nothing = { .region = NULL };
	struct exchange x;
	int err;

	x.frame = window_frame(index);
	x.out.region = NULL;
	x.in = (struct sealed_page){ region, page };
	x.written = false;
	x.taken = x.ahead_count = 0;
	take_out(&x);
	put_in(&x, index);
	window_set_busy(x.frame, true);
	lock_drop(&window_lock);
	shoot_down(&x);
	err = store_exchange(x.written ? &x.out : &nothing, &x.in, window_page(x.frame), sealed);
	lock_take(&window_lock, LOCK_WINDOW);
	end(&x, *sealed);
	return err;
}

/* The frame holds nothing. */
static void forget(uint32_t index, struct sealed_region *region, uint64_t page)
{
	*store_opened(region, page) = 0;
	region->open_pages--;
	pager_vm_count_closed(region->vm, pager_clock());
	window_part(window_frame(index));
	window_put_free(index);
}

enum pager_cost pager_open(uint32_t index, struct sealed_region *region, uint64_t page)
{
	const bool absent = *store_kind(region, page) != STORE_SEALED;
	bool sealed;

	if (exchange(index, region, page, &sealed) != 0) {
		forget(index, region, page);
		return COST_TAMPERED;
	}
	region->vm->counters.opens += !absent;
	return sealed ? COST_DIRTY : absent ? COST_FIRST_TOUCH : COST_CLEAN;
}

void pager_evict(uint32_t index)
{
	bool sealed;

	(void)exchange(index, NULL, 0, &sealed); /* opens nothing */
	window_put_free(index);
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
	uint64_t began;

	lock_drop(&window_lock);
	began = waits_begin();
	for (unsigned i = 0; i < 16; i++) {
		__builtin_ia32_pause();
	}
	waits_end(WAIT_FRAME, began);
	lock_take(&window_lock, LOCK_WINDOW);
}
