/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPUs share a package, and caches (SDM vol. 3, "Identifying Topological Relationships"). */
#ifndef UMBRA_HOST_TOPOLOGY_H
#define UMBRA_HOST_TOPOLOGY_H

#include "vmm/base/types.h"

struct topology {
	uint32_t apic_id;      /* x2APIC ID where CPUID gives it, else the 8-bit ID */
	uint8_t package_shift; /* CPUs of a package have the same apic_id >> package_shift */
};

/*
 * Reads the topology of the CPU that calls, from CPUID 1FH, else 0BH, else 01H. Any CPU, no locks.
 */
struct topology topology_this_cpu(void);

/*
 * The size in bytes of the largest cache that the CPU which calls can use, from CPUID 04H. 0 where
 * the CPU has no such leaf. Any CPU, no locks.
 */
uint64_t topology_last_cache(void);

#endif
