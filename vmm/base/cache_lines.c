/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/cache_lines.h"

#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"

#define CACHE_LINE 64ul

void cache_write_back(const void *area, size_t bytes)
{
	/* 1: CLFLUSHOPT exists, 2: it does not; CPUID is slow under a hypervisor. */
	static uint8_t has_opt;
	const uintptr_t end = (uintptr_t)area + bytes;
	uintptr_t at = ALIGN_DOWN((uintptr_t)area, CACHE_LINE);

	if (has_opt == 0) {
		has_opt = cpu_cpuid(0, 0).eax >= 7 &&
					  (cpu_cpuid(7, 0).ebx & CPUID_7_EBX_CLFLUSHOPT) != 0
				  ? 1
				  : 2;
	}
	for (; at < end; at += CACHE_LINE) {
		if (has_opt == 1) {
			cpu_clflushopt((const void *)at);
		} else {
			cpu_clflush((const void *)at);
		}
	}
	cpu_fence();
}
