/* SPDX-License-Identifier: Apache-2.0 */
/* What the firmware side hands to the hypervisor proper. In the image's data; no EFI types. */
#ifndef UMBRA_BOOT_INFO_H
#define UMBRA_BOOT_INFO_H

#include "boot/config.h"
#include "vmm/base/acpi_host.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/percpu.h"
#include "vmm/base/power.h"
#include "vmm/base/screen.h"
#include "vmm/base/types.h"

#define BOOT_RANGE_MAX 256

struct boot_info {
	/* RAM that nobody uses: sorted, disjoint, coalesced. Not our image or files. */
	struct mem_range ranges[BOOT_RANGE_MAX];
	size_t range_count;
	/* The same, but firmware and what else it loaded still live in it, page and descriptor
	 * tables among it: ours as soon as the hypervisor's own are loaded. To be zeroed. */
	struct mem_range late[BOOT_RANGE_MAX];
	size_t late_count;
	/* The same as late, where firmware marks memory that can be encrypted, and not this. */
	struct mem_range unmarked[BOOT_RANGE_MAX];
	size_t unmarked_count;
	bool some_marked;			       /* it marks some: EFI_MEMORY_CPU_CRYPTO */
	struct runtime_range runtime[POWER_RANGE_MAX]; /* for services */
	size_t runtime_count;
	struct runtime_services services;
	uint64_t memory_end; /* of all that firmware's memory map lists, devices included */
	bool can_run;	     /* vmx_preflight's word: else no file of a VM was read */
	char began[24];	     /* when, by firmware's clock; may be empty */
	struct screen_mode screen;
	struct acpi_facts acpi; /* empty without ACPI */
	uint32_t apic_ids[CPU_MAX];
	size_t cpu_count; /* enabled CPUs, the one that runs among them */
	const char *cpu_source;
	hpa_t trampoline;	/* page below 1 MiB; 0: firmware had none left */
	struct mem_range image; /* this program */
	uint8_t efi_rng_seed[64];
	size_t efi_rng_bytes; /* 0 when firmware has no EFI_RNG_PROTOCOL */
	struct config config;
};

/*
 * boot/main.c: the hypervisor from here on. Called once on the boot processor, interrupts off, on
 * the image's own stack, with firmware's page tables and descriptor tables still loaded.
 */
_Noreturn void host_main(struct boot_info *info);

#endif
