/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/keyslot.c: the life of keys, with the machine model of tme_machine.c. keyslot.c is
 * included, so that each case starts with fresh slots. row_NN_: the project's test matrix for
 * TME-MK.
 */
#define _GNU_SOURCE /* memmem */
#include "tests/unit/test.h"
#include "crypto/kdf.h"
#include "vmm/base/types.h"

/* Calls HKDF. With halves_equal it makes both halves of the key equal. */
static bool halves_equal;
static uint8_t derived[16]; /* of the last key that was derived */
static uint8_t summed[16];  /* of the last digest of a key */

static int derive_halves(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt,
			 const char *label, uint8_t *out, size_t out_bytes)
{
	int err = kdf_derive(secret, secret_bytes, salt, label, out, out_bytes);

	if (strcmp(label, "umbra tme-mk key") == 0) {
		memcpy(derived, out, sizeof(derived));
	} else {
		memcpy(summed, out, sizeof(summed));
	}
	if (halves_equal) {
		__builtin_memcpy(out + out_bytes / 2, out, out_bytes / 2);
	}
	return err;
}

#define kdf_derive derive_halves
#include "crypto/keyslot.c"
#include "tests/unit/tme_machine.h"
#include "vmm/host/cache.h"

#define SECRET_BYTES 64

static uint8_t secret[SECRET_BYTES];
static uint8_t rng_next;
static bool rng_fails, rng_stuck;

static const volatile uint8_t *drawn; /* address of the last key on its user's stack */
static uint8_t drawn_bytes[16];	      /* of what was drawn last */

int rng_bytes(void *buf, size_t bytes)
{
	drawn = buf;
	memset(buf, rng_fails ? 0 : rng_stuck ? 1 : ++rng_next, bytes);
	for (size_t i = 0; !rng_fails && i < bytes; i++) {
		((uint8_t *)buf)[i] ^= (uint8_t)(i * 7);
	}
	memcpy(drawn_bytes, buf, sizeof(drawn_bytes));
	return rng_fails ? ERR_IO : 0;
}

static size_t zeroed_at_end; /* how many bytes of the slots are zeroed at the end of the machine */

int wipe_register(void *area, size_t bytes)
{
	zeroed_at_end += area == slots ? bytes : 0;
	return 0;
}

static void machine(unsigned profile, unsigned packages)
{
	tme_machine_set(profile, 4, packages);
	tme_expect(NULL, 0, NULL);
	tme_start(false, 1ul << 32);
	assert_int_equal(keyslot_init(), 0);
	fake_log_reset();
}

static int setup(void **state)
{
	memset(secret, 0x5a, sizeof(secret));
	rng_fails = rng_stuck = halves_equal = false;
	zeroed_at_end = 0;
	return fake_setup(state);
}

static int teardown(void **state)
{
	if (slots != NULL) {
		page_free(slots, ALIGN_UP(slot_count * sizeof(*slots), PAGE_SIZE) / PAGE_SIZE);
		slots = NULL;
		slot_count = 0;
	}
	return fake_teardown(state);
}

static keyid_t take(enum keyslot_mode mode)
{
	keyid_t keyid;
	const bool direct = mode == KEYSLOT_DIRECT;

	assert_int_equal(keyslot_take(mode, direct ? secret : NULL, direct ? SECRET_BYTES : 0,
				      "alpha", &keyid),
			 0);
	assert_int_not_equal(keyid, 0);
	tme_machine_check_wiped();
	return keyid;
}

static void assert_refused(enum keyslot_mode mode, int err)
{
	const bool direct = mode == KEYSLOT_DIRECT;
	keyid_t keyid = 99;

	assert_int_equal(keyslot_take(mode, direct ? secret : NULL, direct ? SECRET_BYTES : 0,
				      "beta", &keyid),
			 err);
	assert_int_equal(keyid, KEYID_PLATFORM);
}

static enum keyslot_state state_of(keyid_t keyid)
{
	struct keyslot_info info;

	assert_int_equal(keyslot_get(keyid, &info), 0);
	return info.state;
}

static const struct tme_entry *entry(unsigned package, keyid_t keyid)
{
	return &tme_machine.package[package].table[keyid];
}

static unsigned killed, killed_badly;

static void note_killed(keyid_t keyid, bool quarantined)
{
	assert_int_equal(state_of(keyid), quarantined ? KEYSLOT_QUARANTINED : KEYSLOT_DEAD);
	killed++;
	killed_badly += quarantined;
}

TEST(a_life, setup, teardown)
{
	struct keyslot_info info;
	struct tme_entry before;
	keyid_t keyid;

	machine(4, 2);
	fake_tsc = 5;
	keyid = take(KEYSLOT_RANDOM);
	assert_int_equal(state_of(keyid), KEYSLOT_PROGRAMMED);
	keyslot_use(keyid);
	keyslot_use(keyid);
	assert_int_equal(keyslot_get(keyid, &info), 0);
	assert_int_equal(info.state, KEYSLOT_IN_USE);
	assert_int_equal(info.users, 2);
	assert_int_equal(info.generation, 1);
	assert_int_equal(info.packages, 3);
	assert_int_equal(info.since, 5);
	assert_string_equal(info.owner, "alpha");
	keyslot_unuse(keyid);
	assert_int_equal(state_of(keyid), KEYSLOT_IN_USE);
	keyslot_kill_retired(false, NULL); /* too early */
	assert_int_equal(state_of(keyid), KEYSLOT_IN_USE);
	keyslot_unuse(keyid);
	assert_int_equal(state_of(keyid), KEYSLOT_RETIRING);
	before = *entry(1, keyid);
	assert_int_equal(before.programmed, 1);
	killed = killed_badly = 0;
	cache_flush_all();
	cache_flush_all();
	keyslot_kill_retired(false, note_killed);
	assert_int_equal(killed, 1);
	assert_int_equal(killed_badly, 0);
	assert_int_equal(state_of(keyid), KEYSLOT_DEAD);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(entry(i, keyid)->programmed, 2);
		assert_int_equal(entry(i, keyid)->mode, ENTRY_KEY);
	}
	assert_memory_not_equal(before.data, entry(1, keyid)->data, 32);
	assert_non_null(strstr(fake_log_text(),
			       "generation 1 (alpha, random key): its key is dead: all caches "
			       "flushed by WBINVD (flush 2, 14000 TSC ticks, 14 us), then "
			       "overwritten on 2 packages\n"));
	tme_machine_check_wiped();
}

/* Little memory is flushed by lines, which the log says in place of a flush. */
TEST(a_life_that_is_flushed_by_lines, setup, teardown)
{
	keyid_t keyid;

	machine(4, 1);
	keyid = take(KEYSLOT_RANDOM);
	keyslot_unuse(keyid);
	keyslot_kill_retired(true, NULL);
	assert_non_null(
		strstr(fake_log_text(),
		       "its key is dead: its lines flushed from the caches (not in constant "
		       "time), then overwritten on 1 package\n"));
}

TEST(one_that_was_never_used_retires_as_well, setup, teardown)
{
	keyid_t keyid;

	machine(4, 1);
	keyid = take(KEYSLOT_RANDOM);
	keyslot_unuse(keyid);
	assert_int_equal(state_of(keyid), KEYSLOT_RETIRING);
}

/* Row 9 of the decision table: no KeyID is ever given to two users. */
TEST(row_38_exhausted_and_refused, setup, teardown)
{
	keyid_t last = 0;

	machine(6, 1);
	assert_int_equal(keyslot_count(), 31);
	for (unsigned i = 0; i < 31; i++) {
		last = take(KEYSLOT_RANDOM);
		keyslot_use(last);
	}
	assert_int_equal(keyslot_count_in(KEYSLOT_IN_USE), 31);
	assert_refused(KEYSLOT_RANDOM, ERR_NOSPACE);
	/* A KeyID that retires cannot be taken before its key is dead. */
	keyslot_unuse(last);
	assert_refused(KEYSLOT_RANDOM, ERR_NOSPACE);
	keyslot_kill_retired(false, NULL);
	assert_int_equal(take(KEYSLOT_RANDOM), last);
}

/* 30 short-lived users beside one long-lived: no KeyID is lost, and every use has a fresh key. */
TEST(row_38_a_thousand_lives_over_31_keyids, setup, teardown)
{
	struct keyslot_info info;
	uint8_t last_key[32] = { 0 };
	keyid_t neighbour;

	machine(6, 2);
	neighbour = take(KEYSLOT_RANDOM);
	keyslot_use(neighbour);
	for (unsigned i = 0; i < 1000; i++) {
		const keyid_t keyid = take(i % 3 == 0 ? KEYSLOT_DIRECT : KEYSLOT_RANDOM);

		assert_int_not_equal(keyid, neighbour);
		assert_memory_not_equal(entry(1, keyid)->data, last_key, 32);
		memcpy(last_key, entry(1, keyid)->data, 32);
		keyslot_use(keyid);
		keyslot_unuse(keyid);
		keyslot_kill_retired(false, NULL);
		fake_log_reset();
	}
	assert_int_equal(keyslot_count_in(KEYSLOT_IN_USE), 1);
	assert_int_equal(keyslot_count_in(KEYSLOT_DEAD), 30);
	assert_int_equal(entry(0, neighbour)->programmed, 1);
	assert_int_equal(entry(1, 2)->programmed, entry(0, 2)->programmed);
	for (keyid_t k = 1; k <= 31; k++) {
		assert_int_equal(keyslot_get(k, &info), 0);
		assert_in_range(info.generation, k == neighbour ? 1 : 33, 34);
		assert_int_equal(entry(0, k)->programmed, 2 * info.generation - (k == neighbour));
	}
}

TEST(no_encrypt_programs_plaintext, setup, teardown)
{
	keyid_t keyid;

	machine(4, 1);
	keyid = take(KEYSLOT_NO_ENCRYPT);
	assert_int_equal(entry(0, keyid)->mode, ENTRY_CLEAR);
	keyslot_unuse(keyid);
	keyslot_kill_retired(false, NULL);
	assert_int_equal(entry(0, keyid)->mode,
			 ENTRY_KEY); /* the next key does not happen to be plaintext mode */
}

TEST(row_26_a_tenants_key, setup, teardown)
{
	struct tme_entry first;
	keyid_t a, b;

	machine(4, 2);
	a = take(KEYSLOT_DIRECT);
	first = *entry(0, a);
	assert_memory_equal(first.data, entry(1, a)->data, 32); /* the same on all packages */
	assert_memory_equal(first.tweak, entry(1, a)->tweak, 32);
	assert_memory_not_equal(first.data, first.tweak, 32);
	/* The same secret gives another key, because the salt is fresh. */
	b = take(KEYSLOT_DIRECT);
	assert_int_not_equal(a, b);
	assert_memory_not_equal(first.data, entry(0, b)->data, 32);
}

/*
 * The label and the order of the key's bytes: computed by Python's hmac, with the salt that
 * rng_bytes returns.
 */
TEST(row_26_known_answer, setup, teardown)
{
	static const uint8_t data[32] = {
		0x7d, 0x03, 0x1b, 0x3a, 0xa3, 0x7a, 0x54, 0x63, 0x1d, 0x02, 0x6e,
		0xc9, 0xe6, 0xe7, 0xe2, 0x79, 0xf7, 0x6d, 0xac, 0x0e, 0x21, 0x94,
		0xf2, 0x7d, 0xc5, 0x4e, 0x88, 0xed, 0x85, 0xf9, 0x5f, 0x2d,
	};
	static const uint8_t tweak[32] = {
		0x0f, 0x9b, 0x67, 0xba, 0x70, 0x0b, 0x28, 0x7a, 0xd8, 0x44, 0x56,
		0x5e, 0xed, 0x20, 0x40, 0x20, 0x71, 0x10, 0x2f, 0xa2, 0x2b, 0x5b,
		0xc8, 0x6b, 0x34, 0xf1, 0xee, 0xed, 0x06, 0x63, 0x58, 0x53,
	};
	keyid_t keyid;

	machine(4, 1);
	rng_stuck = true;
	keyid = take(KEYSLOT_DIRECT);
	assert_memory_equal(entry(0, keyid)->data, data, 32);
	assert_memory_equal(entry(0, keyid)->tweak, tweak, 32);
}

TEST(equal_keys_are_refused, setup, teardown)
{
	keyid_t keyid;

	machine(3, 1);
	rng_stuck = true;
	keyid = take(KEYSLOT_DIRECT);
	assert_refused(KEYSLOT_DIRECT, ERR_EXISTS);
	assert_non_null(strstr(fake_log_text(), "has this very key"));
	assert_int_equal(tme_machine.pconfigs, 1);
	/* A retiring KeyID still has its key. */
	keyslot_unuse(keyid);
	assert_refused(KEYSLOT_DIRECT, ERR_EXISTS);
	/* Another secret, or the end of the first key, helps. */
	secret[0]++;
	(void)take(KEYSLOT_DIRECT);
	secret[0]--;
	keyslot_kill_retired(false, NULL);
	(void)take(KEYSLOT_DIRECT);
}

/* The key of the last KeyID is compared as well. */
TEST(the_last_key_is_refused_too, setup, teardown)
{
	machine(3, 1);
	for (uint32_t i = 1; i < keyslot_count(); i++) {
		(void)take(KEYSLOT_RANDOM);
	}
	rng_stuck = true;
	assert_int_equal(take(KEYSLOT_DIRECT), keyslot_count());
	assert_refused(KEYSLOT_DIRECT, ERR_EXISTS);
}

static __attribute__((no_sanitize_address, noinline)) unsigned left_on_stack(void)
{
	unsigned left = 0;

	for (size_t i = 0; i < sizeof(struct pconfig_keys); i++) {
		left += drawn[i] == (uint8_t)(rng_next ^ i * 7);
	}
	return left;
}

static void take_direct(void)
{
	(void)take(KEYSLOT_DIRECT);
}

/* The stack keeps neither the key nor the bytes that are hashed to compare keys. */
TEST(no_derived_key_stays_on_the_stack, setup, teardown)
{
	machine(3, 1);
	assert_false(fake_stack_keeps(take_direct, derived, sizeof(derived)));
	assert_int_not_equal(derived[0], 0);
}

static void kill_retired(void)
{
	keyslot_kill_retired(false, NULL);
}

/* A salt, the digest of a key, and the random bytes that overwrite a key. */
TEST(nothing_about_keys_stays_on_the_stack, setup, teardown)
{
	machine(3, 1);
	assert_false(fake_stack_keeps(take_direct, drawn_bytes, sizeof(drawn_bytes)));
	assert_false(fake_stack_keeps(take_direct, summed, sizeof(summed)));
	assert_int_not_equal(summed[0], 0);
	keyslot_unuse(take(KEYSLOT_RANDOM));
	assert_false(fake_stack_keeps(kill_retired, drawn_bytes, sizeof(drawn_bytes)));
}

TEST(no_key_stays_on_the_stack, setup, teardown)
{
	keyid_t keyid;
	unsigned left;
	int err;

	machine(3, 1);
	err = keyslot_take(KEYSLOT_RANDOM, NULL, 0, "alpha", &keyid);
	left = left_on_stack();
	assert_int_equal(err, 0);
	assert_in_range(left, 0, 16); /* of 128; some are equal by chance */
}

/* Software must make sure that K1 != K2 (SDM vol. 2B, "PCONFIG"). The KeyID stays usable. */
TEST(a_key_of_equal_halves_is_refused, setup, teardown)
{
	machine(3, 1);
	halves_equal = true;
	assert_refused(KEYSLOT_DIRECT, ERR_EXISTS);
	assert_int_equal(tme_machine.pconfigs, 0);
	assert_int_equal(keyslot_count_in(KEYSLOT_FREE), 63);
}

TEST(what_is_missing_or_too_much_is_refused, setup, teardown)
{
	keyid_t keyid;

	machine(3, 1);
	assert_int_equal(keyslot_take(KEYSLOT_DIRECT, NULL, 0, "x", &keyid), ERR_INVAL);
	assert_int_equal(keyslot_take(KEYSLOT_DIRECT, secret, 0, "x", &keyid), ERR_INVAL);
	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, secret, 8, "x", &keyid), ERR_INVAL);
	rng_fails = true;
	assert_refused(KEYSLOT_RANDOM, ERR_IO);
	assert_refused(KEYSLOT_DIRECT, ERR_IO);
	assert_int_equal(tme_machine.pconfigs, 0);
	assert_int_equal(keyslot_get(0, &(struct keyslot_info){ 0 }), ERR_NOTFOUND);
	assert_int_equal(keyslot_get(64, &(struct keyslot_info){ 0 }), ERR_NOTFOUND);
	FAKE_EXPECT_PANIC(keyslot_use(64), "keyid");
	FAKE_EXPECT_PANIC(keyslot_use(1), "state"); /* free */
	FAKE_EXPECT_PANIC(keyslot_unuse(1), "state");
}

/* The CPU's own random generator is enough to kill a key. */
TEST(a_key_dies_without_our_generator, setup, teardown)
{
	keyid_t keyid;

	machine(3, 1);
	keyid = take(KEYSLOT_RANDOM);
	keyslot_unuse(keyid);
	rng_fails = true;
	keyslot_kill_retired(false, NULL);
	assert_int_equal(state_of(keyid), KEYSLOT_DEAD);
	assert_int_equal(entry(0, keyid)->programmed, 2);
}

TEST(row_24_a_key_that_cannot_die_is_quarantined, setup, teardown)
{
	keyid_t keyid;

	machine(4, 1);
	keyid = take(KEYSLOT_DIRECT);
	keyslot_unuse(keyid);
	tme_machine.package[0].busy = 100;
	killed = killed_badly = 0;
	keyslot_kill_retired(false, note_killed);
	assert_int_equal(killed_badly, 1);
	assert_int_equal(state_of(keyid), KEYSLOT_QUARANTINED);
	assert_non_null(strstr(fake_log_text(), "is never used again"));
	tme_machine.package[0].busy = 0;
	for (unsigned i = 0; i < 14; i++) {
		assert_int_not_equal(take(KEYSLOT_RANDOM), keyid);
	}
	assert_refused(KEYSLOT_RANDOM, ERR_NOSPACE);
}

/* Two KeyIDs fail, the third is taken. */
TEST(row_24_the_next_keyid_is_tried, setup, teardown)
{
	machine(4, 1);
	tme_machine.package[0].busy = 20;
	assert_int_equal(take(KEYSLOT_RANDOM), 3);
	assert_int_equal(keyslot_count_in(KEYSLOT_QUARANTINED), 2);
	assert_int_equal(keyslot_count_in(KEYSLOT_FREE), 12);
}

/* A KeyID that never received the key does not make the key count as in use. */
TEST(row_24_a_key_that_did_not_arrive_is_not_live, setup, teardown)
{
	keyid_t keyid;

	machine(4, 1);
	rng_stuck = true;
	tme_machine.package[0].busy = 10;
	keyid = take(KEYSLOT_DIRECT);
	assert_int_equal(keyid, 2);
	keyslot_unuse(keyid);
	keyslot_kill_retired(false, NULL);
	assert_int_equal(take(KEYSLOT_DIRECT), 3);
}

TEST(row_27_43_no_keyid_without_every_package, setup, teardown)
{
	machine(4, 2);
	tme_machine.package[1].broken = true;
	assert_refused(KEYSLOT_DIRECT, ERR_IO);
	assert_int_equal(keyslot_count_in(KEYSLOT_QUARANTINED), 15);
	for (keyid_t k = 1; k <= 15; k++) {
		/* The tenant's key is removed from the package that accepted it. */
		assert_int_equal(entry(0, k)->programmed, 2);
		assert_int_equal(entry(1, k)->programmed, 0);
	}
	assert_refused(KEYSLOT_RANDOM, ERR_NOSPACE);
}

TEST(no_keyids_no_slots, setup, teardown)
{
	machine(2, 1);
	assert_int_equal(keyslot_count(), 0);
	assert_refused(KEYSLOT_RANDOM, ERR_NOSPACE);
	keyslot_kill_retired(false, note_killed);
	tme_machine_set(3, 1, 1);
	tme_start(false, 1ul << 32);
	fake_pages_fail_after(0);
	assert_int_equal(keyslot_init(), ERR_NOMEM);
	fake_pages_fail_after(-1);
	assert_refused(KEYSLOT_RANDOM, ERR_NOSPACE);
}

/* No part of a key or of the secret is in the log or in the module's data. */
TEST(row_47_nothing_of_a_key_is_kept, setup, teardown)
{
	keyid_t keyid;
	uint8_t key[32];

	machine(4, 1);
	keyid = take(KEYSLOT_DIRECT);
	memcpy(key, entry(0, keyid)->data, sizeof(key));
	assert_null(memmem(slots, slot_count * sizeof(*slots), key, 8));
	assert_null(memmem(slots, slot_count * sizeof(*slots), secret, 8));
	assert_memory_not_equal(slots[keyid - 1].digest, (uint8_t[DIGEST_BYTES]){ 0 },
				DIGEST_BYTES);
	/* The slots, digests included, are zeroed at the end of the machine. */
	assert_int_equal(zeroed_at_end, slot_count * sizeof(*slots));
	keyslot_unuse(keyid);
	keyslot_kill_retired(false, NULL);
	keyid = take(KEYSLOT_DIRECT);
	keyslot_unuse(keyid);
	keyslot_kill_retired(false, NULL);
	assert_memory_equal(slots[keyid - 1].digest, (uint8_t[DIGEST_BYTES]){ 0 }, DIGEST_BYTES);
	assert_null(memmem(fake_log_text(), strlen(fake_log_text()), key, 4));
}
