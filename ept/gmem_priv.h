/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that gmem.c and the kinds of memory share. */
#ifndef UMBRA_EPT_GMEM_PRIV_H
#define UMBRA_EPT_GMEM_PRIV_H

#include "ept/gmem.h"

/*
 * The users of the host_temp_map slots. While the door makes a page usable it has no slot mapped.
 */
enum {
	GMEM_SLOT_DOOR,
	GMEM_SLOT_CLEAR, /* a page in clear, ... */
	GMEM_SLOT_OUT,	 /* ... its ciphertext, ... */
	GMEM_SLOT_IN,	 /* ... and the ciphertext of the page that replaces it */
	GMEM_SLOT_WIPE,	 /* only for the end of the machine: other slots may be in use */
};

/*
 * May a region be added there? Returns ERR_INVAL (empty, alignment, wrap-around or above what an
 * EPT translates), ERR_EXISTS (overlap), ERR_NOMEM (GMEM_REGION_MAX regions exist). No vCPU runs
 * yet.
 */
int gmem_region_check(const struct gmem *gmem, gpa_t base, uint64_t bytes);

/* Inserts a region that passed gmem_region_check into the sorted list. No vCPU runs yet. */
void gmem_region_insert(struct gmem *gmem, const struct gmem_region *region);

/*
 * Writes zeros to used frames, page by page through a slot, and writes them back to DRAM: an old
 * byte that is only overwritten in a cache can still be read from the memory module. bytes is a
 * multiple of 4 KiB.
 */
void gmem_zero_frames(unsigned slot, struct keyed_frame first, uint64_t bytes);

/* Writes eight bytes, repeated, to frames before their first use. They may stay in caches. */
void gmem_fill_frames(unsigned slot, struct keyed_frame first, uint64_t bytes, uint64_t fill);

/* Flushes the frames' lines under the KeyID from all caches: see cache_write_back. */
void gmem_flush_frames(unsigned slot, struct keyed_frame first, uint64_t bytes);

/* Writes eight bytes, repeated, to a mapped page. */
static inline void gmem_fill_page(void *page, uint64_t fill)
{
	uint64_t count = PAGE_SIZE / 8;

	__asm__ volatile("rep stosq" : "+D"(page), "+c"(count) : "a"(fill) : "memory");
}

/*
 * Handles a fault on a page that is mapped with all rights of its kind of memory: either another
 * vCPU has mapped it in the meantime, or the guest executes code in a large leaf on a CPU where
 * only 4-KiB leaves may be executable. gmem.lock is held. Returns ERR_NOMEM.
 */
static inline int gmem_allow_exec(struct gmem *gmem, gpa_t gpa, unsigned access,
				  const struct ept_leaf *leaf)
{
	return (access & ~leaf->attr.access & GMEM_ACCESS_EXEC) != 0 && ept_caps()->no_large_exec
		       ? ept_allow_exec(&gmem->root, gpa)
		       : 0;
}

/*
 * Makes RAM that stays in its frames, under the gmem's KeyID, as a region that is not in the gmem's
 * list yet. Each byte is `fill` until it is written. share.c puts the region in another region's
 * place and removes it again. BSP, no lock held. Returns ERR_NOMEM, ERR_AGAIN.
 */
int plain_ram_create(struct gmem *gmem, gpa_t base, uint64_t bytes, uint8_t fill,
		     struct gmem_region *out);

#endif
