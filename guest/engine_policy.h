/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which engine runs for what a section asks and what the machine has, or the sentence that refuses
 * it. Here and not in boot/, because the answer may change with each start: KeyIDs run out. Pure.
 */
#ifndef UMBRA_GUEST_ENGINE_POLICY_H
#define UMBRA_GUEST_ENGINE_POLICY_H

#include "guest/vm_config.h"

enum engine_machine {
	ENGINE_MACHINE_NO_TME,
	ENGINE_MACHINE_TME, /* one key for all memory */
	ENGINE_MACHINE_TME_MK,
	ENGINE_MACHINE_TME_MK_FULL, /* every KeyID is in use */
	/* The same two, but memory under KeyID 0 is in clear (TME bypass). */
	ENGINE_MACHINE_BYPASS,
	ENGINE_MACHINE_BYPASS_FULL,
};
#define ENGINE_MACHINES 6

struct engine_policy {
	enum {
		ENGINE_REFUSED,
		ENGINE_RUNS_SOFTWARE,
		ENGINE_RUNS_NONE,	/* KeyID 0, where that is in clear */
		ENGINE_RUNS_TME_MK,	/* a KeyID of its own, with the key that is asked for */
		ENGINE_RUNS_NO_ENCRYPT, /* a KeyID of its own that is not encrypted */
		ENGINE_RUNS_PLATFORM,	/* KeyID 0, under the machine's own key */
	} verdict;
	/* Why it is refused, or why auto fell back: to be logged on every console. Or NULL. */
	const char *words;
};

/* key is not VM_KEY_DEFAULT. */
const struct engine_policy *engine_policy(enum vm_engine engine, enum vm_key key,
					  enum engine_machine machine);

/* The same for this machine at this moment: tme_state, and whether a KeyID is left. BSP. */
const struct engine_policy *engine_policy_now(enum vm_engine engine, enum vm_key key);
/* The same, once no KeyID could be had. */
const struct engine_policy *engine_policy_without_keyid(enum vm_engine engine, enum vm_key key);
/* Whether a KeyID can be taken. BSP. */
bool engine_keyid_is_left(void);

#endif
