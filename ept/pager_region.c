/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions of sealed RAM: a VM's own, and shares, which have a mapping for each member. window_lock
 * guards the mappings.
 */
#include "ept/pager.h"

#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"

const struct region_ops pager_sealed_ops = {
	.name = "sealed",
	.fault = pager_fault,
	.pin = pager_pin,
	.unpin = pager_unpin,
	.close = pager_region_close,
	.bury = pager_region_bury,
};

/* Under the lock, because another CPU may bury a region of the same VM. */
static void add_region(struct pager_vm *vm, struct sealed_region *region)
{
	lock_take(&window_lock, LOCK_WINDOW);
	region->vm = vm;
	region->id = vm->region_count++;
	vm->regions_left++;
	lock_drop(&window_lock);
}

int pager_ram_create(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes,
		     uint8_t fill, struct gmem_region *out)
{
	struct sealed_region *sealed;
	int err = store_create(bytes / PAGE_SIZE, &sealed);

	CHECK(vm->gmem == NULL || vm->gmem == gmem);
	if (err != 0) {
		return err;
	}
	vm->gmem = gmem;
	sealed->fill = fill * 0x0101010101010101ul;
	add_region(vm, sealed);
	sealed->mapping_count = 1;
	sealed->mappings[0] = (struct sealed_mapping){ .gmem = gmem, .base = base };
	*out = (struct gmem_region){
		.base = base, .bytes = bytes, .ops = &pager_sealed_ops, .state = sealed
	};
	return 0;
}

int gmem_add_ram_sealed(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes)
{
	struct gmem_region region;
	int err = gmem_region_check(gmem, base, bytes);

	if (err == 0) {
		err = ept_reserve(&gmem->root, base, bytes, PAGE_SIZE);
	}
	if (err == 0) {
		err = pager_ram_create(gmem, vm, base, bytes, 0, &region);
	}
	if (err == 0) {
		gmem_region_insert(gmem, &region);
	}
	return err;
}

/* --- Shares: regions of a group, with a mapping for each member --- */

int pager_share_create(struct pager_vm *vm, uint64_t bytes, struct sealed_region **out)
{
	int err = store_create(bytes / PAGE_SIZE, out);

	if (err == 0) {
		add_region(vm, *out);
	}
	return err;
}

int pager_share_join(struct sealed_region *share, struct gmem *gmem, gpa_t base, bool read_only,
		     uint32_t first_hold)
{
	uint32_t m = 0;

	lock_take(&window_lock, LOCK_WINDOW);
	while (m < share->mapping_count && share->mappings[m].gmem != NULL) {
		m++;
	}
	if (m < PAGER_MAPPINGS_MAX) {
		share->mappings[m] = (struct sealed_mapping){
			.gmem = gmem,
			.base = base,
			.read_only = read_only,
			.first_hold = first_hold,
			.changes = share->mappings[m].changes, /* a fault may be on its way */
		};
		share->mapping_count = MAX(share->mapping_count, m + 1);
	}
	lock_drop(&window_lock);
	return m < PAGER_MAPPINGS_MAX ? 0 : ERR_NOMEM;
}

uint32_t pager_share_members(const struct sealed_region *share)
{
	uint32_t count = 0;

	for (uint32_t m = 0; m < share->mapping_count; m++) {
		count += share->mappings[m].gmem != NULL;
	}
	return count;
}

/* Takes an entry out of the EPT of a mapping. Returns false if the frame's page is not there. */
static bool take_entry(struct window_frame *frame, const struct sealed_region *share, uint32_t m)
{
	const uint32_t bit = (uint32_t)BIT(m);

	if (frame->region != share || (frame->mapped & bit) == 0) {
		return false;
	}
	frame->dirty |= ept_entry_take(window_entry(frame, m));
	frame->entry = m == 0 ? NULL : frame->entry;
	frame->mapped &= ~bit;
	frame->writable &= ~bit;
	return true;
}

/*
 * Takes what lies in some of the window's frames out of a mapping's EPT. live: a vCPU may run, so
 * the pages are busy until a shoot-down has returned. Else another CPU would evict one of them
 * while a guest still writes to it. No lock is held over the shoot-down.
 */
static void take_few(struct sealed_region *share, uint32_t m, uint64_t from, bool live)
{
	const uint64_t end = MIN(from + WINDOW_LOOKS, window_frame_count());
	struct window_frame *taken[WINDOW_LOOKS];
	uint32_t count = 0;

	lock_take(&window_lock, LOCK_WINDOW);
	for (; from < end; from++) {
		struct window_frame *frame = window_frame((uint32_t)from);

		if (take_entry(frame, share, m) && live) {
			window_set_busy(frame, true);
			taken[count++] = frame;
		}
	}
	lock_drop(&window_lock);
	if (count == 0) {
		return;
	}
	ept_tlb_shootdown(&share->mappings[m].gmem->root);
	lock_take(&window_lock, LOCK_WINDOW);
	while (count != 0) {
		window_set_busy(taken[--count], false);
	}
	lock_drop(&window_lock);
}

/*
 * Takes the pages of one mapping out of its gmem's EPT. Other CPUs wait for window_lock, so this
 * releases it after some frames. One pass is enough: the mapping gets no new entry, because no
 * fault begins (gmem.lock is held, or no vCPU runs), and one that has begun sees that `changes` is
 * another number (begin_change).
 */
static void take_mapping(struct sealed_region *share, uint32_t m, bool live)
{
	for (uint64_t from = 0; from < window_frame_count(); from += WINDOW_LOOKS) {
		take_few(share, m, from, live);
	}
}

/*
 * A CPU that evicts a page of the share may be about to shoot the gmem's EPT down. No other CPU
 * begins that: the mapping has no entry any more and gets none (take_mapping). Under window_lock,
 * which it releases meanwhile.
 */
static void wait_for_shootdowns(const struct sealed_mapping *mapping)
{
	while (mapping->shoot_downs != 0) {
		pager_let_others_end();
	}
}

/*
 * The index of the gmem's mapping, which will change. From here on no fault maps a page through it:
 * one that has begun compares `changes` under window_lock.
 */
static uint32_t begin_change(struct sealed_region *share, const struct gmem *gmem)
{
	uint32_t m;

	lock_take(&window_lock, LOCK_WINDOW);
	m = pager_mapping_of(share, gmem);
	share->mappings[m].changes++;
	lock_drop(&window_lock);
	return m;
}

void pager_share_leave(struct sealed_region *share, struct gmem *gmem, bool live)
{
	const uint32_t m = begin_change(share, gmem);

	take_mapping(share, m, live);
	lock_take(&window_lock, LOCK_WINDOW);
	wait_for_shootdowns(&share->mappings[m]);
	share->mappings[m].gmem = NULL;
	window_let_vm_go(share->vm); /* what the member's vCPUs hold; others will fault again */
	lock_drop(&window_lock);
}

void pager_share_move(struct sealed_region *share, struct gmem *gmem, gpa_t to)
{
	const uint32_t m = begin_change(share, gmem);

	take_mapping(share, m, true);
	lock_take(&window_lock, LOCK_WINDOW);
	wait_for_shootdowns(&share->mappings[m]);
	share->mappings[m].base = to;
	lock_drop(&window_lock);
}

static void sealed_leave(struct gmem *gmem, struct gmem_region *region)
{
	pager_share_leave(region->state, gmem, false);
}

static void sealed_move(struct gmem *gmem, struct gmem_region *region, gpa_t to, bool is_mapped)
{
	pager_share_move(region->state, gmem, to);
}

const struct region_ops pager_share_ops = {
	.name = "sealed share",
	.fault = pager_fault,
	.pin = pager_pin,
	.unpin = pager_unpin,
	.leave = sealed_leave,
	.move = sealed_move,
	.close = pager_region_close,
	.bury = pager_region_bury,
};
