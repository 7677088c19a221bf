/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds secrets in a dump of memory: the hash keys of tags by their structure, and page keys in any
 * form by what only the machine's registers hold (key-store = registers).
 */
#ifndef UMBRA_TEST_SECRETSCAN_H
#define UMBRA_TEST_SECRETSCAN_H

#include <stddef.h>
#include <stdint.h>

#define SECRET_MASTER_BYTES 32
#define SECRET_KEY_BYTES    64
#define SECRET_KEYS_MAX	    64

typedef void secret_found(void *context, size_t offset, const char *what);

/*
 * The powers of a tag's key H end with H^2 and H, 16 bytes each, aligned (RFC 8452). Calls found
 * for each such place. Returns how many there are.
 */
size_t secretscan_hashes(const uint8_t *data, size_t bytes, secret_found *found, void *context);

/*
 * Looks for page keys that the master key has wrapped (RFC 3394), where they are aligned to 64
 * bytes, and calls found with "wrapped". Then for the master key and these page keys, at every
 * offset: found is called with "master" or "page" for each aligned 8 bytes of the key, and for each
 * round key of it, encryption or decryption. The first two round keys are the key. A piece counts,
 * even if nothing else of its key is there. Returns how many wrapped keys there are.
 */
size_t secretscan_wrapped(const uint8_t *data, size_t bytes,
			  const uint8_t master[SECRET_MASTER_BYTES], secret_found *found,
			  void *context);

#endif
