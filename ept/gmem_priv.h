/* SPDX-License-Identifier: Apache-2.0 */
/* Between gmem.c and the kinds of memory. */
#ifndef UMBRA_EPT_GMEM_PRIV_H
#define UMBRA_EPT_GMEM_PRIV_H

#include "ept/gmem.h"

/* Who uses which host_temp_map slot. The door may make a page usable while it holds none. */
enum {
	GMEM_SLOT_DOOR,
	GMEM_SLOT_CLEAR, /* a page, ... */
	GMEM_SLOT_OUT,	 /* ... its ciphertext, ... */
	GMEM_SLOT_IN,	 /* ... and that of the page which takes its place */
	GMEM_SLOT_WIPE,	 /* for the end of the machine alone: the others may be in use */
};

/*
 * Whether a region may be there: ERR_INVAL (empty, alignment, wrap-around or above what an EPT
 * translates), ERR_EXISTS (overlap), ERR_NOMEM (GMEM_REGION_MAX). No vCPU runs yet.
 */
int gmem_region_check(const struct gmem *gmem, gpa_t base, uint64_t bytes);

/* Puts a region that passed the check into its place. No vCPU runs yet. */
void gmem_region_insert(struct gmem *gmem, const struct gmem_region *region);

/*
 * Writes zeros to frames that held something, page by page, by way of a slot, and has them reach
 * DRAM: an old byte that was only overwritten in a cache can still be read from a module. bytes is
 * a multiple of 4 KiB.
 */
void gmem_zero_frames(unsigned slot, struct keyed_frame first, uint64_t bytes);

/* Writes eight bytes, repeated, to frames that are used next; they may stay in caches. */
void gmem_fill_frames(unsigned slot, struct keyed_frame first, uint64_t bytes, uint64_t fill);

/* Takes the frames' lines under the KeyID out of all caches: see cache_write_back. */
void gmem_flush_frames(unsigned slot, struct keyed_frame first, uint64_t bytes);

/* Any eight bytes, repeated, to a page that is mapped. */
static inline void gmem_fill_page(void *page, uint64_t fill)
{
	uint64_t count = PAGE_SIZE / 8;

	__asm__ volatile("rep stosq" : "+D"(page), "+c"(count) : "a"(fill) : "memory");
}

/*
 * A page whose leaf allows all that its kind of memory has, to a vCPU that faulted on it: another
 * vCPU was first, or code is to run from a large leaf where that must not be. gmem.lock is held.
 * ERR_NOMEM.
 */
static inline int gmem_allow_exec(struct gmem *gmem, gpa_t gpa, unsigned access,
				  const struct ept_leaf *leaf)
{
	return (access & ~leaf->attr.access & GMEM_ACCESS_EXEC) != 0 && ept_caps()->no_large_exec
		       ? ept_allow_exec(&gmem->root, gpa)
		       : 0;
}

/*
 * RAM that stays in its frames, under the gmem's KeyID, as a region that stands ready and is in no
 * gmem yet; each byte is `fill` until it is written. For share.c, which puts it in another's place
 * and takes it away again. BSP, no lock held. ERR_NOMEM, ERR_AGAIN.
 */
int plain_ram_create(struct gmem *gmem, gpa_t base, uint64_t bytes, uint8_t fill,
		     struct gmem_region *out);

#endif
