/* SPDX-License-Identifier: Apache-2.0 */
/* The bring-up, top to bottom. */
#include "boot/boot_info.h"

#include "vmm/base/console.h"
#include "vmm/base/cpu.h"
#include "vmm/base/log.h"

static uint64_t count_pages(const struct mem_range *ranges, size_t count)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < count; i++) {
		pages += ranges[i].page_count;
	}
	return pages;
}

_Noreturn void host_main(const struct boot_info *info)
{
	log_info("memory: %llu MiB free, %llu MiB of firmware's boot services, in %u + %u ranges",
		 (unsigned long long)count_pages(info->ranges, info->range_count) >> 8,
		 (unsigned long long)count_pages(info->late, info->late_count) >> 8,
		 (unsigned)info->range_count, (unsigned)info->late_count);
	for (size_t i = 0; i < info->cpu_count; i++) {
		log_info("CPU %u: APIC ID %u", (unsigned)i, info->apic_ids[i]);
	}
	for (size_t i = 0; i < info->runtime_count; i++) {
		log_info("runtime %llx %llu %d %d %d", (unsigned long long)info->runtime[i].base.v,
			 (unsigned long long)info->runtime[i].page_count, info->runtime[i].code,
			 info->runtime[i].writable, info->runtime[i].uncached);
	}
	log_info("rsdp %llx trampoline %llx rng %u", (unsigned long long)info->rsdp.v,
		 (unsigned long long)info->trampoline.v, (unsigned)info->efi_rng_bytes);
	console_drain();
	cpu_stop();
}
