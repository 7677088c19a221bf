/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's KeyID while it lives: a fresh one in place of the old, parking without one, and back. The
 * VM is paused from the beginning to the end (vm_pause), and stays so: by the caller, but for
 * rekey_begin. Boot processor only.
 */
#ifndef UMBRA_GUEST_REKEY_H
#define UMBRA_GUEST_REKEY_H

#include "guest/vm_config.h"

/*
 * Takes a KeyID with a key as the section asks for: drawn, or from the tenant's secret and a fresh
 * salt. What keyslot_take says.
 */
int rekey_take(const struct vm_config *config, keyid_t *keyid);

/*
 * Takes a fresh KeyID with a fresh key, then pauses the VM and begins to move its memory there.
 * After an error of keyslot_take it has not been paused by this. ERR_UNSUPPORTED: it has no KeyID
 * with a key of its own. ERR_EXISTS: its memory moves already, or is parked. Or what keyslot_take
 * and move_to_keyid say.
 */
int rekey_begin(struct vm *vm, const struct vm_config *config);

/* Begins to seal its memory under KeyID 0, which frees its KeyID. The same errors. */
int rekey_park(struct vm *vm);

/* Begins to open it again under a KeyID of its own. ERR_NOTFOUND: it is not parked. */
int rekey_unpark(struct vm *vm, const struct vm_config *config);

/* A part of the work, at most 2 MiB. True when it was the last; the log says what was done. */
bool rekey_step(struct vm *vm);

#endif
