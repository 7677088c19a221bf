/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/cache.h"

#include "vmm/base/cpu.h"
#include "vmm/base/smp.h"
#include "vmm/base/tsc.h"

static uint64_t epoch;
static uint64_t last_ticks;
static uint64_t last_end; /* TSC */

static void flush_this_cpu(void *unused)
{
	(void)unused;
	cpu_wbinvd();
}

/*
 * Every CPU does it: WBINVD need not reach the caches that a CPU shares with nobody else (SDM vol.
 * 2, "CPUID", leaf 04H, EDX[0]).
 */
void cache_flush_all(void)
{
	const uint64_t begin = cpu_rdtsc();

	smp_call_all(flush_this_cpu, NULL);
	last_end = cpu_rdtsc();
	last_ticks = last_end - begin;
	__atomic_add_fetch(&epoch, 1, __ATOMIC_RELEASE);
}

bool cache_may_flush(void)
{
	return epoch == 0 || cpu_rdtsc() - last_end >= tsc_from_us(CACHE_FLUSH_US);
}

uint64_t cache_epoch(void)
{
	return __atomic_load_n(&epoch, __ATOMIC_ACQUIRE);
}

uint64_t cache_flush_ticks(void)
{
	return last_ticks;
}
