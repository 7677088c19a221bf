/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM that stays in its frames: in clear, or under a KeyID of TME-MK. All frames are reserved when
 * the region is added, in extents as large as the machine's free memory allows. Each leaf is zeroed
 * and mapped on first touch, by the guest or through the door. So a present EPT entry means "zeroed
 * under this KeyID", and there is no other record of it. Called under gmem.lock.
 */
#include "ept/extents.h"
#include "ept/gmem.h"
#include "ept/gmem_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/page_alloc.h"

/* A leaf that is mapped, and so was zeroed. A leaf stays until its region ends. */
struct known_leaf {
	uint64_t base;
	uint64_t bytes; /* 0: empty */
	uint64_t first;
};

#define KNOWN_LEAVES 64 /* of each size */

struct ram_plain {
	keyid_t keyid;
	bool clear;    /* under KeyID 0, whatever the gmem's KeyID is */
	uint64_t fill; /* initial content: eight bytes, repeated */
	struct extents *extents;
	/*
	 * For each GiB of the region's addresses: how many of its 2 MiB parts are mapped. NULL: not
	 * needed.
	 */
	uint16_t *parts;
	size_t parts_pages;
	/*
	 * Leaves that the door has used recently; saves the walk. A leaf's slot is computed from
	 * its address divided by its size. In fragmented memory, and at the ends of a region,
	 * leaves have 4 KiB instead of 2 MiB, so each size has its own slots.
	 */
	struct known_leaf known_2m[KNOWN_LEAVES];
	struct known_leaf known_4k[KNOWN_LEAVES];
};
_Static_assert(sizeof(struct ram_plain) <= PAGE_SIZE, "one page");

/* Write-back, whatever the guest's PAT says: guest RAM is ordinary RAM of the host. */
static struct ept_attr attr_of(const struct ram_plain *ram)
{
	return (struct ept_attr){
		.access = EPT_RWX,
		.memtype = EPT_MEMTYPE_WB,
		.ignore_pat = true,
		.keyid = ram->keyid,
	};
}

/* How much to zero and map at once: at most 2 MiB, because zeroing a GiB would take too long. */
static uint64_t unit_bytes(uint64_t largest_leaf)
{
	return MIN(largest_leaf, SIZE_2M);
}

/* Merges a 1 GiB leaf when the last of its 512 parts has been zeroed. */
static void count_part(struct gmem *gmem, const struct gmem_region *region,
		       const struct ram_plain *ram, uint64_t at)
{
	uint16_t *count = &ram->parts[at / SIZE_1G - region->base.v / SIZE_1G];

	if (++*count == SIZE_1G / SIZE_2M) {
		(void)ept_merge_1g(&gmem->root, gpa(ALIGN_DOWN(at, SIZE_1G)));
	}
}

static int plain_fault(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
		       const struct gmem_faulter *by)
{
	const struct ram_plain *ram = region->state;
	const struct extent *extent = extents_find(ram->extents, gpa.v);
	uint64_t largest = extents_leaf(ram->extents, extent, gpa.v), size = unit_bytes(largest);
	gpa_t start = { ALIGN_DOWN(gpa.v, size) };
	hpa_t frame = { extent->first + (start.v - extent->base) };
	struct ept_gap gap;
	struct ept_leaf leaf;
	int err;

	/* `by` is not used: leaves stay mapped, so no vCPU need hold them */
	if (gmem->move != NULL) {
		return ERR_AGAIN;
	}
	if (!ept_find_gap(&gmem->root, gpa, &gap)) {
		err = ept_walk(&gmem->root, gpa, &leaf);
		return err == 0 ? gmem_allow_exec(gmem, gpa, access, &leaf) : err;
	}
	gmem_fill_frames(GMEM_SLOT_CLEAR, keyed(frame, ram->keyid), size, ram->fill);
	/* Else tables are missing, or the leaf is smaller because one exists already. */
	err = gap.bytes == size ? ept_fill_gap(gap, start, frame, attr_of(ram))
				: ept_map(&gmem->root, start, frame, size, size, attr_of(ram));
	if (err == 0) {
		gmem->resident_bytes += size;
		if (size > PAGE_SIZE && ept_walk(&gmem->root, gpa, &leaf) == 0) {
			err = gmem_allow_exec(gmem, gpa, access, &leaf);
		}
		if (largest == SIZE_1G) {
			count_part(gmem, region, ram, gpa.v);
		}
	}
	return err;
}

static inline struct known_leaf *known_place(struct known_leaf *leaves, gpa_t page, uint64_t size)
{
	return &leaves[page.v / size % KNOWN_LEAVES];
}

static inline bool is_known(const struct known_leaf *leaf, gpa_t page)
{
	return page.v - leaf->base < leaf->bytes;
}

/* Not inlined, so that the fast path need not save registers for it. */
static __attribute__((noinline)) int pin_unknown(struct gmem *gmem, struct gmem_region *region,
						 gpa_t page, struct keyed_frame *out)
{
	struct ram_plain *ram = region->state;
	const struct extent *extent = extents_find(ram->extents, page.v);
	uint64_t size = unit_bytes(extents_leaf(ram->extents, extent, page.v));
	uint64_t start = ALIGN_DOWN(page.v, size);
	struct known_leaf *known;
	int err = plain_fault(gmem, region, page, GMEM_ACCESS_READ, NULL);

	if (err == 0) {
		known = size == SIZE_2M ? known_place(ram->known_2m, page, SIZE_2M)
					: known_place(ram->known_4k, page, PAGE_SIZE);
		*known = (struct known_leaf){ start, size, extent->first + (start - extent->base) };
		*out = keyed(hpa(extent->first + (page.v - extent->base)), ram->keyid);
	}
	return err;
}

/* The page stays in its frame, so there is no unpin. */
static int plain_pin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
		     struct keyed_frame *out)
{
	struct ram_plain *ram = region->state;
	const struct known_leaf *known = known_place(ram->known_2m, page, SIZE_2M);

	/* `write` is not used: every leaf has all rights */
	if (__builtin_expect(!is_known(known, page), 0)) {
		known = known_place(ram->known_4k, page, PAGE_SIZE);
		if (!is_known(known, page)) {
			return pin_unknown(gmem, region, page, out);
		}
	}
	*out = keyed(hpa(known->first + (page.v - known->base)), ram->keyid);
	return 0;
}

/* Notes that all before `to` is done. No leaf crosses the region's end. */
static void advance(struct gmem_region *region, uint64_t to)
{
	region->bytes -= to - region->base.v;
	region->base.v = to;
}

/* Zeroes the next piece that was touched; other pages never held data. False when there is none. */
static bool zero_touched(const struct ept_root *root, struct gmem_region *region)
{
	const uint64_t from = region->base.v;
	struct ept_leaf leaf;
	uint64_t done, bytes;
	gpa_t at;

	if (ept_next(root, region->base, from + region->bytes, &at, &leaf) != 0) {
		return false;
	}
	done = from > at.v ? from - at.v : 0;
	bytes = MIN(leaf.leaf_bytes - done, GMEM_STEP_BYTES);
	gmem_zero_frames(GMEM_SLOT_CLEAR, keyed(hpa(leaf.hpa.v + done), KEYID_PLATFORM), bytes);
	advance(region, at.v + done + bytes);
	return true;
}

/* Zeroes the next piece, touched or not. */
static bool zero_all(const struct ram_plain *ram, struct gmem_region *region)
{
	const uint64_t from = region->base.v;
	const struct extent *extent;
	uint64_t bytes;

	if (region->bytes == 0) {
		return false;
	}
	extent = extents_find(ram->extents, from);
	bytes = MIN(extent->base + extent->bytes - from, GMEM_STEP_BYTES);
	gmem_zero_frames(GMEM_SLOT_CLEAR,
			 keyed(hpa(extent->first + (from - extent->base)), KEYID_PLATFORM), bytes);
	advance(region, from + bytes);
	return true;
}

static void release(struct ram_plain *ram)
{
	extents_destroy(ram->extents);
	page_free(ram->parts, ram->parts_pages);
	page_free(ram, 1);
}

/* Only called for small regions: see ept/retire.c. */
static void plain_flush(const struct ept_root *root, struct gmem_region *region)
{
	const struct ram_plain *ram = region->state;
	const uint64_t end = region->base.v + region->bytes;
	struct ept_leaf leaf;
	gpa_t at;

	for (uint64_t from = region->base.v;
	     !ram->clear && ept_next(root, gpa(from), end, &at, &leaf) == 0;
	     from = at.v + leaf.leaf_bytes) {
		gmem_flush_frames(GMEM_SLOT_CLEAR, keyed(leaf.hpa, ram->keyid), leaf.leaf_bytes);
	}
}

/* Zeroes under KeyID 0: the memory's own KeyID must not be used any more. */
static bool plain_bury(const struct ept_root *root, struct gmem_region *region, enum gmem_bury how)
{
	struct ram_plain *ram = region->state;
	const bool zeroes = how != GMEM_BURY_CLEAR || ram->clear;

	if (how == GMEM_BURY_ALL ? zero_all(ram, region) : zeroes && zero_touched(root, region)) {
		return false;
	}
	release(ram);
	return true;
}

static bool plain_set_keyid(struct gmem_region *region, keyid_t keyid)
{
	struct ram_plain *ram = region->state;

	if (ram->clear) {
		return false;
	}
	ram->keyid = keyid;
	memset(ram->known_2m, 0, sizeof(ram->known_2m));
	memset(ram->known_4k, 0, sizeof(ram->known_4k));
	return true;
}

static const struct region_ops plain_ops = {
	.name = "plain",
	.fault = plain_fault,
	.pin = plain_pin,
	.flush = plain_flush,
	.bury = plain_bury,
	.set_keyid = plain_set_keyid,
	.stays = true,
};

/* Makes a counter for each GiB of addresses that the region touches. */
static int add_parts(struct ram_plain *ram, uint64_t base, uint64_t bytes)
{
	uint64_t count = (base + bytes - 1) / SIZE_1G - base / SIZE_1G + 1;

	if (ram->extents->max_leaf < SIZE_1G || bytes < SIZE_1G) {
		return 0;
	}
	ram->parts_pages = ALIGN_UP(count * sizeof(*ram->parts), PAGE_SIZE) / PAGE_SIZE;
	ram->parts = page_alloc(ram->parts_pages);
	return ram->parts != NULL ? 0 : ERR_NOMEM;
}

static int create(keyid_t keyid, const struct gmem_region *region, uint64_t max_leaf, bool now,
		  struct ram_plain **out)
{
	struct ram_plain *ram = page_alloc(1);
	int err;

	if (ram == NULL) {
		return ERR_NOMEM;
	}
	ram->keyid = keyid;
	err = extents_create(region->base.v, region->bytes, max_leaf, keyid, now, &ram->extents);
	if (err == 0) {
		err = add_parts(ram, region->base.v, region->bytes);
	}
	if (err != 0) {
		release(ram);
		return err;
	}
	*out = ram;
	return 0;
}

/*
 * Reserves tables for all leaves that the extents allow. If only small leaves may be executable,
 * any leaf may be split later, so it reserves tables for 4 KiB leaves.
 */
static int reserve_tables(struct gmem *gmem, const struct gmem_region *region,
			  const struct ram_plain *ram)
{
	const uint64_t end = region->base.v + region->bytes;
	const bool small = ept_caps()->no_large_exec;
	uint64_t count = 0;
	int err = ept_reserve(&gmem->root, region->base, region->bytes,
			      small ? PAGE_SIZE : SIZE_2M);

	for (uint64_t at = region->base.v; !small && at < end;
	     at = ALIGN_DOWN(at, SIZE_2M) + SIZE_2M) {
		count += extents_leaf(ram->extents, extents_find(ram->extents, at), at) ==
			 PAGE_SIZE;
	}
	return err == 0 ? ept_reserve_tables(&gmem->root, count) : err;
}

static int add_ram(struct gmem *gmem, bool clear, gpa_t base, uint64_t bytes, uint64_t max_leaf)
{
	struct gmem_region region = { .base = base, .bytes = bytes, .ops = &plain_ops };
	int err = gmem_region_check(gmem, base, bytes);
	struct ram_plain *ram;

	if (err == 0) {
		err = create(clear ? KEYID_PLATFORM : gmem->keyid, &region, max_leaf, false, &ram);
	}
	if (err == 0) {
		err = reserve_tables(gmem, &region, ram);
		if (err != 0) {
			release(ram);
		}
	}
	if (err == 0) {
		ram->clear = clear;
		region.state = ram;
		gmem_region_insert(gmem, &region);
	}
	return err;
}

int gmem_add_ram_plain(struct gmem *gmem, gpa_t base, uint64_t bytes, uint64_t max_leaf)
{
	return add_ram(gmem, false, base, bytes, max_leaf);
}

int gmem_add_ram_clear(struct gmem *gmem, gpa_t base, uint64_t bytes, uint64_t max_leaf)
{
	return add_ram(gmem, true, base, bytes, max_leaf);
}

/* For memory that may be removed again while the VM runs: callers must not remember its frames. */
static const struct region_ops passing_ops = {
	.name = "plain",
	.fault = plain_fault,
	.pin = plain_pin,
	.flush = plain_flush,
	.bury = plain_bury,
	.set_keyid = plain_set_keyid,
};

int plain_ram_create(struct gmem *gmem, gpa_t base, uint64_t bytes, uint8_t fill,
		     struct gmem_region *out)
{
	struct ram_plain *ram;
	int err;

	*out = (struct gmem_region){ .base = base, .bytes = bytes, .ops = &passing_ops };
	err = create(gmem->keyid, out, SIZE_2M, true, &ram);
	if (err == 0) {
		ram->fill = fill * 0x0101010101010101ul;
		out->state = ram;
	}
	return err;
}
