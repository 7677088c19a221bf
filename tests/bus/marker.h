/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbered markers: 16-byte blocks that a guest computes at run time, so that no image contains
 * them, and that a scanner recognises wherever they are. A marked page is full of blocks with its
 * number.
 */
#ifndef UMBRA_TEST_MARKER_H
#define UMBRA_TEST_MARKER_H

#include <stdbool.h>
#include <stdint.h>

#define MARKER_BASE	   0x6d61726b65727300u
#define MARKER_NUMBERS	   (1u << 20)
#define MARKER_PAGE_BLOCKS 256u

struct marker {
	uint64_t first;	 /* the number, mixed */
	uint64_t second; /* the number and the index of the block in its page */
};

/* The finisher of splitmix64, which is a bijection. */
static inline uint64_t marker_mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/*
 * The inverse of marker_mix: multiplies by the factors' inverses modulo 2^64, and undoes the
 * shifts.
 */
static inline uint64_t marker_unmix(uint64_t z)
{
	z = (z ^ z >> 31 ^ z >> 62) * 0x319642b2d24d8ec3;
	z = (z ^ z >> 27 ^ z >> 54) * 0x96de1b173f119089;
	return z ^ z >> 30 ^ z >> 60;
}

static inline struct marker marker_make(uint64_t number, uint64_t block)
{
	uint64_t first = marker_mix(MARKER_BASE + number);

	return (struct marker){ first, marker_mix(first + 1 + block) };
}

/* True, with its number, for a marker. One in 2^100 other blocks would pass by chance. */
static inline bool marker_read(const struct marker *marker, uint64_t *number)
{
	*number = marker_unmix(marker->first) - MARKER_BASE;
	return *number < MARKER_NUMBERS &&
	       marker_unmix(marker->second) - marker->first - 1 < MARKER_PAGE_BLOCKS;
}

#endif
