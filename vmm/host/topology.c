/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/host/topology.h"

#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"

#define LEAF_CACHES	 4u
#define CACHES_MAX	 16u
#define LEAF_TOPOLOGY	 0xbu
#define LEAF_TOPOLOGY_V2 0x1fu
#define LEVELS_MAX	 8u
#define LEVEL_TYPE(ecx)	 ((ecx) >> 8 & 0xff)
#define LEVEL_INVALID	 0u

/*
 * Each sub-leaf describes a level, and gives the shift of the APIC ID that removes the level's
 * bits. The last sub-leaf gives the package's. Returns false when the CPU does not have the leaf.
 */
static bool read_levels(uint32_t leaf, struct topology *out)
{
	if (cpu_cpuid(0, 0).eax < leaf || (cpu_cpuid(leaf, 0).ebx & 0xffff) == 0) {
		return false;
	}
	*out = (struct topology){ .apic_id = cpu_cpuid(leaf, 0).edx };
	for (uint32_t i = 0; i < LEVELS_MAX; i++) {
		const struct cpuid_regs level = cpu_cpuid(leaf, i);

		if (LEVEL_TYPE(level.ecx) == LEVEL_INVALID) {
			break;
		}
		out->package_shift = level.eax & 31;
	}
	return true;
}

/* For a CPU without those leaves: EBX says how many APIC IDs a package has. */
static struct topology read_leaf_1(void)
{
	const struct cpuid_regs leaf = cpu_cpuid(1, 0);
	const uint32_t ids = (leaf.edx & CPUID_1_EDX_HTT) != 0 ? leaf.ebx >> 16 & 0xff : 1;
	struct topology out = { .apic_id = leaf.ebx >> 24 };

	while ((1u << out.package_shift) < ids) {
		out.package_shift++;
	}
	return out;
}

struct topology topology_this_cpu(void)
{
	struct topology out;

	if (read_levels(LEAF_TOPOLOGY_V2, &out) || read_levels(LEAF_TOPOLOGY, &out)) {
		return out;
	}
	return read_leaf_1();
}

/* Bytes of the cache that one sub-leaf of CPUID 04H describes. */
static uint64_t cache_bytes(const struct cpuid_regs *cache)
{
	const uint64_t ways = (cache->ebx >> 22) + 1, partitions = (cache->ebx >> 12 & 0x3ff) + 1;
	const uint64_t line = (cache->ebx & 0xfff) + 1, sets = (uint64_t)cache->ecx + 1;

	return ways * partitions * line * sets;
}

uint64_t topology_last_cache(void)
{
	const uint32_t caches = cpu_cpuid(0, 0).eax >= LEAF_CACHES ? CACHES_MAX : 0;
	uint64_t most = 0;

	for (uint32_t i = 0; i < caches; i++) {
		const struct cpuid_regs cache = cpu_cpuid(LEAF_CACHES, i);

		if ((cache.eax & 31) == 0) {
			break; /* the type: no more caches */
		}
		most = MAX(most, cache_bytes(&cache));
	}
	return most;
}
