/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of memory. Under a KeyID of its own it is crypto-erased, in a time that does not grow
 * with the memory; other memory is zeroed. Keys end on the boot processor, which calls all of this
 * with no lock held. Zeroing and giving back is work (vmm/base/work.h), each memory's one of its
 * own, and runs on any CPU.
 */
#ifndef UMBRA_EPT_RETIRE_H
#define UMBRA_EPT_RETIRE_H

#include "ept/gmem.h"

/*
 * For gmem_destroy: takes EPT and regions out of a gmem, after the shoot-down, and gives its KeyID
 * up. The frames stay taken until retire_poll has made the key dead, or they are zeroed.
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

/* Whether memory is being zeroed or given back, until retire_poll has said that it was the last. */
bool retire_buries(void);

/*
 * Makes dead all keys that wait, with one flush of the caches, at most one in CACHE_FLUSH_US. True
 * when since the last call all that was being zeroed or given back has become free, frames and
 * KeyIDs. To be called at each turn.
 */
bool retire_poll(void);

#endif
