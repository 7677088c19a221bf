/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source of raw noise with the health tests of NIST SP 800-90B, section 4.4: a repetition count
 * over 64-bit words and an adaptive proportion test over bytes. A source that fails once is refused
 * for good. Pure logic: the unit tests feed it noise of their own.
 */
#ifndef UMBRA_CRYPTO_NOISE_H
#define UMBRA_CRYPTO_NOISE_H

#include "vmm/base/types.h"

/*
 * Both cut-offs are for a false alarm once in 2^30 and an assumed min-entropy of 6 bits in each
 * byte (the hardware claims 8). Repetition: 1 + ceil(30 / 48) words. Proportion: 1 +
 * CRITBINOM(512, 2^-6, 1 - 2^-30).
 */
#define NOISE_REPEAT_CUTOFF	2
#define NOISE_PROPORTION_WINDOW 512
#define NOISE_PROPORTION_CUTOFF 31

/* SP 800-90B, 4.3: at least 1,024 samples (bytes) are tested, and dropped, before the first use. */
#define NOISE_STARTUP_WORDS 128

struct noise_source {
	const char *name;
	/* False when it has nothing to give just now. */
	bool (*read)(uint64_t *word);
	/* Words that together are worth a 256-bit seed. */
	uint32_t words_per_seed;

	/* noise.c's own; zero at start. */
	const char *refusal; /* why it may not be used, in words; NULL: healthy */
	uint64_t last;
	uint32_t repeats;
	uint32_t window_seen;
	uint32_t window_matches;
	uint8_t window_sample;
};

/*
 * The start-up test. ERR_TIMEOUT (the source is silent) or ERR_SELFTEST; source->refusal says
 * why.
 */
int noise_start(struct noise_source *source);

/*
 * Fills words[]; each passes the tests first. ERR_TIMEOUT when the source stays silent through a
 * bounded number of retries (it may recover), ERR_SELFTEST when it is refused. On failure words[]
 * is zero.
 */
int noise_read(struct noise_source *source, uint64_t *words, size_t count);

/*
 * A sanity check of a seed from another source: at least 32 bytes, no two equal words in a
 * row. The reason in words, or NULL when it passes.
 */
const char *noise_seed_refusal(const uint8_t *seed, size_t bytes);

#endif
