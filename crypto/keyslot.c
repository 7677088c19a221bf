/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/keyslot.h"

#include "crypto/kdf.h"
#include "crypto/pconfig.h"
#include "crypto/rng.h"
#include "crypto/tme.h"
#include "crypto/wipe.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/log.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"

#define KEY_LABEL    "umbra tme-mk key"
#define DIGEST_LABEL "umbra tme-mk key digest"
#define DIGEST_BYTES 32

/*
 * KeyIDs beyond these are not used: their slots would take more than 52 pages of the hypervisor's
 * memory.
 */
#define SLOTS_MAX 2047u

struct slot {
	struct keyslot_info info;
	bool has_digest; /* a directly given key is, or may be, in the CPU */
	uint8_t digest[DIGEST_BYTES];
};

static struct slot *slots; /* of KeyIDs 1 to slot_count */
static uint32_t slot_count;
static uint32_t last_taken; /* index; the search for the next slot starts after it */

static struct slot *slot_of(keyid_t keyid)
{
	CHECK(keyid != 0 && keyid <= slot_count);
	return &slots[keyid - 1];
}

static keyid_t keyid_of(const struct slot *slot)
{
	return (keyid_t)(slot - slots + 1);
}

/* Every change of state goes through here. */
static void enter(struct slot *slot, enum keyslot_state state)
{
	slot->info.state = state;
	slot->info.since = cpu_rdtsc();
}

static bool can_be_taken(const struct slot *slot)
{
	return slot->info.state == KEYSLOT_FREE || slot->info.state == KEYSLOT_DEAD;
}

int keyslot_init(void)
{
	const uint32_t found = tme_state()->keyid_count;
	const uint32_t count = MIN(found, SLOTS_MAX);
	const size_t pages = ALIGN_UP(count * sizeof(*slots), PAGE_SIZE) / PAGE_SIZE;
	int err;

	if (count == 0) {
		return 0;
	}
	slots = page_alloc(pages);
	err = slots != NULL ? pconfig_init() : ERR_NOMEM;
	if (err == 0) {
		err = wipe_register(slots, count * sizeof(*slots));
	}
	if (err != 0) {
		log_error("no KeyID can be used: the hypervisor's own memory is used up");
		page_free(slots, pages);
		slots = NULL;
		return err;
	}
	slot_count = count;
	last_taken = count - 1;
	if (count < found) {
		log_warn("%u of %u KeyIDs are used", count, found);
	}
	return 0;
}

/* --- Keys --- */

/*
 * Derives a tenant's keys. The salt is fresh at each start, so two starts from one secret get
 * different keys and write different ciphertext.
 */
static int derive(const uint8_t *secret, size_t secret_bytes, struct pconfig_keys *keys)
{
	uint8_t salt[KDF_SALT_BYTES];
	int err = rng_bytes(salt, sizeof(salt));

	if (err == 0) {
		err = kdf_derive(secret, secret_bytes, salt, KEY_LABEL, (uint8_t *)keys,
				 sizeof(*keys));
	}
	secure_zero(salt, sizeof(salt));
	return err;
}

/* Hashes the part of the keys that the CPU uses. Only this digest is kept, never the keys. */
static int digest(const struct pconfig_keys *keys, uint8_t out[DIGEST_BYTES])
{
	const size_t bytes = tme_state()->xts256 ? 32 : 16;
	uint8_t used[sizeof(*keys)] = { 0 };
	int err;

	memcpy(used, keys->data, bytes);
	memcpy(used + PCONFIG_KEY_BYTES, keys->tweak, bytes);
	err = kdf_derive(used, sizeof(used), NULL, DIGEST_LABEL, out, DIGEST_BYTES);
	secure_zero(used, sizeof(used));
	return err;
}

/* If two KeyIDs had the same key, equal pages at one address would have equal ciphertext. */
static int check_unlike_others(const struct pconfig_keys *keys, const uint8_t sum[DIGEST_BYTES])
{
	const size_t bytes = tme_state()->xts256 ? 32 : 16;

	if (ct_equal(keys->data, keys->tweak, bytes)) {
		log_error("a key's two halves are equal: it is not used");
		return ERR_EXISTS;
	}
	for (uint32_t i = 0; i < slot_count; i++) {
		if (slots[i].has_digest && ct_equal(slots[i].digest, sum, DIGEST_BYTES)) {
			log_error("KeyID %u has this very key: it is not used twice", i + 1);
			return ERR_EXISTS;
		}
	}
	return 0;
}

/* Fills keys. For a directly given key fills sum as well. */
static int make_keys(enum keyslot_mode mode, const uint8_t *secret, size_t secret_bytes,
		     struct pconfig_keys *keys, uint8_t sum[DIGEST_BYTES])
{
	int err;

	if ((mode == KEYSLOT_DIRECT) != (secret != NULL && secret_bytes != 0)) {
		return ERR_INVAL;
	}
	switch (mode) {
	case KEYSLOT_RANDOM: return rng_bytes(keys, sizeof(*keys));
	case KEYSLOT_DIRECT:
		err = derive(secret, secret_bytes, keys);
		if (err == 0) {
			err = digest(keys, sum);
		}
		return err != 0 ? err : check_unlike_others(keys, sum);
	case KEYSLOT_NO_ENCRYPT: return 0;
	default: return ERR_INVAL;
	}
}

/*
 * Overwrites the key on every package with a random one. CLEAR_KEY is not used: under bypass it
 * means plaintext. The CPU mixes in its own random numbers, which are enough, so a failure of our
 * generator is ignored.
 */
static int erase(struct slot *slot)
{
	struct pconfig_keys noise;
	int err;

	(void)rng_bytes(&noise, sizeof(noise));
	err = pconfig_program(keyid_of(slot), PCONFIG_SET_KEY_RANDOM, &noise, &slot->info.packages);
	secure_zero(&noise, sizeof(noise));
	if (err == 0) {
		slot->has_digest = false;
		secure_zero(slot->digest, sizeof(slot->digest));
	}
	return err;
}

/* --- Life --- */

static void quarantine(struct slot *slot)
{
	enter(slot, KEYSLOT_QUARANTINED);
	log_error("KeyID %u is never used again: PCONFIG failed on it, for the reason above",
		  keyid_of(slot));
}

static struct slot *next_to_take(void)
{
	for (uint32_t i = 1; i <= slot_count; i++) {
		const uint32_t at = (last_taken + i) % slot_count;

		if (can_be_taken(&slots[at])) {
			last_taken = at;
			return &slots[at];
		}
	}
	return NULL;
}

static int program(struct slot *slot, enum keyslot_mode mode, const struct pconfig_keys *keys,
		   const uint8_t sum[DIGEST_BYTES])
{
	static const enum pconfig_command commands[] = {
		[KEYSLOT_RANDOM] = PCONFIG_SET_KEY_RANDOM,
		[KEYSLOT_DIRECT] = PCONFIG_SET_KEY_DIRECT,
		[KEYSLOT_NO_ENCRYPT] = PCONFIG_NO_ENCRYPT,
	};

	slot->info.mode = mode;
	slot->has_digest = mode == KEYSLOT_DIRECT;
	if (slot->has_digest) {
		memcpy(slot->digest, sum, DIGEST_BYTES);
	}
	return pconfig_program(keyid_of(slot), commands[mode],
			       mode == KEYSLOT_NO_ENCRYPT ? NULL : keys, &slot->info.packages);
}

/* Tries slot after slot until one has the key on every package. */
static int take_one(enum keyslot_mode mode, const struct pconfig_keys *keys,
		    const uint8_t sum[DIGEST_BYTES], struct slot **out)
{
	struct slot *slot = next_to_take();
	int err = ERR_NOSPACE;

	while (slot != NULL) {
		err = program(slot, mode, keys, sum);
		if (err == 0) {
			*out = slot;
			return 0;
		}
		slot->has_digest = slot->has_digest && slot->info.packages != 0;
		if (slot->info.packages != 0) {
			(void)erase(slot); /* on the packages where it succeeds */
		}
		quarantine(slot);
		slot = next_to_take();
	}
	return err;
}

int keyslot_take(enum keyslot_mode mode, const uint8_t *secret, size_t secret_bytes,
		 const char *owner, keyid_t *keyid)
{
	struct pconfig_keys keys;
	uint8_t sum[DIGEST_BYTES] = { 0 };
	struct slot *slot = NULL;
	int err = make_keys(mode, secret, secret_bytes, &keys, sum);

	*keyid = KEYID_PLATFORM;
	if (err == 0) {
		err = take_one(mode, &keys, sum, &slot);
	}
	secure_zero(&keys, sizeof(keys));
	secure_zero(sum, sizeof(sum));
	if (err != 0) {
		return err;
	}
	slot->info.generation++;
	(void)str_copy(slot->info.owner, sizeof(slot->info.owner), owner);
	enter(slot, KEYSLOT_PROGRAMMED);
	*keyid = keyid_of(slot);
	return 0;
}

void keyslot_use(keyid_t keyid)
{
	struct slot *slot = slot_of(keyid);

	CHECK(slot->info.state == KEYSLOT_PROGRAMMED || slot->info.state == KEYSLOT_IN_USE);
	if (slot->info.users++ == 0) {
		enter(slot, KEYSLOT_IN_USE);
	}
}

void keyslot_unuse(keyid_t keyid)
{
	struct slot *slot = slot_of(keyid);

	CHECK(slot->info.state == KEYSLOT_PROGRAMMED || slot->info.state == KEYSLOT_IN_USE);
	if (slot->info.users != 0) {
		slot->info.users--;
	}
	if (slot->info.users == 0) {
		enter(slot, KEYSLOT_RETIRING);
	}
}

static uint32_t count_bits(uint64_t set)
{
	uint32_t count = 0;

	for (; set != 0; set &= set - 1) {
		count++;
	}
	return count;
}

/* How the caches were flushed. Keys that end by the same flush have the same number in the log. */
static void describe_flush(bool lines, char *text, size_t bytes)
{
	if (lines) {
		(void)str_copy(text, bytes,
			       "its lines flushed from the caches (not in constant time)");
		return;
	}
	(void)str_printf(text, bytes,
			 "all caches flushed by WBINVD (flush %lu, %lu TSC ticks, "
			 "%lu us)",
			 cache_epoch(), cache_flush_ticks(),
			 cpu_mul_div(cache_flush_ticks(), 1000000, tsc_hz()));
}

static void kill_one(struct slot *slot, bool lines)
{
	const struct keyslot_info *info = &slot->info;
	char flushed[128];

	if (erase(slot) != 0) {
		quarantine(slot);
		return;
	}
	enter(slot, KEYSLOT_DEAD);
	describe_flush(lines, flushed, sizeof(flushed));
	log_info("KeyID %u, generation %u (%s, %s): its key is dead: %s, then overwritten "
		 "on %u package%s",
		 keyid_of(slot), info->generation, info->owner, keyslot_mode_name(info->mode),
		 flushed, count_bits(info->packages), count_bits(info->packages) == 1 ? "" : "s");
}

void keyslot_kill_retired(bool lines, void (*done)(keyid_t keyid, bool quarantined))
{
	for (uint32_t i = 0; i < slot_count; i++) {
		struct slot *slot = &slots[i];

		if (slot->info.state != KEYSLOT_RETIRING) {
			continue;
		}
		kill_one(slot, lines);
		if (done != NULL) {
			done(keyid_of(slot), slot->info.state == KEYSLOT_QUARANTINED);
		}
	}
}

/* --- Report --- */

uint32_t keyslot_count(void)
{
	return slot_count;
}

uint32_t keyslot_count_in(enum keyslot_state state)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < slot_count; i++) {
		count += slots[i].info.state == state;
	}
	return count;
}

int keyslot_get(keyid_t keyid, struct keyslot_info *out)
{
	if (keyid == 0 || keyid > slot_count) {
		return ERR_NOTFOUND;
	}
	*out = slots[keyid - 1].info;
	return 0;
}

const char *keyslot_state_name(enum keyslot_state state)
{
	static const char *const names[] = {
		[KEYSLOT_FREE] = "free",     [KEYSLOT_PROGRAMMED] = "programmed",
		[KEYSLOT_IN_USE] = "in use", [KEYSLOT_RETIRING] = "retiring",
		[KEYSLOT_DEAD] = "dead",     [KEYSLOT_QUARANTINED] = "quarantined",
	};

	return (size_t)state < ARRAY_COUNT(names) ? names[state] : "unknown";
}

const char *keyslot_mode_name(enum keyslot_mode mode)
{
	static const char *const names[] = {
		[KEYSLOT_RANDOM] = "random key",
		[KEYSLOT_DIRECT] = "tenant's key",
		[KEYSLOT_NO_ENCRYPT] = "no encryption",
	};

	return (size_t)mode < ARRAY_COUNT(names) ? names[mode] : "unknown";
}
