/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between fake_pages.c, which owns the frames, fake_host_paging.c, which maps them, and the caches.
 */
#ifndef UMBRA_FAKE_FRAMES_H
#define UMBRA_FAKE_FRAMES_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

/* The memory file that holds the frame, and where in it. Fails on what is no allocated frame. */
int fake_frames_fd(hpa_t frame, uint64_t *offset);

/*
 * fake_lines.c: a page that is mapped, at an address, has lines in the caches under that KeyID
 * until cache_write_back took them out through such a mapping, or cache_flush_all all lines. Who
 * maps it under another KeyID before that fails the test.
 */
void fake_cache_fill(const void *address, struct keyed_frame page);
void fake_cache_flush_page(const void *address);
void fake_cache_flush_all(void);

#endif
