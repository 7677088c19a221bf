/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/cache_lines.h"

#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"

#define CACHE_LINE 64ul
#define KNOWN	   BIT(0)

/*
 * A copy of CPUID.7.EBX, because CPUID is slow under a hypervisor. Bit 0 is KNOWN instead of the
 * feature; 0: CPUID was not asked yet.
 */
static uint32_t features;

static uint32_t line_features(void)
{
	if (features == 0) {
		features = cpu_cpuid(0, 0).eax >= 7 ? cpu_cpuid(7, 0).ebx | KNOWN : KNOWN;
	}
	return features;
}

static uintptr_t first_line(const void *area)
{
	return ALIGN_DOWN((uintptr_t)area, CACHE_LINE);
}

void cache_write_back(const void *area, size_t bytes)
{
	const bool has_opt = (line_features() & CPUID_7_EBX_CLFLUSHOPT) != 0;
	const uintptr_t end = (uintptr_t)area + bytes;

	for (uintptr_t at = first_line(area); at < end; at += CACHE_LINE) {
		if (has_opt) {
			cpu_clflushopt((const void *)at);
		} else {
			cpu_clflush((const void *)at);
		}
	}
	cpu_fence();
}

void cache_copy_back(const void *area, size_t bytes)
{
	const uintptr_t end = (uintptr_t)area + bytes;

	if ((line_features() & CPUID_7_EBX_CLWB) == 0) {
		cache_write_back(area, bytes);
		return;
	}
	for (uintptr_t at = first_line(area); at < end; at += CACHE_LINE) {
		cpu_clwb((const void *)at);
	}
	cpu_fence();
}
