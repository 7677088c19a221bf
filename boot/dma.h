/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shuts DMA out: which of VT-d's units are switched on, what firmware's own devices may still
 * reach, and what was stopped. All functions: boot processor, no lock.
 */
#ifndef UMBRA_BOOT_DMA_H
#define UMBRA_BOOT_DMA_H

#include "boot/config.h"
#include "boot/dmar.h"
#include "vmm/console/screen.h"
#include "vmm/host/page_alloc.h"

/* What dma.c asks the firmware side for. */
struct dma_firmware {
	/* Whether all of [base, end) is memory that firmware has reserved for good. */
	bool (*is_reserved)(uint64_t base, uint64_t end);
	/* Whether any of it is memory that programs or firmware use. */
	bool (*is_memory)(uint64_t base, uint64_t end);
	/* Configuration space, as pci_read. */
	uint32_t (*pci_read)(uint32_t function, uint32_t offset);
	/* Whether firmware's page tables map all of [base, end) one to one. */
	bool (*is_mapped)(uint64_t base, uint64_t end);
	/* Whether all of [base, end) is memory that firmware alone uses. */
	bool (*is_firmwares)(uint64_t base, uint64_t end);
	/* Zeroed pages that nobody else will use, mapped one to one; NULL: there are none. */
	void *(*take_pages)(size_t count);
};

/*
 * Finds out which units can shut DMA out, and builds their tables. Logs what is wrong. Firmware may
 * go on reading disks. dmar: as dmar_parse fills it, also if that has failed; zero without a table.
 */
void dma_decide(const struct dmar *dmar, enum config_iommu wanted, const struct screen_mode *screen,
		const struct dma_firmware *firmware);
/* The decision, as words for the state event (launch_measure_state): "on ir=on", "none". */
const char *dma_words(void);
/* Whether dma_block will shut out anything. If so, firmware's drivers do not work after it. */
bool dma_will_block(void);

/*
 * Shuts DMA out while boot services still run: from now on firmware reads no disk. All errors are
 * logged. Interrupts are off, so that no driver of firmware gives orders to a unit meanwhile.
 * Returns false if [host] iommu = require, and a device can still reach memory.
 */
bool dma_block(void);
/* Whether the units do what was decided. */
bool dma_is_as_decided(void);

/*
 * Right after the end of boot services, on firmware's page tables, with interrupts off: takes back
 * what firmware has switched off as it ended, and shuts interrupts of devices out. Returns as
 * dma_block.
 */
bool dma_block_again(void);

/* On our own page tables, once: maps the registers, so that dma_poll works. */
void dma_watch(void);

/* Logs what was stopped since the last call. Looks every 100 ms, and costs little in between. */
void dma_poll(void);

/* Shows what is shut out and what was stopped, for the shell. */
void dma_report(void (*print)(const char *fmt, ...));

#endif
