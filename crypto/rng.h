/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes for keys: CTR_DRBG (NIST SP 800-90A, AES-256) over the CPU's noise. Sources in order
 * of preference: RDSEED, RDRAND; a seed from firmware's EFI_RNG is mixed in, and alone is enough.
 */
#ifndef UMBRA_CRYPTO_RNG_H
#define UMBRA_CRYPTO_RNG_H

#include "vmm/base/types.h"

/*
 * Tests the sources and seeds the generator. efi_seed (may be NULL with bytes 0) is wiped. Logs
 * one line: which sources are used, or why each was refused. ERR_UNSUPPORTED when none passes:
 * the machine goes on, but rng_bytes fails, and so does everything that needs a random key. BSP,
 * once.
 */
int rng_init(uint8_t *efi_seed, size_t efi_seed_bytes);

/*
 * Fills buf. Reseeds by itself. ERR_UNSUPPORTED before or after a failed rng_init; ERR_IO when a
 * reseed is due and every source fails; buf is zero then. Takes the generator's lock. Any CPU.
 */
int rng_bytes(void *buf, size_t bytes);

/*
 * Draws fresh noise into the generator now. ERR_IO when no source gives any (EFI_RNG gave only
 * once).
 */
int rng_reseed(void);

/* The sources in use, for people: "RDSEED and EFI_RNG", or "none". */
const char *rng_sources(void);

#endif
