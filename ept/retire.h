/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of memory under a KeyID of its own: crypto-erase, in a time that does not grow with the
 * memory. Boot processor alone, no lock held.
 */
#ifndef UMBRA_EPT_RETIRE_H
#define UMBRA_EPT_RETIRE_H

#include "ept/gmem.h"

/*
 * For gmem_destroy: takes EPT and regions out of a gmem with a KeyID, after the shoot-down, and
 * gives the KeyID up. The frames stay taken until retire_poll has made the key dead.
 */
void retire(struct gmem *gmem);

/*
 * The same for one region that no EPT maps any more: a share without members. grave is a host
 * page, which goes with it.
 */
void retire_region(struct grave *grave, keyid_t keyid, const struct gmem_region *region);

/*
 * Whether memory or KeyIDs wait for retire_poll: what a new VM lacks may be there soon.
 */
bool retire_pending(void);

/*
 * A step of a bounded length: makes dead all keys that wait, with one flush of the caches, at most
 * one in CACHE_FLUSH_US; or gives back a part of the memory whose key is dead. True when it was the
 * last step: frames and KeyIDs are free again. Called again and again between turns.
 */
bool retire_poll(void);

#endif
