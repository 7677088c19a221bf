/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPUs have waited for each other, in words. No locks. */
#include "vmm/base/waits.h"

#include "vmm/base/str.h"
#include "vmm/base/tsc.h"

static uint64_t to_us(uint64_t ticks)
{
	return cpu_mul_div(ticks, 1000000, tsc_hz());
}

void waits_words(char *text, size_t bytes)
{
	uint64_t all = 0, longest = 0;
	uint32_t who = 0;

	for (uint32_t i = 0; i < percpu_count(); i++) {
		const uint64_t ticks = atomic_load_relaxed(&percpu_get(i)->wait_ticks);

		all += ticks;
		if (ticks > longest) {
			longest = ticks;
			who = i;
		}
	}
	(void)str_printf(text, bytes,
			 "CPUs have waited %lu us for each other (locks, pages, shoot-downs), CPU "
			 "%u %lu us of it",
			 to_us(all), who, to_us(longest));
}
