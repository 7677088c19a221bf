/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ciphertext of a sealed region: frames of the machine, reserved for all its pages, and per
 * page the version under which it was encrypted. Guarded by window_lock.
 */
#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/host_paging.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/str.h"

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
	for (uint64_t i = 0; i < chunks; i++) {
		if (frames_alloc(pages_in_chunk(page_count, i), 1, &region->chunks[i].frames) !=
		    0) {
			store_destroy(region);
			return ERR_NOMEM;
		}
	}
	*out = region;
	return 0;
}

/* Ciphertext needs no wiping: its key is. Frame 0 is never a guest's. */
void store_destroy(struct sealed_region *region)
{
	for (uint64_t i = 0; i < chunk_count(region->page_count); i++) {
		if (region->chunks[i].frames.v != 0) {
			frames_free(region->chunks[i].frames,
				    pages_in_chunk(region->page_count, i));
		}
	}
	page_free(region, region->host_pages);
}

static hpa_t store_frame(const struct sealed_region *region, uint64_t page)
{
	return hpa(region->chunks[page / CHUNK_PAGES].frames.v + page % CHUNK_PAGES * PAGE_SIZE);
}

/*
 * Version (64 bits), page (48), region (16): no two pages and no two contents of a page ever share
 * a tweak under one key.
 */
static void pack_tweak(const struct sealed_region *region, uint64_t page, uint64_t version,
		       uint8_t tweak[16])
{
	uint64_t place = (uint64_t)region->id << 48 | page;

	memcpy(tweak, &version, sizeof(version));
	memcpy(tweak + sizeof(version), &place, sizeof(place));
}

static bool is_zero(const void *page)
{
	const uint64_t *words = page;

	for (size_t i = 0; i < PAGE_SIZE / sizeof(*words); i++) {
		if (words[i] != 0) {
			return false;
		}
	}
	return true;
}

bool store_seal(struct sealed_region *region, uint64_t page, hpa_t frame)
{
	struct page_item item = { .in = host_temp_map(GMEM_SLOT_CLEAR, frame) };
	uint64_t *version = store_version(region, page);
	bool zero = is_zero(item.in);

	if (zero) {
		*version = 0; /* of this page; the key's counter goes on */
	} else {
		/* A fault takes longer than a nanosecond: 2^64 of them take 500 years. */
		*version = ++region->vm->version;
		pack_tweak(region, page, *version, item.tweak);
		item.out = host_temp_map(GMEM_SLOT_STORE, store_frame(region, page));
		page_encrypt(&region->vm->key, &item, 1);
		host_temp_unmap(GMEM_SLOT_STORE);
	}
	host_temp_unmap(GMEM_SLOT_CLEAR);
	return !zero;
}

void store_open(struct sealed_region *region, uint64_t page, hpa_t frame)
{
	struct page_item item = {
		.in = host_temp_map(GMEM_SLOT_STORE, store_frame(region, page)),
		.out = host_temp_map(GMEM_SLOT_CLEAR, frame),
	};

	pack_tweak(region, page, *store_version(region, page), item.tweak);
	page_decrypt(&region->vm->key, &item, 1);
	host_temp_unmap(GMEM_SLOT_CLEAR);
	host_temp_unmap(GMEM_SLOT_STORE);
}
