/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bus/secretscan.h"

#include <stdbool.h>
#include <string.h>

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/aes.h>

#include "tests/bus/keyscan.h"

#define WRAPPED_BYTES (SECRET_KEY_BYTES + 8)
#define ALIGNMENT     64u
#define WORDS	      4u /* of a key of AES-256, 8 bytes each */
#define FILTER_BITS   16

struct block {
	uint64_t low, high;
};

/*
 * RFC 8452: a * b * x^-128. Each bit of a is multiplied by x^-1 as often as there are bits above
 * it.
 */
static struct block dot(struct block a, struct block b)
{
	struct block r = { 0, 0 };

	for (unsigned i = 0; i < 128; i++) {
		const uint64_t bit = (i < 64 ? a.low >> i : a.high >> (i - 64)) & 1;
		uint64_t odd;

		r.low ^= b.low & -bit;
		r.high ^= b.high & -bit;
		odd = r.low & 1;
		r.low = r.low >> 1 | r.high << 63;
		r.high = (r.high >> 1) ^ (0xe100000000000000u & -odd);
	}
	return r;
}

size_t secretscan_hashes(const uint8_t *data, size_t bytes, secret_found *found, void *context)
{
	size_t count = 0;

	for (size_t at = 0; at + 2 * sizeof(struct block) <= bytes; at += sizeof(struct block)) {
		struct block pair[2], square;

		memcpy(pair, data + at, sizeof(pair));
		if ((pair[1].low | pair[1].high) == 0 || (pair[0].low | pair[0].high) == 0) {
			continue;
		}
		square = dot(pair[1], pair[1]);
		if (square.low == pair[0].low && square.high == pair[0].high) {
			found(context, at, "hash");
			count++;
		}
	}
	return count;
}

/* What is looked for, and a filter on the first two bytes. */
struct pieces {
	struct piece {
		uint8_t bytes[16];
		size_t size;
		const char *what;
	} piece[(2 * SECRET_KEYS_MAX + 1) * (KEYSCAN_ROUND_KEYS + WORDS)];
	size_t count;
	bool filter[1u << FILTER_BITS];
};

static uint16_t first_of(const uint8_t *bytes)
{
	uint16_t first;

	memcpy(&first, bytes, sizeof(first));
	return first;
}

static void add(struct pieces *pieces, const uint8_t *bytes, size_t size, const char *what)
{
	struct piece *piece = &pieces->piece[pieces->count++];

	memcpy(piece->bytes, bytes, size);
	piece->size = size;
	piece->what = what;
	pieces->filter[first_of(bytes)] = true;
}

/* The key's words come from general registers, round keys from vector registers. */
static void add_key(struct pieces *pieces, const uint8_t *key, const char *what)
{
	uint8_t round[KEYSCAN_ROUND_KEYS][16];

	for (unsigned i = 0; i < WORDS; i++) {
		add(pieces, key + 8 * i, 8, what);
	}
	keyscan_round_keys(key, round);
	for (unsigned i = 0; i < KEYSCAN_ROUND_KEYS; i++) {
		add(pieces, round[i], sizeof(round[i]), what);
	}
}

static void look_for(const struct pieces *pieces, const uint8_t *data, size_t bytes,
		     secret_found *found, void *context)
{
	for (size_t at = 0; at + 8 <= bytes; at++) {
		if (!pieces->filter[first_of(data + at)]) {
			continue;
		}
		for (size_t i = 0; i < pieces->count; i++) {
			const struct piece *piece = &pieces->piece[i];

			if (at + piece->size <= bytes &&
			    memcmp(data + at, piece->bytes, piece->size) == 0) {
				found(context, at, piece->what);
			}
		}
	}
}

size_t secretscan_wrapped(const uint8_t *data, size_t bytes,
			  const uint8_t master[SECRET_MASTER_BYTES], secret_found *found,
			  void *context)
{
	static const uint8_t zeros[WRAPPED_BYTES];
	static struct pieces pieces;
	uint8_t key[SECRET_KEY_BYTES];
	size_t count = 0;
	AES_KEY unwrap;

	memset(&pieces, 0, sizeof(pieces));
	AES_set_decrypt_key(master, 8 * SECRET_MASTER_BYTES, &unwrap);
	add_key(&pieces, master, "master");
	for (size_t at = 0; at + WRAPPED_BYTES <= bytes; at += ALIGNMENT) {
		if (memcmp(data + at, zeros, WRAPPED_BYTES) == 0 || count == SECRET_KEYS_MAX ||
		    AES_unwrap_key(&unwrap, NULL, key, data + at, WRAPPED_BYTES) !=
			    SECRET_KEY_BYTES) {
			continue;
		}
		found(context, at, "wrapped");
		add_key(&pieces, key, "page");
		add_key(&pieces, key + 32, "page");
		count++;
	}
	look_for(&pieces, data, bytes, found, context);
	return count;
}
