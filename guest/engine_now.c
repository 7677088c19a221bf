/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the column of the policy's table that fits this machine at the moment. */
#include "crypto/keyslot.h"
#include "crypto/page_cipher.h"
#include "crypto/tme.h"
#include "guest/engine_policy.h"

bool engine_has_tags(enum vm_integrity integrity)
{
	return integrity == VM_INTEGRITY_ON ||
	       (integrity == VM_INTEGRITY_AUTO && page_tags_are_fast());
}

bool engine_keyid_is_left(void)
{
	return keyslot_count_in(KEYSLOT_FREE) + keyslot_count_in(KEYSLOT_DEAD) != 0;
}

static enum engine_machine machine_kind(bool keyid_left)
{
	const struct tme_state *tme = tme_state();

	switch (tme->kind) {
	case TME_MK:
		if (tme->bypass) {
			return keyid_left ? ENGINE_MACHINE_BYPASS : ENGINE_MACHINE_BYPASS_FULL;
		}
		return keyid_left ? ENGINE_MACHINE_TME_MK : ENGINE_MACHINE_TME_MK_FULL;
	case TME_ONLY: return ENGINE_MACHINE_TME;
	case TME_NONE:
	default: return ENGINE_MACHINE_NO_TME;
	}
}

const struct engine_policy *engine_policy_now(enum vm_engine engine, enum vm_key key)
{
	return engine_policy(engine, key, machine_kind(engine_keyid_is_left()));
}

const struct engine_policy *engine_policy_without_keyid(enum vm_engine engine, enum vm_key key)
{
	return engine_policy(engine, key, machine_kind(false));
}
