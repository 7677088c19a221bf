/* SPDX-License-Identifier: Apache-2.0 */
/* Shuts DMA out while boot services run: what dma.c needs of firmware. */
#include "boot/efi_priv.h"

#include "boot/dma.h"
#include "boot/pci_config.h"
#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

static struct boot_info *boot;

/* Firmware's timers must not come between the two halves of an access. */
static uint32_t read_config_space(uint32_t function, uint32_t offset)
{
	uint32_t value;

	cpu_cli();
	value = pci_read(function, offset);
	cpu_sti();
	return value;
}

/* Loader memory, which Umbra gives to no VM because boot->dma_tables names it. */
static void *take_pages(size_t count)
{
	EFI_PHYSICAL_ADDRESS base = UINT32_MAX;

	if (EFI_ERROR(efi_system->BootServices->AllocatePages(AllocateMaxAddress, EfiLoaderData,
							      count, &base))) {
		return NULL;
	}
	boot->dma_tables = (struct mem_range){ hpa(base), count };
	memset((void *)(uintptr_t)base, 0, count * PAGE_SIZE);
	return (void *)(uintptr_t)base;
}

void efi_leave_all_out(struct config *config)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		config->vms[i].valid = false;
	}
}

void efi_dma_decide(struct boot_info *info)
{
	static const struct dma_firmware firmware = { efi_is_reserved, efi_is_memory,
						      read_config_space, take_pages };
	static struct dmar dmar;
	struct acpi_table table;

	boot = info;
	if (info->config.iommu != CONFIG_IOMMU_OFF && efi_memory_look() && efi_find_dmar(&table)) {
		(void)dmar_parse(table.bytes, table.length, &dmar); /* it logs errors */
	}
	dma_decide(&dmar, info->config.iommu, &info->screen, &firmware);
}

static void judge(struct boot_info *info, bool enough)
{
	if (!enough) {
		efi_leave_all_out(&info->config);
		efi_keys_forget(&info->config);
	} else if (!dma_is_as_decided()) {
		efi_leave_sealed_out(&info->config, "the IOMMU does not do what was measured");
	}
}

void efi_dma_block(struct boot_info *info)
{
	judge(info, dma_block());
}

void efi_dma_block_again(struct boot_info *info)
{
	judge(info, dma_block_again());
}
