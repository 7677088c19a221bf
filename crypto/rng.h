/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes for keys: CTR_DRBG (NIST SP 800-90A, AES-256) over the CPU's noise. RDSEED is
 * preferred to RDRAND. A seed from firmware's EFI_RNG is mixed in; it is enough where the CPU has
 * neither.
 */
#ifndef UMBRA_CRYPTO_RNG_H
#define UMBRA_CRYPTO_RNG_H

#include "vmm/base/types.h"

/*
 * Tests the sources and seeds the generator. Wipes efi_seed (NULL with 0 bytes: none). Logs one
 * line: which sources are used, or why each was refused. Returns ERR_UNSUPPORTED if no source
 * passes: the machine runs on, but rng_bytes fails, and so does everything that needs a random key.
 * Also returns ERR_IO if seeding fails, or what wipe_register returns. Boot processor, once.
 */
int rng_init(uint8_t *efi_seed, size_t efi_seed_bytes);

/*
 * Fills buf, and reseeds when that is due. Returns ERR_UNSUPPORTED before rng_init or after it
 * failed; ERR_IO if a reseed is due and every source fails. buf is zero then. Takes the generator's
 * lock. Any CPU.
 */
int rng_bytes(void *buf, size_t bytes);

/*
 * Draws fresh noise into the generator now. Returns ERR_UNSUPPORTED as rng_bytes does; ERR_IO if no
 * source gives any (EFI_RNG gives a seed only at boot). Takes the generator's lock. Any CPU.
 */
int rng_reseed(void);

/* The sources in use, as text: "RDSEED and EFI_RNG", or "none". */
const char *rng_sources(void);

#endif
