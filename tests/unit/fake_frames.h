/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declarations shared by fake_pages.c, which owns the frames, fake_host_paging.c, which maps them,
 * and the fakes of caches.
 */
#ifndef UMBRA_FAKE_FRAMES_H
#define UMBRA_FAKE_FRAMES_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

/* Frames become accessible in parts of so many bytes: each one alone costs much more time. */
#define FAKE_FRAME_PART (64 * PAGE_SIZE)

/*
 * The memory file that holds the frame, and the offset in it. Fails if the frame is not allocated.
 */
int fake_frames_fd(hpa_t frame, uint64_t *offset);

/*
 * fake_lines.c: after a page was mapped in a slot, caches hold lines of it under that KeyID
 * until cache_write_back flushes them through such a mapping, or cache_flush_all flushes
 * everything. Mapping it under another KeyID before that fails the test.
 */
void fake_cache_fill(unsigned slot, const void *address, struct keyed_frame page);
void fake_cache_flush_page(const void *address);
void fake_cache_flush_all(void);

#endif
