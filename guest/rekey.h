/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes the KeyID of a living VM: to a fresh one, to none (parking), and back. The VM must stay
 * paused (vm_pause) from the beginning to the end of a move. The caller pauses it, except for
 * rekey_begin, and resumes it. Boot processor only.
 */
#ifndef UMBRA_GUEST_REKEY_H
#define UMBRA_GUEST_REKEY_H

#include "guest/vm_config.h"

/*
 * Takes a KeyID with the key that the section asks for: random, or derived from the tenant's secret
 * and a fresh salt. Returns an error of keyslot_take.
 */
int rekey_take(const struct vm_config *config, keyid_t *keyid);

/*
 * Takes a fresh KeyID with a fresh key, pauses the VM, and begins to move its memory there. Returns
 * ERR_UNSUPPORTED if the VM has no KeyID with its own key, ERR_EXISTS if its memory is being moved
 * or is parked, or an error of keyslot_take or move_to_keyid. After an error of keyslot_take this
 * has not paused the VM.
 */
int rekey_begin(struct vm *vm, const struct vm_config *config);

/*
 * Begins to seal the VM's memory under KeyID 0, which frees its KeyID. Returns ERR_UNSUPPORTED or
 * ERR_EXISTS as rekey_begin, or an error of move_to_park.
 */
int rekey_park(struct vm *vm);

/*
 * Begins to decrypt a parked VM's memory into a fresh KeyID. Returns ERR_NOTFOUND if the VM is not
 * parked, or an error of keyslot_take.
 */
int rekey_unpark(struct vm *vm, const struct vm_config *config);

/*
 * Does a part of the move, at most 2 MiB. Returns true if it was the last part; the log then says
 * what was done.
 */
bool rekey_step(struct vm *vm);

#endif
