/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of places that hold secrets. All of them are zeroed, before anything else is done, when
 * the machine panics, resets or powers off.
 */
#ifndef UMBRA_CRYPTO_WIPE_H
#define UMBRA_CRYPTO_WIPE_H

#include "vmm/base/types.h"

#define WIPE_AREA_MAX 256

/* Puts wipe_all into panic_set_wipe. BSP, once, before the first secret exists. */
void wipe_init(void);

/* Adds memory that holds, or will hold, secrets. ERR_NOMEM when the list is full. Any CPU. */
int wipe_register(void *area, size_t bytes);

/* How many are in the list. */
uint32_t wipe_count(void);

/* Takes it out again; the caller has zeroed it. Unknown areas are ignored. */
void wipe_unregister(const void *area);

/*
 * Zeroes every area. Takes no lock: the CPU that holds it may be the one that died. Only for the
 * end of the machine; whoever uses a secret at that instant reads zeros.
 */
void wipe_all(void);

#endif
