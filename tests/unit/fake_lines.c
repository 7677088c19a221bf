/* SPDX-License-Identifier: Apache-2.0 */
/* A record of the cache lines of guest frames. */
#include "tests/unit/fake_base.h"
#include "tests/unit/fake_frames.h"
#include "vmm/host/host_paging.h"

/*
 * For each frame: the KeyID, plus one, under which caches may hold lines of it. It is valid only if
 * `flushes` is that of now: then no cache was flushed as a whole since.
 */
static struct {
	uint32_t flushes, keyid;
} cached[FAKE_FRAME_COUNT];
static uint32_t flushes = 1;

/* The last mapping of each slot. */
static struct {
	const void *address;
	uint64_t frame;
} places[HOST_TEMP_SLOTS];

void fake_cache_fill(unsigned slot, const void *address, struct keyed_frame page)
{
	const uint64_t at = (page.frame.v - FAKE_FRAME_BASE) / PAGE_SIZE;

	if (cached[at].flushes == flushes && cached[at].keyid != page.keyid + 1u) {
		fake_fail("frame %#lx is used under KeyID %u: caches have lines of KeyID %u",
			  page.frame.v, page.keyid, cached[at].keyid - 1);
	}
	cached[at].flushes = flushes;
	cached[at].keyid = page.keyid + 1u;
	places[slot].address = address;
	places[slot].frame = at;
}

void fake_cache_flush_page(const void *address)
{
	for (unsigned i = 0; i < HOST_TEMP_SLOTS; i++) {
		if (places[i].address == address) {
			cached[places[i].frame].flushes = 0;
		}
	}
}

void fake_cache_flush_all(void)
{
	flushes++;
}
