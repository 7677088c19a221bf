/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/host/cache.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/smp.h"
#include "vmm/host/topology.h"

/* SDM vol. 2, "CPUID", leaf 04H: each sub-leaf describes one cache. */
#define LEAF_CACHES	 4u
#define CACHES_MAX	 16u
#define CACHE_TYPE(eax)	 ((eax)&31)
#define CACHE_NONE	 0u
#define CACHE_UNIFIED	 3u
#define CACHE_LEVEL(eax) ((eax) >> 5 & 7)
/* APIC IDs reserved for CPUs that share the cache. */
#define CACHE_SHARERS(eax) (((eax) >> 14 & 0xfff) + 1)
#define EDX_OWN_ONLY	   BIT(0) /* WBINVD need not flush the lower caches of other sharers */

/*
 * For each CPU: CPUs with the same number share an L3, and WBINVD on one of them flushes the caches
 * of all. shared is false where CPUID does not promise that; then each CPU needs WBINVD itself.
 */
struct reach {
	bool shared;
	uint32_t number;
};

static struct reach reaches[CPU_MAX];
static bool excused[CPU_MAX]; /* need not execute WBINVD, because another CPU does */
static bool has_line_flush;
static ATOMIC(uint64_t) epoch;
static uint64_t last_ticks;
static uint64_t last_end; /* in TSC ticks */

/* A package never shares its L3 with another, even if more APIC IDs are reserved for the L3. */
static void read_reach(void *unused)
{
	struct reach *reach = &reaches[percpu_self()->index];
	const struct topology place = topology_this_cpu();
	struct cpuid_regs cache = { .eax = CACHE_UNIFIED };

	*reach = (struct reach){ false, 0 };
	if (cpu_cpuid(0, 0).eax < LEAF_CACHES) {
		return;
	}
	for (uint32_t i = 0; i < CACHES_MAX && CACHE_TYPE(cache.eax) != CACHE_NONE; i++) {
		uint8_t shift = 0;

		cache = cpu_cpuid(LEAF_CACHES, i);
		if (CACHE_TYPE(cache.eax) != CACHE_UNIFIED || CACHE_LEVEL(cache.eax) != 3 ||
		    (cache.edx & EDX_OWN_ONLY) != 0) {
			continue;
		}
		while (shift < place.package_shift && (1u << shift) < CACHE_SHARERS(cache.eax)) {
			shift++;
		}
		/*
		 * Two L3 of different sizes cannot get the same number: they have disjoint ranges
		 * of APIC IDs.
		 */
		*reach = (struct reach){ true, place.apic_id >> shift << shift };
	}
}

static bool is_excused(uint32_t cpu)
{
	for (uint32_t i = 0; i < cpu; i++) {
		if (reaches[cpu].shared && reaches[i].shared &&
		    reaches[i].number == reaches[cpu].number) {
			return true;
		}
	}
	return false;
}

void cache_init(void)
{
	const uint32_t count = percpu_count();
	uint32_t flushing = 0;

	has_line_flush = cpu_cpuid(0, 0).eax >= 7 &&
			 (cpu_cpuid(7, 0).ebx & CPUID_7_EBX_CLFLUSHOPT) != 0;
	smp_call_all(read_reach, NULL);
	for (uint32_t i = 0; i < count; i++) {
		excused[i] = is_excused(i);
		flushing += !excused[i];
	}
	if (flushing == count) {
		log_info("caches: to flush them, WBINVD runs on each CPU");
	} else {
		log_info("caches: to flush them, WBINVD runs on %u of %u CPUs, which share "
			 "all caches with the others (CPUID.04H)",
			 flushing, count);
	}
}

static void flush_this_cpu(void *unused)
{
	if (!excused[percpu_self()->index]) {
		cpu_wbinvd();
	}
}

/*
 * WBINVD need not flush caches that its own CPU does not share (SDM vol. 2, "CPUID", leaf 04H,
 * EDX[0]). So every CPU executes it, except those that cache_init has excused. Stores of an excused
 * CPU to this memory are in its cache by now, no longer in its store buffer: the caller took the
 * memory away from that CPU, and saw a later store of it (SDM vol. 3, "Memory Ordering").
 */
void cache_flush_all(void)
{
	const uint64_t begin = cpu_rdtsc();

	smp_call_all(flush_this_cpu, NULL);
	last_end = cpu_rdtsc();
	last_ticks = last_end - begin;
	atomic_add(&epoch, 1);
}

bool cache_can_flush_lines(void)
{
	return has_line_flush;
}

bool cache_may_flush(void)
{
	return atomic_load_relaxed(&epoch) == 0 ||
	       cpu_rdtsc() - last_end >= tsc_from_us(CACHE_FLUSH_US);
}

uint64_t cache_epoch(void)
{
	return atomic_load_acquire(&epoch);
}

uint64_t cache_flush_ticks(void)
{
	return last_ticks;
}
