/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves a VM's memory from one KeyID to another, in its frames: to change its key, or to park it.
 * A parked VM has no KeyID; its pages lie under KeyID 0 as ciphertext of AES-256-XTS, under a key
 * that was drawn for this one time.
 *
 * All of it runs on the boot processor. No vCPU of the VM runs from the beginning of a move to its
 * end, or while the VM is parked, and gmem_read and the like find ERR_AGAIN in memory that moves.
 * Memory that belongs to a share, or is in clear by the configuration, stays where it is.
 */
#ifndef UMBRA_EPT_MOVE_H
#define UMBRA_EPT_MOVE_H

#include "ept/gmem.h"

/*
 * The memory goes to a KeyID that keyslot_take has handed out; the gmem counts as its user from
 * here on. ERR_NOMEM (tables as well): nothing was begun, and the KeyID is still the caller's.
 */
int move_to_keyid(struct gmem *gmem, keyid_t to);

/* The memory goes to KeyID 0, sealed. ERR_NOMEM, or what rng_bytes says: nothing was begun. */
int move_to_park(struct gmem *gmem);

/* The same as move_to_keyid, for memory that is parked. It cannot fail. */
void move_from_park(struct gmem *gmem, keyid_t to);

/*
 * Moves the next leaf, at most 2 MiB. True when it was the last: the KeyID that the memory came
 * from is given up, and retire_poll will kill its key. It cannot fail.
 */
bool move_step(struct gmem *gmem);

/* A move is going on, or the memory is parked. */
bool move_is_on(const struct gmem *gmem);
bool move_is_parked(const struct gmem *gmem);
/* The pages that the last move, or the one that goes on, has moved. */
uint64_t move_pages(const struct gmem *gmem);

/*
 * The VM ends in the middle of a move, or parked: wipes the key of what is sealed. Returns the
 * KeyID that the memory was to come from, which the caller gives up as well, or KEYID_PLATFORM.
 * Does nothing without a move.
 */
keyid_t move_abandon(struct gmem *gmem);

#endif
