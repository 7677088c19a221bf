/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which engine runs, from what a VM's section asks for and what the machine has, or refuses
 * with a reason. This is in guest/ and not in boot/, because the answer may change with each start:
 * KeyIDs run out. Pure functions, except for those of engine_now.c.
 */
#ifndef UMBRA_GUEST_ENGINE_POLICY_H
#define UMBRA_GUEST_ENGINE_POLICY_H

#include "guest/vm_config.h"

enum engine_machine {
	ENGINE_MACHINE_NO_TME,
	ENGINE_MACHINE_TME, /* one key for all memory */
	ENGINE_MACHINE_TME_MK,
	ENGINE_MACHINE_TME_MK_FULL, /* every KeyID is in use */
	/* The same two with TME bypass: memory under KeyID 0 is in clear. */
	ENGINE_MACHINE_BYPASS,
	ENGINE_MACHINE_BYPASS_FULL,
};
#define ENGINE_MACHINES 6

struct engine_policy {
	enum {
		ENGINE_REFUSED,
		ENGINE_RUNS_SOFTWARE,
		ENGINE_RUNS_NONE,   /* KeyID 0, which is in clear */
		ENGINE_RUNS_TME_MK, /* the VM's own KeyID, with the key that the section asks for */
		ENGINE_RUNS_NO_ENCRYPT, /* the VM's own KeyID, without encryption */
		ENGINE_RUNS_PLATFORM,	/* KeyID 0, under the machine's own key */
	} verdict;
	/* Why it is refused, or why auto fell back; logged on every console. May be NULL. */
	const char *words;
};

/* The policy for an engine, a key other than VM_KEY_DEFAULT, and a machine. */
const struct engine_policy *engine_policy(enum vm_engine engine, enum vm_key key,
					  enum engine_machine machine);

/*
 * The policy for this machine at this moment: depends on tme_state and on whether a KeyID is left.
 * Boot processor.
 */
const struct engine_policy *engine_policy_now(enum vm_engine engine, enum vm_key key);
/* The policy for this machine if no KeyID is left. Boot processor. */
const struct engine_policy *engine_policy_without_keyid(enum vm_engine engine, enum vm_key key);
/* Whether pages that are sealed have tags on this machine. After page_cipher_init. Any CPU. */
bool engine_has_tags(enum vm_integrity integrity);
/* Whether a KeyID can be taken. Boot processor. */
bool engine_keyid_is_left(void);

#endif
