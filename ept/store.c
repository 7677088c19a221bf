/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ciphertext of a sealed region: frames for all of its pages, allocated in advance, and for
 * each page the version under which it was encrypted. window_lock guards it.
 */
#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/atomic.h"
#include "vmm/base/cache.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/host_paging.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/str.h"

/* A chunk has 32 MiB of frames, and 100 KiB of data about them. */
#define CHUNKS_A_STEP 512u

/*
 * For the end of the machine: keys are zeroed, perhaps while a CPU that did not stop is encrypting.
 * What it encrypts then has a zero key, which is no secret. At most one page is unfinished, because
 * window_lock lets only one CPU encrypt. That CPU stores the page in `unfinished` first, and reads
 * `closed` before and after encrypting: a page that is not in `unfinished` any more was encrypted
 * before the store closed, and so before keys were zeroed.
 */
static ATOMIC(bool) closed;
static ATOMIC(uint64_t) unfinished; /* host-physical; 0: no page */

static uint64_t chunk_count(uint64_t page_count)
{
	return (page_count + CHUNK_PAGES - 1) / CHUNK_PAGES;
}

static uint64_t pages_in_chunk(uint64_t page_count, uint64_t chunk)
{
	return MIN(page_count - chunk * CHUNK_PAGES, CHUNK_PAGES);
}

int store_create(uint64_t page_count, struct sealed_region **out)
{
	uint64_t chunks = chunk_count(page_count);
	uint64_t bytes = sizeof(struct sealed_region) + chunks * sizeof(struct store_chunk);
	size_t host_pages = ALIGN_UP(bytes, PAGE_SIZE) / PAGE_SIZE;
	struct sealed_region *region = page_alloc(host_pages);

	if (region == NULL) {
		return ERR_NOMEM;
	}
	region->page_count = page_count;
	region->host_pages = host_pages;
	region->chunks_left = chunks;
	for (uint64_t i = 0; i < chunks; i++) {
		if (frames_alloc(pages_in_chunk(page_count, i), 1, &region->chunks[i].frames) !=
		    0) {
			while (!store_free_some(region)) {
			}
			return ERR_NOMEM;
		}
	}
	*out = region;
	return 0;
}

/*
 * Frees from the end on, so that host pages without chunks can be freed too: a large region has too
 * many to zero at once. Ciphertext need not be wiped, because its key is. Frame 0 is never a
 * guest's, so it marks a chunk without frames.
 */
bool store_free_some(struct sealed_region *region)
{
	const uint64_t left = region->chunks_left - MIN(region->chunks_left, CHUNKS_A_STEP);
	const uint64_t bytes = sizeof(struct sealed_region) + left * sizeof(struct store_chunk);
	const size_t pages = left == 0 ? 0 : ALIGN_UP(bytes, PAGE_SIZE) / PAGE_SIZE;
	const size_t gone = region->host_pages - pages;

	for (uint64_t i = region->chunks_left; i > left; i--) {
		if (region->chunks[i - 1].frames.v != 0) {
			frames_free(region->chunks[i - 1].frames,
				    pages_in_chunk(region->page_count, i - 1));
		}
	}
	region->chunks_left = left;
	region->host_pages = pages;
	if (gone != 0) {
		page_free((uint8_t *)region + pages * PAGE_SIZE, gone);
	}
	return left == 0;
}

static hpa_t store_frame(const struct sealed_region *region, uint64_t page)
{
	return hpa(region->chunks[page / CHUNK_PAGES].frames.v + page % CHUNK_PAGES * PAGE_SIZE);
}

/*
 * Version (64 bits), page (48), region (16): under one key no two pages, and no two contents of a
 * page, have the same tweak.
 */
static void pack_tweak(const struct sealed_region *region, uint64_t page, uint64_t version,
		       uint8_t tweak[16])
{
	uint64_t place = (uint64_t)region->id << 48 | page;

	memcpy(tweak, &version, sizeof(version));
	memcpy(tweak + sizeof(version), &place, sizeof(place));
}

static bool is_filled(const void *page, uint64_t fill)
{
	const uint64_t *words = page, *end = words + PAGE_SIZE / sizeof(*words);

	for (; words < end; words += 4) {
		if (((words[0] ^ fill) | (words[1] ^ fill) | (words[2] ^ fill) |
		     (words[3] ^ fill)) != 0) {
			return false;
		}
	}
	return true;
}

static void stop_if_closed(void)
{
	if (atomic_load(&closed)) {
		cpu_stop();
	}
}

/* Returns false when there is nothing to encrypt. */
static bool begin_seal(const struct sealed_page *out, const void *clear, struct page_item *item)
{
	uint64_t *version;
	hpa_t frame;

	if (out->region == NULL) {
		return false;
	}
	version = store_version(out->region, out->page);
	if (is_filled(clear, out->region->fill)) {
		*version = 0; /* of this page only; the account's last version is not reset */
		return false;
	}
	/* Cannot overflow: a fault takes more than a nanosecond, and 2^64 ns are 500 years. */
	*version = ++out->region->vm->version;
	frame = store_frame(out->region, out->page);
	atomic_store(&unfinished, frame.v);
	stop_if_closed();
	pack_tweak(out->region, out->page, *version, item->tweak);
	item->in = clear;
	item->out = host_temp_map(GMEM_SLOT_OUT, keyed(frame, KEYID_PLATFORM));
	return true;
}

static void end_seal(void)
{
	host_temp_unmap(GMEM_SLOT_OUT);
	stop_if_closed();
	atomic_store_release(&unfinished, 0);
}

/* Returns false when the page is absent. */
static bool begin_open(const struct sealed_page *in, void *clear, struct page_item *item)
{
	uint64_t version = in->region != NULL ? *store_version(in->region, in->page) : 0;

	if (version == 0) {
		return false;
	}
	pack_tweak(in->region, in->page, version, item->tweak);
	item->in = host_temp_map(GMEM_SLOT_IN,
				 keyed(store_frame(in->region, in->page), KEYID_PLATFORM));
	item->out = clear;
	return true;
}

bool store_exchange(const struct sealed_page *out, const struct sealed_page *in,
		    struct keyed_frame frame)
{
	void *clear = host_temp_map(GMEM_SLOT_CLEAR, frame);
	struct page_item seal, open;
	bool seals = begin_seal(out, clear, &seal);
	bool opens = begin_open(in, clear, &open);

	if (seals && opens) {
		page_exchange(&out->region->vm->key, &seal, &in->region->vm->key, &open);
	} else if (seals) {
		page_encrypt(&out->region->vm->key, &seal, 1);
	} else if (opens) {
		page_decrypt(&in->region->vm->key, &open, 1);
	}
	if (seals) {
		end_seal();
	}
	if (opens) {
		host_temp_unmap(GMEM_SLOT_IN);
	} else {
		gmem_fill_page(clear, in->region != NULL ? in->region->fill : 0);
	}
	if (in->region == NULL) {
		cache_write_back(clear, PAGE_SIZE); /* else the old bytes would stay in DRAM */
	}
	host_temp_unmap(GMEM_SLOT_CLEAR);
	return seals;
}

void store_close(void)
{
	atomic_store(&closed, true);
}

void store_wipe_unfinished(void)
{
	hpa_t frame = { atomic_load_acquire(&unfinished) };

	if (frame.v != 0) {
		gmem_zero_frames(GMEM_SLOT_WIPE, keyed(frame, KEYID_PLATFORM), PAGE_SIZE);
	}
}
