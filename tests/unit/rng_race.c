/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that draw random numbers, reseed the generator, and register memory to be wiped, under
 * ThreadSanitizer. Tests the product's crypto/rng.c and crypto/wipe.c with a fake generator, whose
 * state is plain words. Two draws that return the same number, and a lost number, are detected too.
 * Exits with 0 on success.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/noise.h"
#include "crypto/rng.h"
#include "crypto/simd.h"
#include "crypto/wipe.h"
#include "mbedtls/ctr_drbg.h"
#include "mbedtls/sha512.h"
#include "tests/unit/race_cpus.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/host/ending.h"

#define STEPS 20000u

static uint64_t drawn, reseeds, total;

/* --- A generator that counts --- */

void mbedtls_ctr_drbg_init(mbedtls_ctr_drbg_context *ctx)
{
	memset(ctx, 0, sizeof(*ctx));
}

int mbedtls_ctr_drbg_seed(mbedtls_ctr_drbg_context *ctx,
			  int (*entropy)(void *, unsigned char *, size_t), void *p_entropy,
			  const unsigned char *custom, size_t len)
{
	return 0;
}

void mbedtls_ctr_drbg_set_reseed_interval(mbedtls_ctr_drbg_context *ctx, int interval)
{
}

int mbedtls_ctr_drbg_random(void *p_rng, unsigned char *output, size_t output_len)
{
	drawn++;
	memcpy(output, &drawn, output_len);
	return 0;
}

int mbedtls_ctr_drbg_reseed(mbedtls_ctr_drbg_context *ctx, const unsigned char *additional,
			    size_t len)
{
	reseeds++;
	return 0;
}

void mbedtls_sha512_init(mbedtls_sha512_context *ctx)
{
}

void mbedtls_sha512_free(mbedtls_sha512_context *ctx)
{
}

int mbedtls_sha512_starts(mbedtls_sha512_context *ctx, int is384)
{
	return 0;
}

int mbedtls_sha512_update(mbedtls_sha512_context *ctx, const unsigned char *input, size_t ilen)
{
	return 0;
}

int mbedtls_sha512_finish(mbedtls_sha512_context *ctx, unsigned char *output)
{
	return 0;
}

int mbedtls_sha512(const unsigned char *input, size_t ilen, unsigned char *output, int is384)
{
	return 0;
}

int noise_start(struct noise_source *source)
{
	return 0;
}

int noise_read(struct noise_source *source, uint64_t *words, size_t count)
{
	return 0;
}

const char *noise_seed_refusal(const uint8_t *seed, size_t bytes)
{
	return NULL;
}

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	return (struct cpuid_regs){ .eax = 7, .ebx = UINT32_MAX, .ecx = UINT32_MAX };
}

bool fake_rdseed64(uint64_t *word)
{
	return false;
}

bool fake_rdrand64(uint64_t *word)
{
	return false;
}

/* --- CPUs --- */

static void run(void)
{
	uint64_t last = 0, number;
	uint8_t secret[16];

	for (uint32_t i = 0; i < STEPS; i++) {
		if (race_random(8) == 0) {
			(void)rng_reseed();
		}
		if (rng_bytes(&number, sizeof(number)) != 0 || number <= last) {
			race_broken("CPU %u drew %lu after %lu", race_self, number, last);
		}
		last = number;
		race_count(&total);
		if (wipe_register(secret, sizeof(secret)) != 0) {
			race_broken("there is no room to register a secret");
		}
		wipe_unregister(secret);
	}
}

int main(void)
{
	uint32_t areas;

	if (rng_init(NULL, 0) != 0) {
		race_broken("no generator");
	}
	areas = wipe_count();
	race_run(run);
	if (drawn != total || wipe_count() != areas) {
		race_broken("%lu numbers for %lu draws; %u areas, not %u", drawn, total,
			    wipe_count(), areas);
	}
	printf("%lu numbers, %lu reseeds\n", drawn, reseeds);
	return 0;
}
