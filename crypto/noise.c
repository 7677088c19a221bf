/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/noise.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

/*
 * Intel's guide recommends 10 retries for RDRAND and at least 100 for RDSEED. All CPUs drain the
 * same generator, so more are allowed here.
 */
#define READ_RETRIES 1000

#define SEED_BYTES_MIN 32

static bool repetition_ok(struct noise_source *source, uint64_t word)
{
	if (source->repeats == 0 || word != source->last) {
		source->last = word;
		source->repeats = 1;
		return true;
	}
	source->repeats++;
	return source->repeats < NOISE_REPEAT_CUTOFF;
}

static bool proportion_ok(struct noise_source *source, uint8_t sample)
{
	if (source->window_seen == NOISE_PROPORTION_WINDOW) {
		source->window_seen = 0;
	}
	if (source->window_seen++ == 0) {
		source->window_sample = sample;
		source->window_matches = 1;
		return true;
	}
	if (sample == source->window_sample) {
		source->window_matches++;
	}
	return source->window_matches < NOISE_PROPORTION_CUTOFF;
}

static int test_word(struct noise_source *source, uint64_t word)
{
	unsigned shift;

	if (!repetition_ok(source, word)) {
		source->refusal = "stuck: it repeats itself";
		return ERR_SELFTEST;
	}
	for (shift = 0; shift < 64; shift += 8) {
		if (!proportion_ok(source, (uint8_t)(word >> shift))) {
			source->refusal = "biased: one value comes too often";
			return ERR_SELFTEST;
		}
	}
	return 0;
}

static int read_word(struct noise_source *source, uint64_t *word)
{
	unsigned i;

	for (i = 0; i < READ_RETRIES; i++) {
		if (source->read(word)) {
			return test_word(source, *word);
		}
		cpu_pause();
	}
	return ERR_TIMEOUT;
}

int noise_read(struct noise_source *source, uint64_t *words, size_t count)
{
	int ret = source->refusal != NULL ? ERR_SELFTEST : 0;
	size_t i;

	for (i = 0; i < count && ret == 0; i++) {
		ret = read_word(source, &words[i]);
	}
	if (ret != 0) {
		secure_zero(words, count * sizeof(words[0]));
	}
	return ret;
}

int noise_start(struct noise_source *source)
{
	uint64_t word = 0;
	int ret = 0;
	unsigned i;

	for (i = 0; i < NOISE_STARTUP_WORDS && ret == 0; i++) {
		ret = noise_read(source, &word, 1);
	}
	secure_zero(&word, sizeof(word));
	if (ret == ERR_TIMEOUT) {
		source->refusal = "silent: it gave nothing";
	}
	return ret;
}

const char *noise_seed_refusal(const uint8_t *seed, size_t bytes)
{
	size_t i;

	if (bytes < SEED_BYTES_MIN) {
		return "too short";
	}
	for (i = 8; i + 8 <= bytes; i += 8) {
		if (ct_equal(seed + i - 8, seed + i, 8)) {
			return "stuck: it repeats itself";
		}
	}
	return NULL;
}
