/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of memory areas that hold secrets. When the machine panics, resets or powers off, all of
 * them are zeroed before anything else is done.
 */
#ifndef UMBRA_CRYPTO_WIPE_H
#define UMBRA_CRYPTO_WIPE_H

#include "vmm/base/types.h"

#define WIPE_AREA_MAX 256

/*
 * Makes wipe_all the function that panic, reset and power-off call first. Boot processor, once,
 * before the first secret exists.
 */
void wipe_init(void);

/*
 * Adds memory that holds, or will hold, secrets. An area that is in the list already
 * stays there once. Returns ERR_NOMEM if the list is full. Any CPU. Takes wipe_lock.
 */
int wipe_register(void *area, size_t bytes);

/* The number of areas in the list. */
uint32_t wipe_count(void);

/*
 * Removes an area, which the caller has zeroed. Ignores an unknown area. Any CPU. Takes wipe_lock.
 */
void wipe_unregister(const void *area);

/*
 * Zeroes every area. Takes no lock, because the CPU that holds it may be the one that panicked.
 * Only for the end of the machine: a CPU that uses a secret at that moment reads zeros.
 */
void wipe_all(void);

#endif
