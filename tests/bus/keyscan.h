/* SPDX-License-Identifier: Apache-2.0 */
/* Finds expanded AES keys in a dump of memory, at every byte offset. */
#ifndef UMBRA_TEST_KEYSCAN_H
#define UMBRA_TEST_KEYSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYSCAN_KEY_BYTES_MAX 32

struct keyscan_hit {
	size_t offset;	    /* of the first round key in memory */
	unsigned key_bytes; /* 16, 24 or 32 */
	bool decryption;
	uint8_t key[KEYSCAN_KEY_BYTES_MAX]; /* the AES key of a schedule in either form */
};

typedef void keyscan_found(void *context, const struct keyscan_hit *hit);

/* Of AES-256: 15 for encryption, and the 13 inner ones for decryption. */
#define KEYSCAN_ROUND_KEYS 28

/* Expands an AES-256 key to all round keys that either form of its schedule has. */
void keyscan_round_keys(const uint8_t key[32], uint8_t out[KEYSCAN_ROUND_KEYS][16]);

/*
 * A schedule is 11, 13 or 15 consecutive round keys of 16 bytes: as FIPS 197 expands them
 * (encryption), or in reverse order with InvMixColumns on all but the outer two (decryption, FIPS
 * 197 "Equivalent Inverse Cipher"). The AES instructions and mbedTLS' tables use these forms. Calls
 * found for each schedule that is complete to the bit, and returns how many there are.
 */
size_t keyscan(const uint8_t *data, size_t bytes, keyscan_found *found, void *context);

#endif
