/* SPDX-License-Identifier: Apache-2.0 */
/* What this CPU's paging offers, for both sets of page tables. */
#include "vmm/host/paging_modes_priv.h"

#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/host_paging.h"

static bool la57;
static bool cleared_xd;
static uint64_t nx; /* PTE_NX, or 0 if the CPU does not have it */

static bool has_nx(void)
{
	return (cpu_cpuid(0x80000001, 0).edx & CPUID_80000001_EDX_NX) != 0;
}

void paging_modes_find(void)
{
	if (!has_nx()) {
		uint64_t misc = cpu_rdmsr(MSR_IA32_MISC_ENABLE);

		cleared_xd = (misc & MISC_ENABLE_XD_DISABLE) != 0;
		cpu_wrmsr(MSR_IA32_MISC_ENABLE, misc & ~MISC_ENABLE_XD_DISABLE);
	}
	nx = has_nx() ? PTE_NX : 0;
	if (nx == 0) {
		log_warn("this CPU has no execute-disable: the hypervisor's data is executable");
	}
	la57 = (cpu_read_cr4() & CR4_LA57) != 0;
}

bool paging_modes_nx(void)
{
	return nx != 0;
}

bool host_paging_la57(void)
{
	return la57;
}

bool host_paging_cleared_xd(void)
{
	return cleared_xd;
}

uint64_t host_leaf_bits(enum host_access access, enum host_cache cache)
{
	static const uint64_t cache_bits[] = {
		[HOST_CACHE_WB] = 0,
		[HOST_CACHE_WC] = PTE_PWT,
		[HOST_CACHE_UC] = PTE_PCD | PTE_PWT,
	};
	uint64_t bits = PTE_PRESENT | PTE_ACCESSED | PTE_GLOBAL | cache_bits[cache];

	if (access == HOST_READ_WRITE || access == HOST_READ_WRITE_EXEC) {
		bits |= PTE_WRITE | PTE_DIRTY;
	}
	if (access == HOST_READ || access == HOST_READ_WRITE) {
		bits |= nx;
	}
	return bits;
}
