/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of memory. Under a KeyID of its own it is crypto-erased, in a time that does not grow
 * with the memory; other memory is zeroed, step by step. Boot processor alone, no lock held.
 */
#ifndef UMBRA_EPT_RETIRE_H
#define UMBRA_EPT_RETIRE_H

#include "ept/gmem.h"

/*
 * For gmem_destroy: takes EPT and regions out of a gmem, after the shoot-down, and gives its KeyID
 * up. The frames stay taken until retire_poll has made the key dead, or has zeroed them.
 */
void retire(struct gmem *gmem);

/*
 * The same for one region that no EPT maps any more, under a KeyID that goes with it: a share
 * without members. Under KeyID 0, how says what is zeroed. grave is a host page, which goes with
 * it.
 */
void retire_region(struct grave *grave, keyid_t keyid, const struct gmem_region *region,
		   enum gmem_bury how);

/*
 * Whether memory or KeyIDs wait for retire_poll: what a new VM lacks may be there soon.
 */
bool retire_pending(void);

/* Whether memory is being zeroed or given back: each retire_poll does a step of that. */
bool retire_buries(void);

/*
 * A step of a bounded length: makes dead all keys that wait, with one flush of the caches, at most
 * one in CACHE_FLUSH_US; or zeroes (GMEM_STEP_BYTES at most) or gives back a part of the memory
 * that waits for no key. True when it was the last step of that: frames and KeyIDs are free again.
 * Called again and again between turns.
 */
bool retire_poll(void);

#endif
