/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generator's state and its lock. Under this lock only the log's is taken. The lock is held
 * while noise is drawn, which takes some milliseconds at most.
 */
#include "crypto/rng.h"

#include "crypto/noise.h"
#include "crypto/simd.h"
#include "crypto/wipe.h"
#include "mbedtls/ctr_drbg.h"
#include "mbedtls/sha512.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/lock.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"

#define SHA512_BYTES 64

/*
 * 64 words of RDSEED, which is conditioned noise, have far more than 256 bits of entropy. RDRAND is
 * itself a generator that takes a new 256-bit seed at least every 511 outputs of 128 bits (Intel's
 * DRNG guide, "Generating Seeds from RDRAND"), so 2,048 words span at least two of its seeds.
 */
#define RDSEED_WORDS 64
#define RDRAND_WORDS 2048
#define CHUNK_WORDS  64 /* read and hashed at a time */

/*
 * How many requests, each of at most MBEDTLS_CTR_DRBG_MAX_REQUEST bytes, lie between two reseeds.
 */
#define RESEED_INTERVAL 1024

static struct {
	struct lock lock;
	mbedtls_ctr_drbg_context drbg;
	/* used once as the entropy, where the CPU has no source */
	uint8_t efi_digest[SHA512_BYTES];
	bool efi_digest_ready;
} rng;

static struct noise_source sources[] = {
	{ .name = "RDSEED", .read = cpu_rdseed64, .words_per_seed = RDSEED_WORDS },
	{ .name = "RDRAND", .read = cpu_rdrand64, .words_per_seed = RDRAND_WORDS },
};

static bool rng_ready;
static char rng_names[64] = "none";

/* Hashes one seed's worth of noise with SHA-512. */
static int hash_noise(struct noise_source *source, uint8_t digest[SHA512_BYTES])
{
	mbedtls_sha512_context sha;
	uint64_t words[CHUNK_WORDS];
	uint32_t done = 0;
	int ret;

	mbedtls_sha512_init(&sha);
	ret = mbedtls_sha512_starts(&sha, 0);
	while (ret == 0 && done < source->words_per_seed) {
		ret = noise_read(source, words, CHUNK_WORDS);
		if (ret == 0) {
			ret = mbedtls_sha512_update(&sha, (const uint8_t *)words, sizeof(words));
		}
		done += CHUNK_WORDS;
	}
	if (ret == 0) {
		ret = mbedtls_sha512_finish(&sha, digest);
	}
	mbedtls_sha512_free(&sha);
	secure_zero(words, sizeof(words));
	return ret;
}

/* mbedTLS calls this for the entropy of a seed or reseed. It takes any value but 0 as an error. */
static int draw_entropy(void *unused, unsigned char *out, size_t bytes)
{
	uint8_t digest[SHA512_BYTES];
	int ret = ERR_IO;
	size_t i;

	if (bytes > sizeof(digest)) {
		return ERR_INVAL;
	}
	for (i = 0; i < ARRAY_COUNT(sources) && ret != 0; i++) {
		bool was_good = sources[i].refusal == NULL;

		ret = was_good ? hash_noise(&sources[i], digest) : ERR_IO;
		if (was_good && sources[i].refusal != NULL) {
			log_error("crypto: %s failed its health test while running (%s) and is no "
				  "longer used",
				  sources[i].name, sources[i].refusal);
		}
	}
	if (ret != 0 && rng.efi_digest_ready) {
		memcpy(digest, rng.efi_digest, sizeof(digest));
		rng.efi_digest_ready = false;
		ret = 0;
	}
	if (ret == 0) {
		memcpy(out, digest, bytes);
	}
	secure_zero(digest, sizeof(digest));
	return ret;
}

static void add_name(const char *name)
{
	size_t used = strlen(rng_names);

	(void)str_printf(rng_names + used, sizeof(rng_names) - used, "%s%s",
			 used != 0 ? " and " : "", name);
}

/*
 * Chooses the first CPU source that passes. Appends to why the name and reason of each source that
 * is refused.
 */
static bool pick_cpu_source(char *why, size_t cap)
{
	bool offered[ARRAY_COUNT(sources)];
	bool found = false;
	size_t used = 0;
	size_t i;

	offered[0] = (cpu_cpuid(0, 0).eax >= 7 && (cpu_cpuid(7, 0).ebx & CPUID_7_EBX_RDSEED) != 0);
	offered[1] = (cpu_cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND) != 0;
	for (i = 0; i < ARRAY_COUNT(sources); i++) {
		if (!offered[i]) {
			sources[i].refusal = "not offered by this CPU";
		} else if (noise_start(&sources[i]) == 0 && !found) {
			add_name(sources[i].name);
			found = true;
		}
		if (sources[i].refusal != NULL) {
			used += str_printf(why + used, cap - used, "%s: %s; ", sources[i].name,
					   sources[i].refusal);
		}
	}
	return found;
}

/* Keeps a digest of firmware's seed, or sets *refusal to the reason not to. */
static bool take_efi_seed(uint8_t *seed, size_t bytes, const char **refusal)
{
	*refusal = bytes == 0 ? "not offered by firmware" : noise_seed_refusal(seed, bytes);
	if (*refusal == NULL && mbedtls_sha512(seed, bytes, rng.efi_digest, 0) == 0) {
		rng.efi_digest_ready = true;
		add_name("EFI_RNG");
	}
	if (bytes != 0) {
		secure_zero(seed, bytes);
	}
	return rng.efi_digest_ready;
}

/*
 * Seeds the DRBG. The personalisation string is the time, which is no secret, and firmware's seed
 * where the CPU gives the entropy.
 */
static int seed_generator(bool have_cpu_source)
{
	struct {
		uint8_t efi[SHA512_BYTES];
		uint64_t tsc;
	} custom = { .tsc = cpu_rdtsc() };
	struct simd_save save;
	int ret;

	if (have_cpu_source && rng.efi_digest_ready) {
		memcpy(custom.efi, rng.efi_digest, sizeof(custom.efi));
		secure_zero(rng.efi_digest, sizeof(rng.efi_digest));
		rng.efi_digest_ready = false;
	}
	mbedtls_ctr_drbg_init(&rng.drbg);
	simd_begin(&save);
	ret = mbedtls_ctr_drbg_seed(&rng.drbg, draw_entropy, NULL, (const uint8_t *)&custom,
				    sizeof(custom));
	simd_end(&save);
	secure_zero(&custom, sizeof(custom));
	/*
	 * EFI_RNG alone gives no noise for a reseed. SP 800-90A allows 2^48 requests without one.
	 */
	mbedtls_ctr_drbg_set_reseed_interval(&rng.drbg,
					     have_cpu_source ? RESEED_INTERVAL : INT32_MAX);
	secure_zero(rng.efi_digest, sizeof(rng.efi_digest));
	return ret == 0 ? 0 : ERR_IO;
}

int rng_init(uint8_t *efi_seed, size_t efi_seed_bytes)
{
	const char *efi_refusal;
	char why[128] = "";
	bool cpu_source, efi_source;
	int ret;

	ret = wipe_register(&rng.drbg, sizeof(rng.drbg));
	if (ret != 0) {
		return ret;
	}
	rng_names[0] = '\0';
	cpu_source = pick_cpu_source(why, sizeof(why));
	efi_source = take_efi_seed(efi_seed, efi_seed_bytes, &efi_refusal);
	if (!cpu_source && !efi_source) {
		(void)str_copy(rng_names, sizeof(rng_names), "none");
		log_warn("crypto: no source of randomness (%sEFI_RNG: %s); random keys are refused",
			 why, efi_refusal);
		return ERR_UNSUPPORTED;
	}
	ret = seed_generator(cpu_source);
	if (ret != 0) {
		log_warn("crypto: the random generator could not be seeded; random keys are "
			 "refused");
		return ret;
	}
	rng_ready = true;
	log_info("crypto: random numbers by CTR_DRBG, seeded from %s", rng_names);
	return 0;
}

int rng_bytes(void *buf, size_t bytes)
{
	struct simd_save save;
	uint8_t *out = buf;
	size_t done = 0;
	int ret = 0;

	if (!rng_ready) {
		secure_zero(buf, bytes);
		return ERR_UNSUPPORTED;
	}
	lock_take(&rng.lock, LOCK_RNG);
	simd_begin(&save);
	while (done < bytes && ret == 0) {
		size_t part = MIN(bytes - done, (size_t)MBEDTLS_CTR_DRBG_MAX_REQUEST);

		ret = mbedtls_ctr_drbg_random(&rng.drbg, out + done, part);
		done += part;
	}
	simd_end(&save);
	lock_drop(&rng.lock);
	if (ret != 0) {
		secure_zero(buf, bytes);
		return ERR_IO;
	}
	return 0;
}

int rng_reseed(void)
{
	struct simd_save save;
	int ret;

	if (!rng_ready) {
		return ERR_UNSUPPORTED;
	}
	lock_take(&rng.lock, LOCK_RNG);
	simd_begin(&save);
	ret = mbedtls_ctr_drbg_reseed(&rng.drbg, NULL, 0);
	simd_end(&save);
	lock_drop(&rng.lock);
	return ret == 0 ? 0 : ERR_IO;
}

const char *rng_sources(void)
{
	return rng_names;
}
