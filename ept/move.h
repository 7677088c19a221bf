/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves a VM's memory from one KeyID to another, in its frames: to change its key, or to park it. A
 * parked VM has no KeyID; its pages lie under KeyID 0 as AES-256-XTS ciphertext, under a random key
 * that is used for this parking only.
 *
 * All functions run on the boot processor. No vCPU of the VM runs during a move or while the VM is
 * parked, and gmem_read and the like return ERR_AGAIN for memory that moves. Memory that belongs to
 * a share, or is in clear by the configuration, does not move.
 */
#ifndef UMBRA_EPT_MOVE_H
#define UMBRA_EPT_MOVE_H

#include "ept/gmem.h"

/*
 * Begins a move to a KeyID from keyslot_take; from then on the gmem counts as its user. Returns
 * ERR_NOMEM (also when pages for tables are missing): nothing has begun, and the KeyID is still the
 * caller's.
 */
int move_to_keyid(struct gmem *gmem, keyid_t to);

/*
 * Begins to seal the memory under KeyID 0. Returns ERR_NOMEM or an error of rng_bytes: nothing has
 * begun.
 */
int move_to_park(struct gmem *gmem);

/* As move_to_keyid, for memory that is parked. Cannot fail. */
void move_from_park(struct gmem *gmem, keyid_t to);

/*
 * Moves the next leaf, at most 2 MiB. Returns true after the last: the old KeyID is then given up,
 * and retire_poll will kill its key. Cannot fail.
 */
bool move_step(struct gmem *gmem);

/* Is the memory moving or parked? */
bool move_is_on(const struct gmem *gmem);
bool move_is_parked(const struct gmem *gmem);
/* How many pages the current or the last move has moved. */
uint64_t move_pages(const struct gmem *gmem);

/*
 * For a VM that ends during a move or while parked: wipes the key of the sealed pages. Returns the
 * KeyID from which the memory was moving, which the caller gives up too, or KEYID_PLATFORM. Does
 * nothing without a move.
 */
keyid_t move_abandon(struct gmem *gmem);

#endif
