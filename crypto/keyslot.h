/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KeyIDs of TME-MK and the lives of their keys:
 *
 *	free -> programmed -> in use -> retiring -> dead -> programmed -> ...
 *
 * A slot on which PCONFIG failed is quarantined for good. All functions run on the boot processor,
 * without a lock: smp_call_all sends PCONFIG to every package.
 */
#ifndef UMBRA_CRYPTO_KEYSLOT_H
#define UMBRA_CRYPTO_KEYSLOT_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

#define KEYSLOT_OWNER_BYTES 32

enum keyslot_mode {
	KEYSLOT_RANDOM, /* a random key for each package, which no software can read */
	/* derived from a tenant's secret and a fresh salt; the same on each package */
	KEYSLOT_DIRECT,
	KEYSLOT_NO_ENCRYPT, /* no key: in clear */
};

enum keyslot_state {
	KEYSLOT_FREE,	    /* never programmed by us */
	KEYSLOT_PROGRAMMED, /* its key is on every package; it has no user yet */
	KEYSLOT_IN_USE,	    /* has one or more users */
	/* has no user; its key is still there, and caches may hold lines written under it */
	KEYSLOT_RETIRING,
	KEYSLOT_DEAD,	     /* its key is gone from every package; it can be taken */
	KEYSLOT_QUARANTINED, /* PCONFIG failed: never used again */
};

/*
 * Makes a slot for each KeyID that tme_start found. Without KeyIDs it makes no slots and succeeds.
 * Returns ERR_NOMEM, and logs it, if memory for the slots or their wiping is lacking. Call once,
 * after tme_start.
 */
int keyslot_init(void);

/*
 * Gives a free or dead KeyID a new key on every package and stores it in *keyid. Its state is then
 * "programmed", without users. secret is the tenant's, for KEYSLOT_DIRECT only; the caller keeps
 * and wipes it. owner is a name for the log; it is copied. Returns ERR_NOSPACE if no KeyID can be
 * taken (keyslot_kill_retired frees the retiring ones), ERR_IO if PCONFIG failed on each KeyID that
 * could be taken, which is logged, ERR_INVAL if secret is missing or does not fit mode, ERR_EXISTS
 * if another live KeyID has the same key or the key's two halves are equal, or an error of
 * rng_bytes or kdf_derive. After an error *keyid is KEYID_PLATFORM.
 */
int keyslot_take(enum keyslot_mode mode, const uint8_t *secret, size_t secret_bytes,
		 const char *owner, keyid_t *keyid);

/* Counts one more user of a KeyID that was taken: a VM, a member of a share, or the hypervisor. */
void keyslot_use(keyid_t keyid);

/*
 * Counts one user less; its mappings must be gone. A KeyID retires when its last user goes, or if
 * this is called before it had any user.
 */
void keyslot_unuse(keyid_t keyid);

/*
 * Overwrites the keys of all retiring KeyIDs with random ones on every package. Each KeyID is then
 * dead, which is logged, or quarantined. After the last keyslot_unuse and before this call, the
 * caller must have flushed the caches of every package: a line that is evicted later would be
 * written under the new key. lines is for the log: true if the caller flushed only the lines of the
 * KeyIDs' memory, in a time that grows with that memory; otherwise the log names the last
 * cache_flush_all and its time. done is called for each KeyID; it may be NULL.
 */
void keyslot_kill_retired(bool lines, void (*done)(keyid_t keyid, bool quarantined));

struct keyslot_info {
	enum keyslot_state state;
	enum keyslot_mode mode;
	uint32_t generation; /* how often the KeyID was taken */
	uint32_t users;
	uint64_t packages; /* the packages that have its key, one bit each */
	uint64_t since;	   /* TSC when it entered this state */
	char owner[KEYSLOT_OWNER_BYTES];
};

/* The number of KeyIDs: they are 1 to this number. */
uint32_t keyslot_count(void);
/* The number of KeyIDs in a state. */
uint32_t keyslot_count_in(enum keyslot_state state);
/* Copies the state of a KeyID. Returns ERR_NOTFOUND if there is no KeyID of this number. */
int keyslot_get(keyid_t keyid, struct keyslot_info *out);
/* The name of a state ("in use") or a mode ("random key"). Never NULL. */
const char *keyslot_state_name(enum keyslot_state state);
const char *keyslot_mode_name(enum keyslot_mode mode);

#endif
