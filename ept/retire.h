/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of memory. Memory under its own KeyID is crypto-erased, in a time that does not grow with
 * its size; other memory is zeroed. The boot processor ends keys and calls all of these functions,
 * with no lock held. Zeroing and freeing is work (vmm/host/work.h), one work for each VM, on any
 * CPU.
 */
#ifndef UMBRA_EPT_RETIRE_H
#define UMBRA_EPT_RETIRE_H

#include "ept/gmem.h"

/*
 * For gmem_destroy, after the shoot-down: takes EPT and regions out of a gmem, and gives its KeyID
 * up. The frames stay allocated until retire_poll has killed the key, or until they are zeroed.
 */
void retire(struct gmem *gmem);

/*
 * As retire, for one region that no EPT maps any more, and whose KeyID ends with it: a share
 * without members. Under KeyID 0, `how` says what to zero. grave is a host page, which is freed
 * too.
 */
void retire_region(struct grave *grave, keyid_t keyid, const struct gmem_region *region,
		   enum gmem_bury how);

/* Does memory or a KeyID wait for retire_poll? If so, a new VM may soon get what it lacks now. */
bool retire_pending(void);

/* Is memory being zeroed or freed? True until retire_poll has reported the end. */
bool retire_buries(void);

/*
 * Kills all keys that wait, with one flush of the caches, at most one in CACHE_FLUSH_US. Returns
 * true once when all memory that was being zeroed or freed is free, and all KeyIDs. Call it at each
 * turn.
 */
bool retire_poll(void);

/*
 * Before the machine is switched off or reset: makes all keys dead that wait, whenever the caches
 * were flushed last. Memory that is still to be zeroed is left as it is.
 */
void retire_finish(void);

#endif
