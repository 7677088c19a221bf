/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses the memory that devices may still reach because firmware uses them: the ranges that the
 * table DMAR names (RMRR), if no harm can come of them, and the memory that holds the picture.
 */
#ifndef UMBRA_BOOT_DMA_RANGES_H
#define UMBRA_BOOT_DMA_RANGES_H

#include "boot/dma.h"

/* One range for one function. */
struct dma_range {
	uint64_t base, end;
	uint16_t source; /* bus << 8 | device << 3 | function */
	uint16_t unit;	 /* of struct dmar */
	bool picture;	 /* if the range is not mapped, a display loses its picture */
};

#define DMA_RANGES_MAX 64u

struct dma_ranges {
	struct dma_range list[DMA_RANGES_MAX];
	size_t count;
	/* The unit of a display whose picture would be lost, else DMAR_UNITS_MAX. */
	uint32_t picture;
};

/* Chooses the ranges, and logs which are refused. Reads configuration space. */
void dma_choose_ranges(const struct dmar *dmar, const struct screen_mode *screen,
		       const struct dma_firmware *firmware, struct dma_ranges *out);

#endif
