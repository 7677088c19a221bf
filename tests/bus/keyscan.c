/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each word of a schedule is a function of two earlier words. Most words are the XOR of these, also
 * after InvMixColumns, which is linear: the scanner checks one such word first, and so rules out
 * nearly every offset. Words are little-endian here: byte 0 of FIPS 197 is the lowest.
 */
#include "tests/bus/keyscan.h"

#include <string.h>

#define ROUND_KEY_BYTES 16

struct form {
	unsigned key_words;
	unsigned rounds;
	bool decryption;
	size_t bytes;
	/* Offsets of the words to check first: [0] must be [1] ^ [2]. */
	size_t first_look[3];
};

#define FORMS 6
static struct form forms[FORMS];
static uint8_t sbox[256];

static uint32_t load(const uint8_t *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

/* Multiplies each of four bytes by x in GF(2^8). */
static uint32_t times_x(uint32_t word)
{
	return (word << 1 & 0xfefefefe) ^ (word >> 7 & 0x01010101) * 0x1b;
}

static uint32_t rotate(uint32_t word, unsigned bytes)
{
	return word >> 8 * bytes | word << (32 - 8 * bytes);
}

/* Column (a, b, c, d) becomes (2a + 3b + c + d, ...). */
static uint32_t mix_column(uint32_t word)
{
	uint32_t twice = times_x(word);

	return twice ^ rotate(twice ^ word, 1) ^ rotate(word, 2) ^ rotate(word, 3);
}

static uint32_t substitute(uint32_t word)
{
	return sbox[word & 255] | (uint32_t)sbox[word >> 8 & 255] << 8 |
	       (uint32_t)sbox[word >> 16 & 255] << 16 | (uint32_t)sbox[word >> 24] << 24;
}

/*
 * 3 generates the field's multiplicative group: p runs through the group, q through the inverses.
 */
static void make_sbox(void)
{
	uint8_t p = 1, q = 1;

	do {
		uint8_t s;

		p = (uint8_t)(p ^ times_x(p));
		q ^= (uint8_t)(q << 1);
		q ^= (uint8_t)(q << 2);
		q ^= (uint8_t)(q << 4);
		q ^= (uint8_t)(q & 0x80 ? 0x09 : 0);
		s = q;
		for (unsigned turn = 1; turn <= 4; turn++) {
			s ^= (uint8_t)(q << turn | q >> (8 - turn));
		}
		sbox[p] = s ^ 0x63;
	} while (p != 1);
	sbox[0] = 0x63;
}

/* The offset of word i of the expansion. */
static size_t place(const struct form *form, unsigned i)
{
	unsigned round = form->decryption ? form->rounds - i / 4 : i / 4;

	return round * ROUND_KEY_BYTES + i % 4 * 4;
}

static void make_forms(void)
{
	for (unsigned n = 0; n < FORMS; n++) {
		struct form *form = &forms[n];
		unsigned look;

		form->key_words = 4 + n / 2 * 2;
		form->rounds = form->key_words + 6;
		form->decryption = n % 2 != 0;
		form->bytes = (form->rounds + 1) * ROUND_KEY_BYTES;
		/* All three words lie in the inner round keys. */
		look = 2 * form->key_words + 1;
		form->first_look[0] = place(form, look);
		form->first_look[1] = place(form, look - 1);
		form->first_look[2] = place(form, look - form->key_words);
	}
}

static uint32_t word_at(const struct form *form, const uint8_t *at, unsigned i)
{
	uint32_t word = load(at + place(form, i));
	bool inner = i / 4 != 0 && i / 4 != form->rounds;

	return form->decryption && inner ? mix_column(word) : word;
}

static bool is_schedule(const struct form *form, const uint8_t *at)
{
	uint8_t constant = 1;

	for (unsigned i = form->key_words; i < 4 * (form->rounds + 1); i++) {
		uint32_t word = word_at(form, at, i - 1);

		if (i % form->key_words == 0) {
			word = substitute(rotate(word, 1)) ^ constant;
			constant = (uint8_t)times_x(constant);
		} else if (form->key_words == 8 && i % 8 == 4) {
			word = substitute(word);
		}
		if ((word ^ word_at(form, at, i - form->key_words)) != word_at(form, at, i)) {
			return false;
		}
	}
	return true;
}

void keyscan_round_keys(const uint8_t key[32], uint8_t out[KEYSCAN_ROUND_KEYS][16])
{
	const unsigned words = 60;
	uint8_t constant = 1;
	uint32_t word[60];

	make_sbox();
	memcpy(word, key, 32);
	for (unsigned i = 8; i < words; i++) {
		uint32_t t = word[i - 1];

		if (i % 8 == 0) {
			t = substitute(rotate(t, 1)) ^ constant;
			constant = (uint8_t)times_x(constant);
		} else if (i % 8 == 4) {
			t = substitute(t);
		}
		word[i] = word[i - 8] ^ t;
	}
	memcpy(out, word, sizeof(word));
	for (unsigned i = 4; i < words - 4; i++) {
		/* The fourth power of MixColumns changes nothing, so the third is its inverse. */
		const uint32_t inverse = mix_column(mix_column(mix_column(word[i])));

		memcpy(&out[14 + i / 4][i % 4 * 4], &inverse, sizeof(inverse));
	}
}

static void report(const struct form *form, const uint8_t *data, size_t offset,
		   keyscan_found *found, void *context)
{
	struct keyscan_hit hit = { .offset = offset,
				   .key_bytes = form->key_words * 4,
				   .decryption = form->decryption };

	for (unsigned i = 0; i < form->key_words; i++) {
		uint32_t word = word_at(form, data + offset, i);

		memcpy(hit.key + 4 * i, &word, sizeof(word));
	}
	found(context, &hit);
}

/* Most memory is zero, but the third round key never is, because no key byte is in it directly. */
static bool is_blank(const uint8_t *at)
{
	uint64_t words[2];

	memcpy(words, at + 2 * ROUND_KEY_BYTES, sizeof(words));
	return (words[0] | words[1]) == 0;
}

size_t keyscan(const uint8_t *data, size_t bytes, keyscan_found *found, void *context)
{
	size_t count = 0;

	make_sbox();
	make_forms();
	for (size_t at = 0; at + forms[0].bytes <= bytes; at++) {
		if (is_blank(data + at)) {
			continue;
		}
		for (unsigned n = 0; n < FORMS && at + forms[n].bytes <= bytes; n++) {
			const size_t *look = forms[n].first_look;

			if (load(data + at + look[0]) !=
				    (load(data + at + look[1]) ^ load(data + at + look[2])) ||
			    !is_schedule(&forms[n], data + at)) {
				continue;
			}
			report(&forms[n], data, at, found, context);
			count++;
		}
	}
	return count;
}
