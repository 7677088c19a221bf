/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves one sector between disk and memory by bus-master DMA: the disk controller is the only
 * device here that accesses memory by itself. Intel 82371AB (PIIX4) datasheet, "IDE Controller";
 * ATA/ATAPI-6.
 */
#include "rows.h"

#define PCI_ADDRESS	 0xcf8
#define PCI_DATA	 0xcfc
#define IDE_FUNCTION	 0x80000900u /* bus 0, device 1, function 1 */
#define PCI_COMMAND	 0x04u
#define PCI_MASTER	 0x05u /* I/O and bus master */
#define PCI_BAR4	 0x20u
#define BM_COMMAND	 0
#define BM_STATUS	 2
#define BM_TABLE	 4
#define BM_START	 1u
#define BM_TO_MEMORY	 8u
#define BM_ACTIVE	 1u
#define BM_WRITE_1	 6u /* writing ones clears interrupt and error */
#define ATA		 0x1f0
#define ATA_CONTROL	 0x3f6
#define ATA_NO_INTERRUPT 2u
#define ATA_BUSY	 0x80u
#define ATA_REQUEST	 0x08u
#define ATA_ERROR	 0x01u
#define READ_DMA	 0xc8u
#define WRITE_DMA	 0xcau
#define SECTOR		 33u /* unused, behind the partition table */
#define SECTOR_BYTES	 512u
#define LAST_ENTRY	 0x80000000u
#define WAIT_TURNS	 2000000u

static uint16_t bus_master(void)
{
	uint32_t bar;

	out32(PCI_ADDRESS, IDE_FUNCTION | PCI_COMMAND);
	out16(PCI_DATA, PCI_MASTER);
	out32(PCI_ADDRESS, IDE_FUNCTION | PCI_BAR4);
	bar = in32(PCI_DATA);
	return bar & 1 ? (uint16_t)(bar & 0xfff0) : 0;
}

static bool idle(uint16_t bm)
{
	for (unsigned turn = 0; turn < WAIT_TURNS; turn++) {
		if (!(in8(ATA_CONTROL) & (ATA_BUSY | ATA_REQUEST)) &&
		    (bm == 0 || !(in8(bm + BM_STATUS) & BM_ACTIVE))) {
			return true;
		}
	}
	return false;
}

static bool transfer(uint64_t address, uint8_t command, uint8_t direction)
{
	static uint32_t *table;
	uint16_t bm = bus_master();
	bool done;

	if (table == NULL) {
		table = arena_page();
	}
	table[0] = (uint32_t)address;
	table[1] = LAST_ENTRY | SECTOR_BYTES;
	mfence();
	if (bm == 0 || !check_equal("disk is idle", idle(0), true)) {
		cannot("no IDE bus master");
		return false;
	}
	out8(ATA_CONTROL, ATA_NO_INTERRUPT);
	out8(bm + BM_COMMAND, direction);
	out32(bm + BM_TABLE, (uint32_t)(uintptr_t)table);
	out8(bm + BM_STATUS, BM_WRITE_1);
	out8(ATA + 6, 0xe0); /* disk 0, LBA */
	out8(ATA + 2, 1);
	out8(ATA + 3, SECTOR);
	out8(ATA + 4, 0);
	out8(ATA + 5, 0);
	out8(ATA + 7, command);
	out8(bm + BM_COMMAND, direction | BM_START);
	done = idle(bm) && !(in8(ATA_CONTROL) & ATA_ERROR);
	out8(bm + BM_COMMAND, 0);
	return check_equal("disk is done", done, true);
}

bool disk_to_memory(uint64_t address)
{
	return transfer(address, READ_DMA, BM_TO_MEMORY);
}

bool memory_to_disk(uint64_t address)
{
	return transfer(address, WRITE_DMA, 0);
}
