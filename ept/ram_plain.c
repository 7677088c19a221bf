/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM that stays in its frames: in clear, or under a KeyID of TME-MK. All frames are reserved when
 * the region is added, in extents as large as the machine's free memory allows; each leaf is
 * zeroed and mapped on first touch, by the guest or through the door. An EPT entry that is present
 * therefore means "zeroed under this KeyID", and that is the only record of it. Called under
 * gmem.lock.
 */
#include "ept/gmem.h"
#include "ept/gmem_priv.h"
#include "vmm/base/cache.h"
#include "vmm/base/err.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/str.h"

/* Guest-physical [base, base + bytes) lies at frames from first on. */
struct extent {
	uint64_t base;
	uint64_t bytes;
	uint64_t first;
};

/* A leaf that is mapped, and so was zeroed. Leaves in clear stay until the region goes. */
struct known_leaf {
	uint64_t base;
	uint64_t bytes; /* 0: empty */
	uint64_t first;
};

#define KNOWN_LEAVES 64

/* One run of host pages, doubled when the extents no longer fit. */
struct ram_plain {
	uint64_t max_leaf;
	keyid_t keyid;
	/*
	 * How many 2 MiB parts of each GiB of the region's addresses are mapped; NULL: no matter.
	 */
	uint16_t *parts;
	size_t parts_pages;
	/* Where the door went of late, by page: saves it the walk. */
	struct known_leaf known[KNOWN_LEAVES];
	size_t page_count; /* of this run */
	size_t count;
	struct extent extents[]; /* sorted, without gaps: they cover the region */
};

static size_t capacity(size_t page_count)
{
	return (page_count * PAGE_SIZE - sizeof(struct ram_plain)) / sizeof(struct extent);
}

/* Write-back, whatever the guest's PAT says: its memory is the host's ordinary RAM. */
static struct ept_attr attr_of(const struct ram_plain *ram)
{
	return (struct ept_attr){
		.access = EPT_RWX,
		.memtype = EPT_MEMTYPE_WB,
		.ignore_pat = true,
		.keyid = ram->keyid,
	};
}

/* The extent that holds an address of the region. */
static const struct extent *find_extent(const struct ram_plain *ram, uint64_t at)
{
	size_t low = 0, high = ram->count;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (ram->extents[middle].base <= at) {
			low = middle;
		} else {
			high = middle;
		}
	}
	return &ram->extents[low];
}

/* Whether the address can be in a leaf of size bytes that lies wholly within the extent. */
static bool leaf_fits(const struct extent *extent, uint64_t at, uint64_t size)
{
	uint64_t offset = ALIGN_DOWN(at, size) - extent->base; /* huge when below */

	return offset < extent->bytes && extent->bytes - offset >= size &&
	       IS_ALIGNED(extent->first + offset, size);
}

static uint64_t leaf_bytes(const struct ram_plain *ram, const struct extent *extent, uint64_t at)
{
	if (ram->max_leaf >= SIZE_1G && ept_caps()->page_1g && leaf_fits(extent, at, SIZE_1G)) {
		return SIZE_1G;
	}
	if (ram->max_leaf >= SIZE_2M && ept_caps()->page_2m && leaf_fits(extent, at, SIZE_2M)) {
		return SIZE_2M;
	}
	return PAGE_SIZE;
}

/* What is zeroed and mapped at once: nobody may wait for a whole GiB. */
static uint64_t unit_bytes(const struct ram_plain *ram, const struct extent *extent, uint64_t at)
{
	return MIN(leaf_bytes(ram, extent, at), SIZE_2M);
}

/* A leaf of 1 GiB appears when the last of its 512 parts has been zeroed. */
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
	const struct extent *extent = find_extent(ram, gpa.v);
	uint64_t size = unit_bytes(ram, extent, gpa.v);
	gpa_t start = { ALIGN_DOWN(gpa.v, size) };
	hpa_t frame = { extent->first + (start.v - extent->base) };
	struct ept_leaf leaf;
	int err;

	(void)access; /* every leaf allows everything */
	(void)by;     /* and stays */
	if (ept_walk(&gmem->root, gpa, &leaf) == 0) {
		return 0; /* another vCPU was first */
	}
	gmem_zero_frames(GMEM_SLOT_CLEAR, keyed(frame, ram->keyid), size);
	err = ept_map(&gmem->root, start, frame, size, size, attr_of(ram));
	if (err == 0) {
		gmem->resident_bytes += size;
		if (leaf_bytes(ram, extent, gpa.v) == SIZE_1G) {
			count_part(gmem, region, ram, gpa.v);
		}
	}
	return err;
}

/* Out of line, so that the short way need not save registers for it. */
static __attribute__((noinline)) int pin_unknown(struct gmem *gmem, struct gmem_region *region,
						 gpa_t page, struct keyed_frame *out)
{
	struct ram_plain *ram = region->state;
	const struct extent *extent = find_extent(ram, page.v);
	uint64_t size = unit_bytes(ram, extent, page.v);
	uint64_t start = ALIGN_DOWN(page.v, size);
	int err = plain_fault(gmem, region, page, GMEM_ACCESS_READ, NULL);

	if (err == 0) {
		ram->known[(page.v / PAGE_SIZE) % KNOWN_LEAVES] = (struct known_leaf){
			start, size, extent->first + (start - extent->base)
		};
		*out = keyed(hpa(extent->first + (page.v - extent->base)), ram->keyid);
	}
	return err;
}

/* A page in clear stays where it is, so there is no unpin. */
static int plain_pin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
		     struct keyed_frame *out)
{
	const struct ram_plain *ram = region->state;
	const struct known_leaf *known = &ram->known[(page.v / PAGE_SIZE) % KNOWN_LEAVES];

	(void)write; /* every leaf allows everything */
	if (__builtin_expect(page.v - known->base >= known->bytes, 0)) {
		return pin_unknown(gmem, region, page, out);
	}
	*out = keyed(hpa(known->first + (page.v - known->base)), ram->keyid);
	return 0;
}

static void release(struct ram_plain *ram, void (*give_back)(hpa_t first, uint64_t page_count))
{
	for (size_t i = 0; i < ram->count; i++) {
		give_back(hpa(ram->extents[i].first), ram->extents[i].bytes / PAGE_SIZE);
	}
	page_free(ram->parts, ram->parts_pages);
	page_free(ram, ram->page_count);
}

/* Wipes what was touched; the rest never held anything of this VM. */
static void plain_destroy(struct gmem *gmem, struct gmem_region *region)
{
	struct ram_plain *ram = region->state;
	const struct extent *extent = ram->extents;
	uint64_t end = region->base.v + region->bytes, size;
	struct ept_leaf leaf;

	for (uint64_t at = region->base.v; at < end; at += size) {
		if (at == extent->base + extent->bytes) {
			extent++;
		}
		size = unit_bytes(ram, extent, at);
		if (ept_walk(&gmem->root, gpa(at), &leaf) == 0) {
			gmem_zero_frames(GMEM_SLOT_CLEAR, keyed(leaf.hpa, ram->keyid), size);
		}
	}
	release(ram, frames_free);
}

/*
 * Under KeyID 0, for the memory's own must not be used any more. The lines are left to be flushed.
 */
static void plain_bury(struct gmem_region *region, bool wipe)
{
	struct ram_plain *ram = region->state;

	for (size_t i = 0; wipe && i < ram->count; i++) {
		gmem_zero_frames(GMEM_SLOT_CLEAR, keyed(hpa(ram->extents[i].first), KEYID_PLATFORM),
				 ram->extents[i].bytes);
	}
	release(ram, wipe ? frames_free : frames_free_flushed);
}

static const struct region_ops plain_ops = {
	.name = "plain",
	.fault = plain_fault,
	.pin = plain_pin,
	.destroy = plain_destroy,
	.bury = plain_bury,
	.stays = true,
};

/* Appends; the run of host pages may move. */
static int add_extent(struct ram_plain **ram, struct extent extent)
{
	struct ram_plain *old = *ram;

	if (old->count == capacity(old->page_count)) {
		struct ram_plain *larger = page_alloc(2 * old->page_count);

		if (larger == NULL) {
			return ERR_NOMEM;
		}
		memcpy(larger, old, old->page_count * PAGE_SIZE);
		larger->page_count = 2 * old->page_count;
		page_free(old, old->page_count);
		*ram = larger;
	}
	(*ram)->extents[(*ram)->count++] = extent;
	return 0;
}

/* The largest leaf that the CPU and max_leaf allow above `size`; 0 when none. */
static uint64_t larger_leaf(uint64_t max_leaf, uint64_t size)
{
	if (size < SIZE_2M && max_leaf >= SIZE_2M && ept_caps()->page_2m) {
		return SIZE_2M;
	}
	return size < SIZE_1G && max_leaf >= SIZE_1G && ept_caps()->page_1g ? SIZE_1G : 0;
}

/* One piece of at most `most` bytes in whole units of align: halved until one is free. */
static int take_piece(uint64_t most, uint64_t align, uint64_t *limit, uint64_t *bytes, hpa_t *first,
		      bool *stale)
{
	bool piece_stale;

	uint64_t size = ALIGN_DOWN(MIN(most, MAX(*limit, align)), align);

	for (; size != 0; size = ALIGN_DOWN(size / 2, align)) {
		if (frames_alloc_keyed(size / PAGE_SIZE, align / PAGE_SIZE, first, &piece_stale) ==
		    0) {
			*stale |= piece_stale;
			*bytes = size;
			return 0;
		}
		*limit = size / 2;
	}
	return ERR_NOMEM;
}

/*
 * Takes frames for the first part of [at, at + bytes), in one piece: aligned for the largest leaf
 * that fits there, else for a smaller one. A piece ends where a leaf larger than its own alignment
 * could begin. *limit remembers what was too large, so that fragmented memory is not asked in vain
 * for every piece.
 */
static int take_extent(uint64_t max_leaf, uint64_t at, uint64_t bytes, uint64_t *limit,
		       struct extent *out, bool *stale)
{
	static const uint64_t aligns[] = { SIZE_1G, SIZE_2M, PAGE_SIZE };
	hpa_t first;

	for (size_t i = 0; i < ARRAY_COUNT(aligns); i++) {
		uint64_t align = aligns[i], larger = larger_leaf(max_leaf, align), most = bytes;

		if (align > PAGE_SIZE && (larger_leaf(max_leaf, align / 2) != align ||
					  !IS_ALIGNED(at, align) || bytes < align)) {
			continue; /* no such leaf there */
		}
		if (larger != 0) {
			most = MIN(bytes, ALIGN_DOWN(at, larger) + larger - at);
		}
		if (take_piece(most, align, limit, &out->bytes, &first, stale) == 0) {
			out->base = at;
			out->first = first.v;
			return 0;
		}
	}
	return ERR_NOMEM;
}

/* *stale: caches may hold lines of some of it from its last use. */
static int reserve(struct ram_plain **ram, uint64_t base, uint64_t bytes, bool *stale)
{
	uint64_t limit = UINT64_MAX;

	for (uint64_t done = 0; done < bytes;) {
		struct extent extent;
		int err = take_extent((*ram)->max_leaf, base + done, bytes - done, &limit, &extent,
				      stale);

		if (err != 0) {
			return err;
		}
		err = add_extent(ram, extent);
		if (err != 0) {
			frames_free(hpa(extent.first), extent.bytes / PAGE_SIZE);
			return err;
		}
		done += extent.bytes;
	}
	return 0;
}

/* One counter for each GiB of addresses that the region touches. */
static int add_parts(struct ram_plain *ram, uint64_t base, uint64_t bytes)
{
	uint64_t count = (base + bytes - 1) / SIZE_1G - base / SIZE_1G + 1;

	if (ram->max_leaf < SIZE_1G || bytes < SIZE_1G) {
		return 0;
	}
	ram->parts_pages = ALIGN_UP(count * sizeof(*ram->parts), PAGE_SIZE) / PAGE_SIZE;
	ram->parts = page_alloc(ram->parts_pages);
	return ram->parts != NULL ? 0 : ERR_NOMEM;
}

/*
 * Frames that come under another KeyID (336907, "Assign"). Nobody maps them any more: those who
 * had them before shot down and unmapped. What caches still hold of them has to go before the
 * first access, or it is written back later over the new owner's data.
 */
static int flush_if_stale(bool stale)
{
	if (stale && !cache_may_flush()) {
		return ERR_AGAIN;
	}
	if (stale) {
		cache_flush_all();
	}
	return 0;
}

int gmem_add_ram_plain(struct gmem *gmem, gpa_t base, uint64_t bytes, uint64_t max_leaf)
{
	struct gmem_region region = { .base = base, .bytes = bytes, .ops = &plain_ops };
	struct ram_plain *ram = page_alloc(1);
	bool stale = false;
	int err;

	if (ram == NULL) {
		return ERR_NOMEM;
	}
	ram->max_leaf = max_leaf;
	ram->keyid = gmem->keyid;
	ram->page_count = 1;
	lock_take(&gmem->lock);
	err = gmem_region_check(gmem, base, bytes);
	if (err == 0) {
		err = reserve(&ram, base.v, bytes, &stale);
	}
	if (err == 0) {
		err = add_parts(ram, base.v, bytes);
	}
	lock_drop(&gmem->lock); /* no vCPU runs yet: nobody else looks at the regions */
	if (err == 0 && gmem->keyid != KEYID_PLATFORM) {
		err = flush_if_stale(stale);
	}
	if (err != 0) {
		release(ram, frames_free);
		return err;
	}
	region.state = ram;
	gmem_region_insert(gmem, &region);
	return 0;
}
