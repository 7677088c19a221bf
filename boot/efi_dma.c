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

/* Leaves a VM or a share out if its key is one of the TPM. Returns whether it may be used. */
static bool leave_sealed_out(struct vm_key_source *key, const char *kind, const char *name)
{
	if (key->kind != VM_KEY_FILE || key->form != VM_KEY_FORM_TPM) {
		return true;
	}
	efi_key_forget(key);
	log_error("%s %s: the IOMMU does not do what was measured, so a key of the TPM is not "
		  "used; the %s is left out",
		  kind, name, kind);
	return false;
}

/* What was measured is not so: what has a key that the TPM has opened for it must not be used. */
static void leave_all_sealed_out(struct config *config)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		struct vm_config *vm = &config->vms[i];

		vm->valid = vm->valid && leave_sealed_out(&vm->key, "vm", vm->name);
	}
	for (size_t i = 0; i < config->share_count; i++) {
		struct share_config *share = &config->shares[i];

		share->valid = share->valid && leave_sealed_out(&share->key, "share", share->name);
	}
}

static void judge(struct boot_info *info, bool enough)
{
	if (!enough) {
		efi_leave_all_out(&info->config);
		efi_keys_forget(&info->config);
	} else if (!dma_is_as_decided()) {
		leave_all_sealed_out(&info->config);
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
