/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shares. In a share that stays in its frames, share->lock guards which of them were zeroed; it is
 * taken while a member's gmem.lock is held. A sealed share is a region of the pager with several
 * mappings. Members come and go on the boot processor. A gmem's region changes under its gmem.lock;
 * a fault that released this lock meanwhile looks at the region again.
 */
#include "ept/share.h"

#include "crypto/keyslot.h"
#include "ept/extents.h"
#include "ept/gmem_priv.h"
#include "ept/move.h"
#include "ept/retire.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"

struct member {
	ATOMIC(const struct gmem *) gmem; /* NULL: unused. Other CPUs may read it meanwhile */
	bool read_only;
};

struct share {
	struct lock lock;
	uint64_t bytes;
	uint32_t member_count;
	struct member members[PAGER_MAPPINGS_MAX];
	/* For a share that stays in its frames: */
	keyid_t keyid;
	struct extents *extents; /* NULL: the share is sealed */
	uint64_t *zeroed; /* one bit for each page; for a 2 MiB leaf, only that of its first page */
	size_t zeroed_pages;
	struct grave *grave; /* for share_destroy */
	/* For a sealed share: */
	struct sealed_region *sealed;
	struct pager_vm *pager;
};
_Static_assert(sizeof(struct share) <= PAGE_SIZE, "one page");

static struct member *member_of(struct share *share, const struct gmem *gmem)
{
	struct member *member = share->members;

	while (atomic_load_relaxed(&member->gmem) != gmem) {
		member++;
		CHECK(member < share->members + PAGER_MAPPINGS_MAX);
	}
	return member;
}

/* Finds the leaf around an offset, and zeroes it under the group's KeyID on first use. */
static struct keyed_frame usable(struct share *share, uint64_t offset, uint64_t *start,
				 uint64_t *size)
{
	const struct extent *extent = extents_find(share->extents, offset);
	uint64_t bit;
	hpa_t frame;

	*size = extents_leaf(share->extents, extent, offset);
	*start = ALIGN_DOWN(offset, *size);
	frame = hpa(extent->first + (*start - extent->base));
	bit = *start / PAGE_SIZE;
	lock_take(&share->lock, LOCK_SHARE);
	if ((share->zeroed[bit / 64] & BIT(bit % 64)) == 0) {
		gmem_zero_frames(GMEM_SLOT_CLEAR, keyed(frame, share->keyid), *size);
		share->zeroed[bit / 64] |= BIT(bit % 64);
	}
	lock_drop(&share->lock);
	return keyed(frame, share->keyid);
}

static int resident_fault(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
			  const struct gmem_faulter *by)
{
	struct share *share = region->state;
	const bool read_only = member_of(share, gmem)->read_only;
	const struct ept_attr attr = {
		.access = read_only ? EPT_READ | EPT_EXEC : EPT_RWX,
		.memtype = EPT_MEMTYPE_WB,
		.ignore_pat = true,
		.keyid = share->keyid,
	};
	uint64_t start, size;
	struct keyed_frame page;
	struct ept_leaf leaf;

	/* `by` is not used: pages stay mapped, so no vCPU need hold them */
	if (read_only && (access & GMEM_ACCESS_WRITE) != 0) {
		return ERR_RIGHTS;
	}
	if (ept_walk(&gmem->root, gpa, &leaf) == 0) {
		return gmem_allow_exec(gmem, gpa, access, &leaf);
	}
	page = usable(share, gpa.v - region->base.v, &start, &size);
	return ept_map(&gmem->root, (gpa_t){ region->base.v + start }, page.frame, size, size,
		       attr);
}

static int resident_pin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
			struct keyed_frame *out)
{
	struct share *share = region->state;
	const uint64_t offset = page.v - region->base.v;
	uint64_t start, size;

	if (write && member_of(share, gmem)->read_only) {
		return ERR_RIGHTS;
	}
	*out = usable(share, offset, &start, &size);
	out->frame.v += offset - start;
	return 0;
}

static void forget_member(struct share *share, const struct gmem *gmem)
{
	atomic_store_relaxed(&member_of(share, gmem)->gmem, NULL);
	share->member_count--;
}

static void resident_leave(struct gmem *gmem, struct gmem_region *region)
{
	forget_member(region->state, gmem);
}

/* No leaf crosses the region's ends, so that nothing has to be split. */
static void unmap_resident(struct gmem *gmem, const struct gmem_region *region)
{
	CHECK(ept_unmap(&gmem->root, region->base, region->bytes) == 0);
	ept_tlb_shootdown(&gmem->root);
}

static void resident_move(struct gmem *gmem, struct gmem_region *region, gpa_t to, bool is_mapped)
{
	if (is_mapped) {
		unmap_resident(gmem, region);
	}
}

/* Finds the next leaf that was used, at offset region->base or later. False when there is none. */
static bool next_used(struct gmem_region *region, hpa_t *first, uint64_t *bytes)
{
	const struct share *share = region->state;

	while (region->base.v < share->bytes) {
		const uint64_t at = region->base.v, bit = at / PAGE_SIZE;
		const struct extent *extent = extents_find(share->extents, at);

		*bytes = extents_leaf(share->extents, extent, at);
		*first = hpa(extent->first + (at - extent->base));
		region->base.v += *bytes;
		if ((share->zeroed[bit / 64] & BIT(bit % 64)) != 0) {
			return true;
		}
	}
	return false;
}

static void resident_flush(const struct ept_root *root, struct gmem_region *region)
{
	struct gmem_region left = *region;
	uint64_t bytes;
	hpa_t first;

	while (next_used(&left, &first, &bytes)) {
		gmem_flush_frames(GMEM_SLOT_CLEAR,
				  keyed(first, ((const struct share *)left.state)->keyid), bytes);
	}
}

/*
 * No member is left. With GMEM_BURY_CLEAR the key is dead, so nothing needs zeroing. Else there is
 * no key, or it is still in use.
 */
static bool resident_bury(const struct ept_root *root, struct gmem_region *region,
			  enum gmem_bury how)
{
	struct share *share = region->state;
	const bool wipe = how != GMEM_BURY_CLEAR;
	uint64_t bytes;
	hpa_t first;

	if (wipe && next_used(region, &first, &bytes)) {
		gmem_zero_frames(GMEM_SLOT_CLEAR, keyed(first, KEYID_PLATFORM), bytes);
		return false;
	}
	extents_destroy(share->extents);
	page_free(share->zeroed, share->zeroed_pages);
	page_free(share, 1);
	return true;
}

static const struct region_ops resident_ops = {
	.name = "share",
	.fault = resident_fault,
	.pin = resident_pin,
	.leave = resident_leave,
	.move = resident_move,
	.flush = resident_flush,
	.bury = resident_bury,
};

/* --- Life --- */

int share_create_resident(uint64_t bytes, keyid_t keyid, struct share **out)
{
	struct share *share = page_alloc(1);
	const uint64_t bitmap = ALIGN_UP(bytes / PAGE_SIZE, 64ul) / 8;
	int err;

	if (share == NULL) {
		return ERR_NOMEM;
	}
	share->bytes = bytes;
	share->keyid = keyid;
	share->zeroed_pages = ALIGN_UP(bitmap, PAGE_SIZE) / PAGE_SIZE;
	share->zeroed = page_alloc(share->zeroed_pages);
	share->grave = page_alloc(1);
	err = share->zeroed == NULL || share->grave == NULL
		      ? ERR_NOMEM
		      : extents_create(0, bytes, SIZE_2M, keyid, false, &share->extents);
	if (err != 0) {
		page_free(share->grave, 1);
		page_free(share->zeroed, share->zeroed_pages);
		page_free(share, 1);
		return err;
	}
	if (keyid != KEYID_PLATFORM) {
		keyslot_use(keyid);
	}
	*out = share;
	return 0;
}

int share_create_sealed(uint64_t bytes, struct pager_vm *pager, struct share **out)
{
	struct share *share = page_alloc(1);
	int err;

	if (share == NULL) {
		return ERR_NOMEM;
	}
	share->bytes = bytes;
	share->pager = pager;
	share->grave = page_alloc(1);
	err = share->grave == NULL ? ERR_NOMEM : pager_share_create(pager, bytes, &share->sealed);
	if (err != 0) {
		page_free(share->grave, 1);
		page_free(share, 1);
		return err;
	}
	*out = share;
	return 0;
}

/* Each member's shoot-down was done when it left. */
void share_destroy(struct share *share)
{
	struct gmem_region region = { .bytes = share->bytes };
	struct grave *grave = share->grave;

	CHECK(share_member_count(share) == 0);
	share->grave = NULL;
	if (share->sealed == NULL) {
		region.ops = &resident_ops;
		region.state = share;
		retire_region(grave, share->keyid, &region, GMEM_BURY_TOUCHED);
		return;
	}
	region.ops = &pager_share_ops;
	region.state = share->sealed;
	retire_region(grave, KEYID_PLATFORM, &region, GMEM_BURY_TOUCHED);
	pager_vm_destroy(share->pager);
	page_free(share, 1);
}

uint32_t share_member_count(const struct share *share)
{
	return share->sealed != NULL ? pager_share_members(share->sealed) : share->member_count;
}

keyid_t share_keyid(const struct share *share)
{
	return share->keyid;
}

bool share_pages(const struct share *share, struct pager_counters *out)
{
	if (share->sealed == NULL) {
		return false;
	}
	pager_count(share->pager, out);
	return true;
}

/* --- Members --- */

/* Adds the gmem to the members. *region is the region for its list of regions. */
static int add_member(struct share *share, struct gmem *gmem, gpa_t base, bool read_only,
		      uint32_t first_hold, struct gmem_region *region)
{
	struct member *member = share->members;

	*region = (struct gmem_region){ .base = base, .bytes = share->bytes };
	if (share->sealed != NULL) {
		region->ops = &pager_share_ops;
		region->state = share->sealed;
		return pager_share_join(share->sealed, gmem, base, read_only, first_hold);
	}
	while (atomic_load_relaxed(&member->gmem) != NULL) {
		if (++member == share->members + PAGER_MAPPINGS_MAX) {
			return ERR_NOMEM;
		}
	}
	member->read_only = read_only;
	atomic_store_release(&member->gmem, gmem);
	share->member_count++;
	region->ops = &resident_ops;
	region->state = share;
	return 0;
}

int share_join(struct share *share, struct gmem *gmem, gpa_t base, bool read_only,
	       uint32_t first_hold)
{
	struct gmem_region region;
	int err = gmem_region_check(gmem, base, share->bytes);

	if (err == 0) {
		/* Also for the VM's own memory that is mapped there if the share is taken away. */
		err = ept_reserve(&gmem->root, base, share->bytes, PAGE_SIZE);
	}
	if (err == 0) {
		err = add_member(share, gmem, base, read_only, first_hold, &region);
	}
	if (err == 0) {
		gmem_region_insert(gmem, &region);
	}
	return err;
}

static struct gmem_region *region_of(struct gmem *gmem, gpa_t first)
{
	struct gmem_region *region = gmem->regions;

	while (region->first.v != first.v) {
		region++;
		CHECK(region < gmem->regions + gmem->region_count);
	}
	return region;
}

/*
 * Takes the region out of the gmem's EPT. On return no CPU translates to its pages any more: only
 * then may another VM use them, or another region take its place. A region that is off has no
 * entries, and those at its base may be another's.
 */
static void unmap_region(struct gmem *gmem, struct gmem_region *region)
{
	if (region->ops == &pager_share_ops || region->ops == &pager_sealed_ops) {
		pager_share_leave(region->state, gmem, true);
	} else if (!atomic_load_relaxed(&region->off)) {
		unmap_resident(gmem, region);
	}
}

/*
 * Under gmem.lock. Who looks for the region of an address takes no lock: this changes what the
 * region is, not where it lies.
 */
static void put_in_place(struct gmem_region *region, const struct gmem_region *other)
{
	region->ops = other->ops;
	region->state = other->state;
}

static bool is_free_for(const struct gmem *gmem, const struct gmem_region *mover, gpa_t to)
{
	for (uint32_t i = 0; i < gmem->region_count; i++) {
		const struct gmem_region *other = &gmem->regions[i];

		if (other != mover && !atomic_load_relaxed(&other->off) &&
		    other->base.v < to.v + mover->bytes && to.v < other->base.v + other->bytes) {
			return false;
		}
	}
	return true;
}

/*
 * Where the region is going to lie, vmm/ may have lent frames of ones to vCPUs (hole.h). They go,
 * or a guest would read and write these in place of the share. Under gmem.lock; no more are lent
 * once the region lies there. Nothing else is mapped where no region lies. So the time depends on
 * what is lent, and not on the size of the share, for which other vCPUs would wait.
 */
static void clear_place(struct gmem *gmem, gpa_t base, uint64_t bytes)
{
	bool found = false;

	for (const struct gmem_lent *lent = gmem->lent; lent != NULL; lent = lent->next) {
		for (uint32_t i = 0; i < lent->count; i++) {
			if (lent->pages[i].v - base.v < bytes) {
				/* One 4-KiB leaf: no split is needed, so this cannot fail. */
				CHECK(ept_unmap(&gmem->root, lent->pages[i], PAGE_SIZE) == 0);
				found = true;
			}
		}
	}
	if (found) {
		ept_tlb_shootdown(&gmem->root);
	}
}

/*
 * Under gmem.lock. Order: nobody finds the region before its entries go, or a fault would map a
 * page at the old address again; it is found at the new one only after.
 */
static void follow(struct gmem *gmem, struct gmem_region *region)
{
	const gpa_t to = region->wanted;
	const bool was_on = !atomic_load_relaxed(&region->off);
	const bool off = region->unwanted || !is_free_for(gmem, region, to);

	if (region->held_back || region->ops->move == NULL ||
	    (to.v == region->base.v && region->unwanted == atomic_load_relaxed(&region->off))) {
		return;
	}
	atomic_store_release(&region->off, true);
	region->ops->move(gmem, region, to, was_on);
	if (!off) {
		clear_place(gmem, to, region->bytes);
	}
	__atomic_store_n(&region->base.v, to.v, __ATOMIC_RELEASE);
	atomic_store_release(&region->off, off);
}

void share_move(struct gmem *gmem, gpa_t first, gpa_t to, bool on)
{
	struct gmem_region *region;

	lock_take(&gmem->lock, LOCK_GMEM);
	region = region_of(gmem, first);
	region->wanted = on ? to : region->wanted;
	region->unwanted = !on;
	follow(gmem, region);
	lock_drop(&gmem->lock);
}

/* A region that is held back stays where it lies; after that it goes where the guest wants it. */
static void hold_back(struct gmem *gmem, struct gmem_region *region, bool held_back)
{
	lock_take(&gmem->lock, LOCK_GMEM);
	region->held_back = held_back;
	follow(gmem, region);
	lock_drop(&gmem->lock);
}

int share_revoke(struct share *share, struct gmem *gmem, gpa_t first, struct pager_vm *own)
{
	struct gmem_region *region, fresh;
	int err;

	if (move_is_on(gmem)) {
		return ERR_AGAIN;
	}
	region = region_of(gmem, first);
	hold_back(gmem, region, true);
	err = own != NULL ? pager_ram_create(gmem, own, region->base, share->bytes, 0xff, &fresh)
			  : plain_ram_create(gmem, region->base, share->bytes, 0xff, &fresh);
	if (err == 0) {
		lock_take(&gmem->lock, LOCK_GMEM);
		unmap_region(gmem, region);
		if (share->sealed == NULL) {
			forget_member(share, gmem);
		}
		put_in_place(region, &fresh);
		lock_drop(&gmem->lock);
	}
	hold_back(gmem, region, false);
	return err;
}

/*
 * Frees the memory of its own that a member had meanwhile. If its KeyID stays in use, its lines
 * must leave the caches before the frames are zeroed under KeyID 0.
 */
static void free_own(struct grave *grave, const struct gmem *gmem, const struct gmem_region *region)
{
	if (gmem->keyid != KEYID_PLATFORM) {
		cache_flush_all();
	}
	retire_region(grave, KEYID_PLATFORM, region, GMEM_BURY_ALL);
}

int share_grant(struct share *share, struct gmem *gmem, gpa_t first, bool read_only,
		uint32_t first_hold)
{
	struct gmem_region *region, own, joined;
	struct grave *grave;
	int err;

	if (move_is_on(gmem)) {
		return ERR_AGAIN;
	}
	grave = page_alloc(1);
	if (grave == NULL) {
		return ERR_NOMEM;
	}
	region = region_of(gmem, first); /* the member's own pages, which do not move */
	err = add_member(share, gmem, region->base, read_only, first_hold, &joined);
	if (err != 0) {
		page_free(grave, 1);
		return err;
	}
	lock_take(&gmem->lock, LOCK_GMEM);
	unmap_region(gmem, region);
	own = *region;
	put_in_place(region, &joined);
	follow(gmem, region);
	lock_drop(&gmem->lock);
	free_own(grave, gmem, &own);
	return 0;
}
