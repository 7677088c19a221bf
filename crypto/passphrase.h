/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key from a passphrase: PBKDF2 with HMAC-SHA-512 (RFC 8018, 5.2), whose result of 64 bytes is
 * never stored. HKDF-SHA-256 makes two independent values of it: with the label "umbra passphrase
 * check" the one that a file keeps to recognise the passphrase, with "umbra passphrase key" the
 * secret.
 */
#ifndef UMBRA_CRYPTO_PASSPHRASE_H
#define UMBRA_CRYPTO_PASSPHRASE_H

#include "crypto/kdf.h"
#include "vmm/base/types.h"

#define PASSPHRASE_SALT_BYTES  32
#define PASSPHRASE_CHECK_BYTES 32
/*
 * The limits of the iterations: with the fewest a guess still costs something; the most take a slow
 * CPU a minute. One iteration hashes two blocks of 128 bytes.
 */
#define PASSPHRASE_ITERATIONS_MIN 10000u
#define PASSPHRASE_ITERATIONS_MAX 20000000u

/* Nothing here is secret, but whoever has it can try passphrases. */
struct passphrase {
	uint32_t iterations;
	uint8_t salt[PASSPHRASE_SALT_BYTES];
	uint8_t check[PASSPHRASE_CHECK_BYTES];
};

/*
 * Begins to check whether text is the passphrase of *of. The caller may wipe text afterwards. There
 * is one check at a time: passphrase_begin, passphrase_step until it returns false, passphrase_end;
 * the three may run on different CPUs, one after the other. Returns 0, ERR_RANGE if *of has too few
 * or too many iterations, or what wipe_register returns; then there is nothing to end.
 */
int passphrase_begin(const struct passphrase *of, const char *text, size_t bytes);
/* Computes some more, in less than a millisecond. Returns whether there is more to do. */
bool passphrase_step(void);
/*
 * Returns 0 and the secret if the passphrase was the right one, ERR_RIGHTS if it was not, or
 * ERR_NOMEM. Wipes everything else.
 */
int passphrase_end(uint8_t secret[KDF_SECRET_BYTES]);

#endif
