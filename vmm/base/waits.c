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
	uint64_t kinds[WAIT_KINDS] = { 0 }, all = 0, longest = 0;
	uint32_t who = 0;

	for (uint32_t i = 0; i < percpu_count(); i++) {
		uint64_t its = 0;

		for (unsigned kind = 0; kind < WAIT_KINDS; kind++) {
			const uint64_t ticks = atomic_load_relaxed(
				&percpu_get(i)->wait_ticks[kind]);

			kinds[kind] += ticks;
			its += ticks;
		}
		all += its;
		if (its > longest) {
			longest = its;
			who = i;
		}
	}
	(void)str_printf(
		text, bytes,
		"CPUs have waited %lu us for each other (the window's lock %lu, locks of "
		"VMs' memory %lu, other locks %lu, pages %lu, frames %lu, shoot-downs %lu, "
		"other %lu), CPU %u %lu us of it",
		to_us(all), to_us(kinds[WAIT_WINDOW]), to_us(kinds[WAIT_MEMORY]),
		to_us(kinds[WAIT_LOCK]), to_us(kinds[WAIT_PAGE]), to_us(kinds[WAIT_FRAME]),
		to_us(kinds[WAIT_SHOOTDOWN]), to_us(kinds[WAIT_OTHER]), who, to_us(longest));
}
