/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KeyIDs 1 to fake_keyslots without keys. Fails a test that kills a key when the caches were not
 * flushed since its last user gave it up.
 */
#include "tests/unit/fake_keyslot.h"

#include <string.h>

#include "crypto/keyslot.h"
#include "tests/unit/fake_base.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/cache.h"

#define SLOTS 64u

unsigned fake_keyslots;
bool fake_keyslot_kill_fails;
void (*fake_keyslot_lines_flushed)(keyid_t keyid);
static struct keyslot_info slots[SLOTS];
static uint64_t unused_at[SLOTS]; /* cache_epoch() */

int keyslot_take(enum keyslot_mode mode, const uint8_t *secret, size_t secret_bytes,
		 const char *owner, keyid_t *keyid)
{
	*keyid = KEYID_PLATFORM;
	for (keyid_t i = 1; i <= fake_keyslots; i++) {
		if (slots[i].state == KEYSLOT_FREE || slots[i].state == KEYSLOT_DEAD) {
			slots[i].state = KEYSLOT_PROGRAMMED;
			slots[i].mode = mode;
			slots[i].generation++;
			strncpy(slots[i].owner, owner, KEYSLOT_OWNER_BYTES - 1);
			*keyid = i;
			return 0;
		}
	}
	return ERR_NOSPACE;
}

void keyslot_use(keyid_t keyid)
{
	slots[keyid].state = KEYSLOT_IN_USE;
	slots[keyid].users++;
}

void keyslot_unuse(keyid_t keyid)
{
	if (slots[keyid].users != 0) {
		slots[keyid].users--;
	}
	if (slots[keyid].users == 0) {
		slots[keyid].state = KEYSLOT_RETIRING;
		unused_at[keyid] = cache_epoch();
	}
}

void keyslot_kill_retired(bool lines, void (*done)(keyid_t keyid, bool quarantined))
{
	for (keyid_t i = 1; i < SLOTS; i++) {
		if (slots[i].state != KEYSLOT_RETIRING) {
			continue;
		}
		if (lines && fake_keyslot_lines_flushed != NULL) {
			fake_keyslot_lines_flushed(i);
		} else if (cache_epoch() == unused_at[i]) {
			fake_fail("KeyID %u is killed before the caches were flushed", i);
		}
		slots[i].state = fake_keyslot_kill_fails ? KEYSLOT_QUARANTINED : KEYSLOT_DEAD;
		if (done != NULL) {
			done(i, fake_keyslot_kill_fails);
		}
	}
}

int keyslot_get(keyid_t keyid, struct keyslot_info *out)
{
	if (keyid == 0 || keyid >= SLOTS) {
		return ERR_NOTFOUND;
	}
	*out = slots[keyid];
	return 0;
}

uint32_t keyslot_count_in(enum keyslot_state state)
{
	uint32_t count = 0;

	for (keyid_t i = 1; i <= fake_keyslots; i++) {
		count += slots[i].state == state;
	}
	return count;
}

uint32_t keyslot_count(void)
{
	return fake_keyslots;
}

const char *keyslot_state_name(enum keyslot_state state)
{
	return state == KEYSLOT_IN_USE ? "in use" : "another state";
}

const char *keyslot_mode_name(enum keyslot_mode mode)
{
	return mode == KEYSLOT_RANDOM	? "random key"
	       : mode == KEYSLOT_DIRECT ? "tenant's key"
					: "no encryption";
}

void fake_keyslot_reset(void)
{
	memset(slots, 0, sizeof(slots));
	fake_keyslots = 0;
	fake_keyslot_kill_fails = false;
	fake_keyslot_lines_flushed = NULL;
}
