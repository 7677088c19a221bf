/* SPDX-License-Identifier: Apache-2.0 */
/* Uses the real cache.c: WBINVD and the other CPUs are fakes already. */
#define cache_flush_all really_flush_all
#include "vmm/host/cache.c"
#undef cache_flush_all

#include "tests/unit/fake_frames.h"
#include "vmm/base/str.h"

void cache_flush_all(void)
{
	really_flush_all();
	fake_cache_flush_all();
}

void fake_cache_reset(void)
{
	memset(excused, 0, sizeof(excused));
	has_line_flush = false;
	epoch.only = last_ticks = last_end = 0;
}
