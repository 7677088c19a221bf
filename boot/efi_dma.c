/* SPDX-License-Identifier: Apache-2.0 */
/* Shuts DMA out while boot services run: what dma.c needs of firmware. */
#include "boot/efi_priv.h"

#include <efipciio.h>

#include "boot/dma.h"
#include "boot/pci_config.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
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

/* SDM vol. 3, "4-Level Paging and 5-Level Paging". Firmware maps its page tables one to one. */
static bool page_is_mapped(uint64_t address)
{
	uint64_t entry = cpu_read_cr3();

	for (unsigned level = (cpu_read_cr4() & CR4_LA57) != 0 ? 5 : 4; level > 0; level--) {
		const unsigned shift = PAGE_SHIFT + 9 * (level - 1);
		const uint64_t *table = (const uint64_t *)(entry & PTE_ADDRESS);

		entry = table[address >> shift & 0x1ff];
		if ((entry & PTE_PRESENT) == 0) {
			return false;
		}
		if (level == 1 || (level < 4 && (entry & PTE_LARGE) != 0)) {
			return (entry & PTE_ADDRESS) >> shift == address >> shift;
		}
	}
	return false; /* not reached: level 1 returns */
}

static bool is_mapped(uint64_t base, uint64_t end)
{
	for (uint64_t at = base; at < end; at += PAGE_SIZE) {
		if (!page_is_mapped(at)) {
			return false;
		}
	}
	return true;
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
	for (size_t i = 0; i < config->share_count; i++) {
		config->shares[i].valid = false; /* the TPM opens no key for it */
	}
}

/* Reads the table DMAR. A broken table counts as units that were left out, not as no IOMMU. */
static void read_dmar(struct dmar *dmar)
{
	struct acpi_table table;
	const int err = efi_memory_look() ? efi_find_dmar(&table) : ERR_IO;

	if (err == 0) {
		(void)dmar_parse(table.bytes, table.length, dmar); /* it logs errors */
	} else if (err != ERR_NOTFOUND) {
		log_error("DMAR: the table is broken (length or checksum), or cannot be reached");
		dmar->units_left_out = true;
	}
}

void efi_dma_decide(struct boot_info *info)
{
	static const struct dma_firmware firmware = {
		.is_reserved = efi_is_reserved,
		.is_memory = efi_is_memory,
		.is_mapped = is_mapped,
		.is_firmwares = efi_is_firmwares,
		.pci_read = read_config_space,
		.take_pages = take_pages,
	};
	static struct dmar dmar;

	boot = info;
	memset(&dmar, 0, sizeof(dmar));
	if (info->config.iommu != CONFIG_IOMMU_OFF) {
		read_dmar(&dmar);
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

/* PCI Code and ID Assignment Specification: disks and networks, Fibre Channel among them. */
static bool may_wait(uint32_t class)
{
	return class >> 24 == 0x01 || class >> 24 == 0x02 || class >> 16 == 0x0c04;
}

/*
 * When boot services end, a driver may wait for its device, to flush a disk or to stop a network
 * card. If DMA is shut out by then, it waits for ever. So such drivers are stopped before, as far
 * as firmware can do that. Drivers of USB and of displays go on: they may provide the keyboard and
 * the picture that firmware keeps for us, and when boot services end they only write to registers.
 */
static void stop_drivers(void)
{
	static EFI_GUID guid = EFI_PCI_IO_PROTOCOL_GUID;
	EFI_BOOT_SERVICES *bs = efi_system->BootServices;
	EFI_HANDLE *handles = NULL;
	UINTN count = 0;
	unsigned stopped = 0;

	if (EFI_ERROR(bs->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles))) {
		return;
	}
	log_info("DMA: firmware stops its drivers of disks and networks; if the machine stops "
		 "here, set [host] iommu = off");
	for (UINTN i = 0; i < count; i++) {
		EFI_PCI_IO_PROTOCOL *pci;
		UINT32 class = 0;

		if (!EFI_ERROR(bs->HandleProtocol(handles[i], &guid, (void **)&pci)) &&
		    !EFI_ERROR(pci->Pci.Read(pci, EfiPciIoWidthUint32, PCI_CLASS, 1, &class)) &&
		    may_wait(class) &&
		    !EFI_ERROR(bs->DisconnectController(handles[i], NULL, NULL))) {
			stopped++;
		}
	}
	(void)bs->FreePool(handles); /* firmware allocated it for us */
	log_info("DMA: %u drivers of firmware are stopped", stopped);
}

/*
 * Runs dma_block with interrupts off: a timer must not run a driver of firmware that gives orders
 * to a unit between ours.
 */
void efi_dma_block(struct boot_info *info)
{
	bool enough;

	if (dma_will_block()) {
		efi_text_close(); /* the display may need DMA */
		stop_drivers();
	}
	cpu_cli();
	enough = dma_block();
	cpu_sti();
	judge(info, enough);
}

void efi_dma_block_again(struct boot_info *info)
{
	cpu_cli();
	judge(info, dma_block_again());
}
