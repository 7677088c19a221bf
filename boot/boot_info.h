/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the firmware side (boot/efi_*.c) passes to boot/main.c. It lies in the image's data and has
 * no EFI types.
 */
#ifndef UMBRA_BOOT_INFO_H
#define UMBRA_BOOT_INFO_H

#include "boot/config.h"
#include "vmm/base/percpu.h"
#include "vmm/base/types.h"
#include "vmm/console/screen.h"
#include "vmm/host/acpi_host.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/power.h"

#define BOOT_RANGE_MAX 256

struct boot_info {
	/* Free RAM: sorted, disjoint, neighbours joined. Without our image and files. */
	struct mem_range ranges[BOOT_RANGE_MAX];
	size_t range_count;
	/*
	 * RAM that firmware and what it loaded still use, its page and descriptor tables included;
	 * same order as ranges. Umbra zeroes it, and may use it once its own tables are loaded.
	 */
	struct mem_range late[BOOT_RANGE_MAX];
	size_t late_count;
	/*
	 * RAM, free or still in use as in late, that firmware does not mark as encryptable although
	 * it marks some other RAM (some_marked).
	 */
	struct mem_range unmarked[BOOT_RANGE_MAX];
	size_t unmarked_count;
	bool some_marked; /* firmware marks some RAM: EFI_MEMORY_CPU_CRYPTO */
	struct runtime_range runtime[POWER_RANGE_MAX]; /* memory of the runtime services */
	size_t runtime_count;
	struct runtime_services services;
	uint64_t memory_end; /* the end of all that firmware's memory map lists, devices included */
	bool can_run;	     /* result of vmx_preflight; if false, no VM's file was read */
	char began[24];	     /* start time by firmware's clock; may be empty */
	struct screen_mode screen;
	struct acpi_facts acpi; /* empty without ACPI */
	uint32_t apic_ids[CPU_MAX];
	size_t cpu_count; /* enabled CPUs, the boot processor included */
	const char *cpu_source;
	hpa_t trampoline;	     /* page below 1 MiB; 0: firmware had none left */
	struct mem_range image;	     /* this program */
	struct mem_range dma_tables; /* of the IOMMU, at KeyID 0 for ever; 0 pages: none */
	uint8_t efi_rng_seed[64];
	size_t efi_rng_bytes; /* 0 when firmware has no EFI_RNG_PROTOCOL */
	struct config config;
};

/*
 * In boot/main.c: runs the hypervisor and does not return. Called once on the boot processor, with
 * interrupts off, on the image's own stack, while firmware's page tables and descriptor tables are
 * still loaded.
 */
_Noreturn void host_main(struct boot_info *info);

#endif
