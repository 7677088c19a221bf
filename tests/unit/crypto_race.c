/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that derive keys, encrypt with one key, and use mbedTLS' heap slots at the same time, under
 * ThreadSanitizer, with the product's mbedTLS and crypto/mbedtls_port.c. The CPU that has a slot
 * writes its own words to it without ordering: if two CPUs have the same slot, that is a data race.
 * At the end all slots must be free again. Exits with 0 on success.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/aes_xts.h"
#include "crypto/kdf.h"
#include "crypto/mbedtls_config.h"
#include "crypto/simd.h"
#include "crypto/wipe.h"
#include "tests/unit/race_cpus.h"
#include "vmm/base/cpu.h"
#include "vmm/host/ending.h"

#define STEPS 4000u
#define HOLD  32u /* slots at most for each CPU: together they want more than there are */
#define WORDS 32u
#define SLOTS 64u

static const uint8_t secret[64] = { 1, 2, 3 }, tweak[AES_XTS_TWEAK_BYTES];
static struct aes_xts_key key;
static uint8_t derived[32], cipher[64];
static uint64_t slots_taken, refusals;
static _Thread_local uint64_t *held[HOLD];

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	return (struct cpuid_regs){ 0 };
}

static void step_slot(uint64_t **slot)
{
	const uint64_t before = *slot == NULL ? 0 : race_self + 1;

	if (*slot == NULL) {
		*slot = crypto_calloc(WORDS, 8);
	}
	if (*slot == NULL) {
		race_count(&refusals);
		return;
	}
	for (uint32_t i = 0; i < WORDS; i++) {
		if ((*slot)[i] != before) {
			race_broken("CPU %u finds %lu in a slot, not %lu", race_self, (*slot)[i],
				    before);
		}
		(*slot)[i] = race_self + 1;
	}
	if (before != 0) {
		crypto_free(*slot);
		*slot = NULL;
	} else {
		race_count(&slots_taken);
	}
}

/* Fails only while too few slots are free. */
static void derive(void)
{
	uint8_t out[sizeof(derived)];

	if (kdf_derive(secret, sizeof(secret), NULL, "race", out, sizeof(out)) != 0) {
		race_count(&refusals);
	} else if (memcmp(out, derived, sizeof(out)) != 0) {
		race_broken("CPU %u derived another key", race_self);
	}
}

static void encrypt(void)
{
	uint8_t out[sizeof(cipher)];

	if (aes_xts_encrypt(&key, tweak, secret, out, sizeof(out)) != 0 ||
	    memcmp(out, cipher, sizeof(out)) != 0) {
		race_broken("CPU %u encrypted to something else", race_self);
	}
}

static void run(void)
{
	for (uint32_t i = 0; i < STEPS; i++) {
		switch (race_random(8)) {
		case 0: derive(); break;
		case 1: encrypt(); break;
		default: step_slot(&held[race_random(HOLD)]);
		}
	}
	for (uint32_t i = 0; i < HOLD; i++) {
		if (held[i] != NULL) {
			step_slot(&held[i]);
		}
	}
}

int main(void)
{
	uint32_t areas;

	if (kdf_derive(secret, sizeof(secret), NULL, "race", derived, sizeof(derived)) != 0 ||
	    aes_xts_set_key(&key, secret, sizeof(secret)) != 0 ||
	    aes_xts_encrypt(&key, tweak, secret, cipher, sizeof(cipher)) != 0) {
		race_broken("no keys");
	}
	areas = wipe_count();
	race_run(run);
	for (uint32_t i = 0; i < SLOTS; i++) {
		if (crypto_calloc(WORDS, 8) == NULL) {
			race_broken("%u slots of %u are free", i, SLOTS);
		}
	}
	printf("%lu slots, %lu times there was none\n", slots_taken, refusals);
	if (wipe_count() != areas || slots_taken < 1000 || refusals < 100) {
		race_broken("too little happened");
	}
	return 0;
}
