/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KeyIDs of TME-MK and the lives of their keys:
 *
 *	free -> programmed -> in use -> retiring -> dead -> programmed -> ...
 *
 * A slot that PCONFIG failed on is quarantined, for good. All of it runs on the boot processor,
 * without a lock: PCONFIG goes to all packages by smp_call_all.
 */
#ifndef UMBRA_CRYPTO_KEYSLOT_H
#define UMBRA_CRYPTO_KEYSLOT_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

#define KEYSLOT_OWNER_BYTES 32

enum keyslot_mode {
	KEYSLOT_RANDOM, /* each package's own random key, with our noise in it; nobody knows it */
	KEYSLOT_DIRECT, /* from a tenant's secret and a fresh salt; the same on each package */
	KEYSLOT_NO_ENCRYPT, /* no key: in clear */
};

enum keyslot_state {
	KEYSLOT_FREE,	    /* never programmed by us */
	KEYSLOT_PROGRAMMED, /* its key is on every package; nobody uses it yet */
	KEYSLOT_IN_USE,	    /* by one or more users */
	KEYSLOT_RETIRING, /* nobody uses it, but its key is there, and caches may have its lines */
	KEYSLOT_DEAD,	  /* its key is gone from every package; can be taken */
	KEYSLOT_QUARANTINED, /* PCONFIG failed: never used again */
};

/*
 * Makes a slot for each KeyID that tme_start found, none where it found none. ERR_NOMEM: there are
 * no slots, which is logged. Once, after tme_start.
 */
int keyslot_init(void);

/*
 * Gives a KeyID a key of its own, on every package, and hands it out: programmed, used by nobody.
 * secret: for KEYSLOT_DIRECT alone, the tenant's, which stays the caller's; owner: a name for
 * people, copied. ERR_NOSPACE: no KeyID can be taken (those that retire can be, after
 * keyslot_kill_retired). ERR_IO: PCONFIG failed on every one, which was logged. ERR_INVAL: a
 * secret is missing or too much. ERR_EXISTS: another live KeyID has this very key, or its halves
 * are equal. Or what rng_bytes and kdf_derive say. KEYID_PLATFORM is in *keyid after an error.
 */
int keyslot_take(enum keyslot_mode mode, const uint8_t *secret, size_t secret_bytes,
		 const char *owner, keyid_t *keyid);

/* Counts a user of a KeyID that was taken: a VM, a member of a share, the hypervisor. */
void keyslot_use(keyid_t keyid);

/*
 * A user is gone, with all its mappings. With the last one the KeyID retires; one that was taken
 * and never used retires as well.
 */
void keyslot_unuse(keyid_t keyid);

/*
 * Overwrites the keys of all retiring KeyIDs by random ones on every package. Since their
 * keyslot_unuse the caller has flushed the caches of every package: a line that is evicted later
 * would be written under the new key. lines: it has flushed the lines of their memory alone, in a
 * time that grows with it. Each is dead then, with a line in the log, or quarantined. done (may be
 * NULL) is called for each.
 */
void keyslot_kill_retired(bool lines, void (*done)(keyid_t keyid, bool quarantined));

struct keyslot_info {
	enum keyslot_state state;
	enum keyslot_mode mode;
	uint32_t generation; /* how often the KeyID was taken */
	uint32_t users;
	uint64_t packages; /* that have its key, as bits */
	uint64_t since;	   /* TSC when it came into this state */
	char owner[KEYSLOT_OWNER_BYTES];
};

/* How many KeyIDs there are: 1 to this. */
uint32_t keyslot_count(void);
/* How many are in a state. */
uint32_t keyslot_count_in(enum keyslot_state state);
/* What became of a KeyID; ERR_NOTFOUND when there is none of this number. */
int keyslot_get(keyid_t keyid, struct keyslot_info *out);
/* "in use" and so on; "random" and so on. Never NULL. */
const char *keyslot_state_name(enum keyslot_state state);
const char *keyslot_mode_name(enum keyslot_mode mode);

#endif
