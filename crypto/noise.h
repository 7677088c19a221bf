/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source of raw noise with the health tests of NIST SP 800-90B, section 4.4: a repetition count
 * over 64-bit words and an adaptive proportion test over bytes. A source that fails once is refused
 * for good. This code touches no hardware: the unit tests supply the noise.
 */
#ifndef UMBRA_CRYPTO_NOISE_H
#define UMBRA_CRYPTO_NOISE_H

#include "vmm/base/types.h"

/*
 * Both cut-offs give a false alarm once in 2^30, under an assumed min-entropy of 6 bits in each
 * byte (the hardware claims 8). Repetition: 1 + ceil(30 bits over 48 bits) words. Proportion: 1 +
 * CRITBINOM(512, 2^-6, 1 - 2^-30).
 */
#define NOISE_REPEAT_CUTOFF	2
#define NOISE_PROPORTION_WINDOW 512
#define NOISE_PROPORTION_CUTOFF 31

/* SP 800-90B, 4.3: at least 1,024 samples (bytes) are tested, and dropped, before the first use. */
#define NOISE_STARTUP_WORDS 128

struct noise_source {
	const char *name;
	/* Returns false if the source has no word ready. */
	bool (*read)(uint64_t *word);
	/* how many words together have enough entropy for a 256-bit seed */
	uint32_t words_per_seed;

	/* The fields below belong to noise.c and are zero at the start. */
	const char *refusal; /* why the source may not be used, in words; NULL: it is healthy */
	uint64_t last;
	uint32_t repeats;
	uint32_t window_seen;
	uint32_t window_matches;
	uint8_t window_sample;
};

/*
 * Runs the start-up test. Returns ERR_TIMEOUT if the source is silent, ERR_SELFTEST if it fails a
 * health test; source->refusal says why.
 */
int noise_start(struct noise_source *source);

/*
 * Fills words[] with words that passed the tests. Returns ERR_TIMEOUT if the source stays silent
 * through a bounded number of retries (it may recover), ERR_SELFTEST if it is refused. On failure
 * words[] is zero.
 */
int noise_read(struct noise_source *source, uint64_t *words, size_t count);

/*
 * Checks a seed that firmware made: it must have at least 32 bytes, and no two adjacent 64-bit
 * words may be equal. Returns the reason to refuse it, in words, or NULL.
 */
const char *noise_seed_refusal(const uint8_t *seed, size_t bytes);

#endif
