/* SPDX-License-Identifier: Apache-2.0 */
/* Between fake_pages.c, which owns the frames, and fake_host_paging.c, which maps them. */
#ifndef UMBRA_FAKE_FRAMES_H
#define UMBRA_FAKE_FRAMES_H

#include "vmm/base/types.h"

/* The memory file that holds the frame, and where in it. Fails on what is no allocated frame. */
int fake_frames_fd(hpa_t frame, uint64_t *offset);

#endif
