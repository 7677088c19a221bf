/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The random generator: which sources it uses, what it logs about the others, reseeding, and what
 * follows a failure. rng.c is included, so that each case starts with a fresh generator.
 */
#include "tests/unit/test.h"
#include "crypto/simd.h"
#include "mbedtls/sha512.h"

/* The host's memcpy leaves what it copied in vector registers, which must not get to the stack. */
void simd_begin(struct simd_save *save)
{
}

void simd_end(const struct simd_save *save)
{
}

#include "crypto/rng.c"

enum { OFF, GOOD, STUCK, SILENT };

static int rdseed_mode, rdrand_mode;
static uint64_t rdseed_calls, rdrand_calls;
static uint64_t noise_state;

static bool give(int mode, uint64_t *word)
{
	uint64_t z = noise_state += 0x9e3779b97f4a7c15ul;

	assert_int_not_equal(mode, OFF); /* the instruction would fault */
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ul;
	z = (z ^ z >> 27) * 0x94d049bb133111ebul;
	*word = mode == STUCK ? UINT64_MAX : z ^ z >> 31;
	return mode != SILENT;
}

bool fake_rdseed64(uint64_t *word)
{
	rdseed_calls++;
	return give(rdseed_mode, word);
}

bool fake_rdrand64(uint64_t *word)
{
	rdrand_calls++;
	return give(rdrand_mode, word);
}

/* Sets up a machine with these generators, and resets the module. */
static void fresh(int rdseed, int rdrand)
{
	fake_reset();
	wipe_unregister(&rng.drbg);
	memset(&rng, 0, sizeof(rng));
	rng_ready = false;
	for (size_t i = 0; i < ARRAY_COUNT(sources); i++) {
		sources[i] = (struct noise_source){
			.name = sources[i].name,
			.read = sources[i].read,
			.words_per_seed = sources[i].words_per_seed,
		};
	}
	rdseed_mode = rdseed;
	rdrand_mode = rdrand;
	rdseed_calls = rdrand_calls = 0;
	noise_state = 42;
	fake_cpuid_set(0, 0, 7, 0, 0, 0);
	fake_cpuid_set(1, 0, 0, 0, rdrand != OFF ? CPUID_1_ECX_RDRAND : 0, 0);
	fake_cpuid_set(7, 0, 0, rdseed != OFF ? CPUID_7_EBX_RDSEED : 0, 0, 0);
}

static void make_seed(uint8_t seed[64], uint8_t salt)
{
	for (unsigned i = 0; i < 64; i++) {
		seed[i] = (uint8_t)(i * 5 + salt);
	}
}

TEST(nothing_works_without_a_source, fake_setup, fake_teardown)
{
	uint8_t buf[8] = { 1 };

	fresh(OFF, OFF);
	assert_int_equal(rng_bytes(buf, sizeof(buf)), ERR_UNSUPPORTED);
	assert_int_equal(rng_init(NULL, 0), ERR_UNSUPPORTED);
	assert_non_null(strstr(fake_log_text(), "no source of randomness (RDSEED: not offered by "
						"this CPU; RDRAND: not offered by this CPU; "
						"EFI_RNG: not offered by firmware)"));
	assert_string_equal(rng_sources(), "none");
	buf[0] = 1;
	assert_int_equal(rng_bytes(buf, sizeof(buf)), ERR_UNSUPPORTED);
	assert_int_equal(buf[0], 0);
	assert_int_equal(rng_reseed(), ERR_UNSUPPORTED);
}

struct choice_case {
	int rdseed, rdrand;
	bool efi;
	const char *names; /* NULL: start-up fails */
};

TEST(takes_the_best_source_that_passes, fake_setup, fake_teardown)
{
	static const struct choice_case cases[] = {
		{ GOOD, GOOD, true, "RDSEED and EFI_RNG" },
		{ GOOD, GOOD, false, "RDSEED" },
		{ OFF, GOOD, false, "RDRAND" },
		{ STUCK, GOOD, false, "RDRAND" },
		{ SILENT, GOOD, true, "RDRAND and EFI_RNG" },
		{ STUCK, STUCK, true, "EFI_RNG" },
		{ STUCK, STUCK, false, NULL },
		{ SILENT, SILENT, false, NULL },
		{ OFF, OFF, true, "EFI_RNG" },
	};
	uint8_t seed[64], zero[64] = { 0 }, a[64], b[64];

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct choice_case *c = &cases[i];
		int ret;

		fresh(c->rdseed, c->rdrand);
		make_seed(seed, 9);
		ret = rng_init(c->efi ? seed : NULL, c->efi ? sizeof(seed) : 0);
		assert_int_equal(ret, c->names != NULL ? 0 : ERR_UNSUPPORTED);
		assert_string_equal(rng_sources(), c->names != NULL ? c->names : "none");
		if (c->efi) {
			assert_memory_equal(seed, zero, sizeof(seed));
		}
		if (c->names != NULL) {
			assert_non_null(strstr(fake_log_text(), c->names));
			assert_int_equal(rng_bytes(a, sizeof(a)), 0);
			assert_int_equal(rng_bytes(b, sizeof(b)), 0);
			assert_memory_not_equal(a, b, sizeof(a));
		}
	}
}

static uint8_t efi_seed[64];

static void init_by_efi(void)
{
	(void)rng_init(efi_seed, sizeof(efi_seed));
}

TEST(neither_stack_nor_module_keeps_firmwares_seed, fake_setup, fake_teardown)
{
	static const uint8_t zero[64];
	uint8_t hash[64];

	for (int rdseed = OFF; rdseed <= GOOD; rdseed++) {
		fresh(rdseed, OFF);
		make_seed(efi_seed, 9);
		assert_int_equal(mbedtls_sha512(efi_seed, sizeof(efi_seed), hash, 0), 0);
		assert_false(fake_stack_keeps(init_by_efi, hash, 16));
		assert_memory_equal(rng.efi_digest, zero, sizeof(zero));
		assert_true(rng_ready);
	}
}

static void reseed(void)
{
	(void)rng_reseed();
}

static uint8_t drawn[48];

static void draw(void)
{
	(void)draw_entropy(NULL, drawn, sizeof(drawn));
}

/* The words that RDSEED gives next. */
static void next_words(uint64_t *words, size_t count)
{
	const uint64_t state = noise_state;

	for (size_t i = 0; i < count; i++) {
		(void)give(GOOD, &words[i]);
	}
	noise_state = state;
}

/* Neither what RDSEED gave nor its hash, which is the seed. */
TEST(the_stack_keeps_no_seed, fake_setup, fake_teardown)
{
	uint64_t words[RDSEED_WORDS];
	uint8_t hash[64];

	fresh(GOOD, OFF);
	assert_int_equal(rng_init(NULL, 0), 0);
	next_words(words, RDSEED_WORDS);
	assert_false(fake_stack_keeps(reseed, words, 16));
	next_words(words, RDSEED_WORDS);
	assert_int_equal(mbedtls_sha512((uint8_t *)words, sizeof(words), hash, 0), 0);
	assert_false(fake_stack_keeps(draw, hash, 16));
	assert_memory_equal(drawn, hash, sizeof(drawn));
}

TEST(says_why_a_source_is_refused, fake_setup, fake_teardown)
{
	uint8_t seed[64] = { 0 };

	fresh(STUCK, SILENT);
	assert_int_equal(rng_init(seed, sizeof(seed)), ERR_UNSUPPORTED);
	assert_non_null(strstr(fake_log_text(), "RDSEED: stuck: it repeats itself; RDRAND: silent: "
						"it gave nothing; EFI_RNG: stuck"));
}

/* The first random bytes for a given noise sequence and firmware seed. */
static void first_bytes(int rdseed, bool efi, uint8_t salt, uint8_t out[32])
{
	uint8_t seed[64];

	fresh(rdseed, OFF);
	make_seed(seed, salt);
	assert_int_equal(rng_init(efi ? seed : NULL, efi ? sizeof(seed) : 0), 0);
	assert_int_equal(rng_bytes(out, 32), 0);
}

TEST(output_depends_on_noise_and_on_firmware, fake_setup, fake_teardown)
{
	uint8_t a[32], b[32];

	first_bytes(GOOD, true, 1, a);
	first_bytes(GOOD, true, 1, b);
	assert_memory_equal(a, b, 32); /* no other input: the time stands still here */
	first_bytes(GOOD, true, 2, b);
	assert_memory_not_equal(a, b, 32);
	first_bytes(OFF, true, 1, b);
	assert_memory_not_equal(a, b, 32);
	first_bytes(OFF, true, 2, a);
	assert_memory_not_equal(a, b, 32);
}

TEST(long_requests_are_filled_to_the_end, fake_setup, fake_teardown)
{
	static uint8_t buf[5000], zero[16];

	fresh(GOOD, OFF);
	assert_int_equal(rng_init(NULL, 0), 0);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(rng_bytes(buf, 4999), 0);
	for (size_t i = 0; i + 16 <= 4999; i += 16) {
		assert_memory_not_equal(buf + i, zero, 16);
	}
	assert_int_equal(buf[4999], 0);
	assert_int_equal(rng_bytes(buf, 0), 0);
}

TEST(reseeds_by_itself_and_on_demand, fake_setup, fake_teardown)
{
	uint64_t before;
	uint8_t byte;

	fresh(GOOD, GOOD);
	assert_int_equal(rng_init(NULL, 0), 0);
	before = rdseed_calls;
	assert_int_equal(rng_reseed(), 0);
	assert_int_equal(rdseed_calls, before + RDSEED_WORDS);
	for (unsigned i = 0; i < RESEED_INTERVAL; i++) {
		assert_int_equal(rng_bytes(&byte, 1), 0);
	}
	assert_int_equal(rdseed_calls, before + RDSEED_WORDS);
	assert_int_equal(rng_bytes(&byte, 1), 0);
	assert_int_equal(rng_bytes(&byte, 1), 0);
	assert_int_equal(rdseed_calls, before + 2 * RDSEED_WORDS);
}

TEST(falls_over_to_rdrand_while_running, fake_setup, fake_teardown)
{
	uint64_t before;

	fresh(GOOD, GOOD);
	assert_int_equal(rng_init(NULL, 0), 0);
	before = rdrand_calls;
	rdseed_mode = STUCK;
	assert_int_equal(rng_reseed(), 0);
	assert_int_equal(rdrand_calls, before + RDRAND_WORDS);
	assert_non_null(strstr(fake_log_text(), "RDSEED failed its health test while running"));
	before = rdseed_calls;
	rdseed_mode = GOOD;
	assert_int_equal(rng_reseed(), 0);
	assert_int_equal(rdseed_calls, before); /* a refused source is never used again */
}

TEST(no_bytes_without_a_due_reseed, fake_setup, fake_teardown)
{
	uint8_t buf[16], zero[16] = { 0 };
	int ret = 0;

	fresh(GOOD, OFF);
	assert_int_equal(rng_init(NULL, 0), 0);
	rdseed_mode = SILENT;
	assert_int_equal(rng_reseed(), ERR_IO);
	for (unsigned i = 0; i <= RESEED_INTERVAL + 1 && ret == 0; i++) {
		ret = rng_bytes(buf, sizeof(buf));
	}
	assert_int_equal(ret, ERR_IO);
	assert_memory_equal(buf, zero, sizeof(buf));
	rdseed_mode = GOOD;
	assert_int_equal(rng_bytes(buf, sizeof(buf)), 0);
}

TEST(firmware_seed_is_used_once, fake_setup, fake_teardown)
{
	uint8_t seed[64], byte;

	fresh(OFF, OFF);
	make_seed(seed, 3);
	assert_int_equal(rng_init(seed, sizeof(seed)), 0);
	assert_int_equal(rng_reseed(), ERR_IO);
	for (unsigned i = 0; i < 3 * RESEED_INTERVAL; i++) {
		assert_int_equal(rng_bytes(&byte, 1), 0);
	}
}

TEST(wiping_takes_the_state, fake_setup, fake_teardown)
{
	static const mbedtls_ctr_drbg_context zero;

	fresh(GOOD, OFF);
	assert_int_equal(rng_init(NULL, 0), 0);
	assert_memory_not_equal(&rng.drbg, &zero, sizeof(zero));
	wipe_all();
	assert_memory_equal(&rng.drbg, &zero, sizeof(zero));
	for (size_t i = 0; i < sizeof(rng.efi_digest); i++) {
		assert_int_equal(rng.efi_digest[i], 0);
	}
}
