/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses the real cache_lines.c: CLFLUSH is a fake already. fake_lines.c records which page was
 * flushed.
 */
#define cache_write_back really_write_back
#define cache_copy_back	 really_copy_back
#include "vmm/base/cache_lines.c"
#undef cache_write_back
#undef cache_copy_back

#include "tests/unit/fake_frames.h"

void cache_write_back(const void *area, size_t bytes)
{
	really_write_back(area, bytes);
	if (IS_ALIGNED((uintptr_t)area, PAGE_SIZE) && bytes == PAGE_SIZE) {
		fake_cache_flush_page(area);
	}
}

/*
 * Lines stay cached, as before under the same KeyID, so this does not call
 * fake_cache_flush_page.
 */
void cache_copy_back(const void *area, size_t bytes)
{
	really_copy_back(area, bytes);
}
