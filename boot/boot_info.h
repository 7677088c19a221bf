/* SPDX-License-Identifier: Apache-2.0 */
/* What the firmware side hands to the hypervisor proper. Lives in the image's data; no EFI types. */
#ifndef UMBRA_BOOT_INFO_H
#define UMBRA_BOOT_INFO_H

#include "boot/config.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

#define BOOT_RANGE_MAX 256

struct boot_framebuffer {
	hpa_t base; /* 0: no graphics output */
	uint32_t width, height;
	uint32_t pixels_per_line;
	uint32_t red_mask, green_mask, blue_mask; /* 32 bits per pixel */
};

struct boot_runtime_range {
	hpa_t base;
	uint64_t page_count;
	bool code;
	bool uncached;
};

struct boot_info {
	struct mem_range ranges[BOOT_RANGE_MAX]; /* usable RAM: conventional, boot services; not our image or files */
	size_t range_count;
	struct boot_runtime_range runtime[BOOT_RANGE_MAX];
	size_t runtime_count;
	void *reset_system; /* EFI_RESET_SYSTEM, called with the Microsoft ABI */
	struct boot_framebuffer fb;
	hpa_t rsdp; /* ACPI 2.0 RSDP, or 0 */
	uint32_t apic_ids[CPU_MAX];
	size_t cpu_count;
	hpa_t trampoline; /* page below 1 MiB */
	uint8_t efi_rng_seed[64];
	size_t efi_rng_bytes; /* 0 when firmware has no EFI_RNG_PROTOCOL */
	struct config config;
};

#endif
