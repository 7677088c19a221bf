/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/engine_policy.h"

#define WRITE_KEY "write key = random, or key = file:PATH"

static const struct engine_policy clear = { ENGINE_RUNS_NONE, NULL };
static const struct engine_policy software = { ENGINE_RUNS_SOFTWARE, NULL };
static const struct engine_policy keyed_vm = { ENGINE_RUNS_TME_MK, NULL };
static const struct engine_policy platform = { ENGINE_RUNS_PLATFORM, NULL };
static const struct engine_policy bypassed = { ENGINE_RUNS_NO_ENCRYPT, NULL };

/* engine = none on a machine where KeyID 0 is encrypted and no KeyID can be free of encryption. */
static const struct engine_policy clear_under_tme = {
	ENGINE_RUNS_PLATFORM,
	"all memory here is under the machine's own TME key, and no KeyID can be "
	"excepted: this VM's memory is under that key, too"
};

/* auto: the VM's memory is always encrypted, and the choice is always logged. */
static const struct engine_policy soft_no_tme = {
	ENGINE_RUNS_SOFTWARE, "no TME-MK on this machine: the software engine encrypts"
};
static const struct engine_policy soft_one_key = {
	ENGINE_RUNS_SOFTWARE,
	"one TME key for all memory here, none for each VM: the software engine encrypts"
};
static const struct engine_policy soft_none_left = {
	ENGINE_RUNS_SOFTWARE, "no KeyID of TME-MK is left: the software engine encrypts"
};

static const struct engine_policy no_tme = {
	ENGINE_REFUSED, "this machine has no TME-MK that can be used, for the reason in the log; "
			"write engine = auto or engine = software"
};
static const struct engine_policy one_key = {
	ENGINE_REFUSED, "this machine has TME with one key for all memory, no TME-MK: look for "
			"multi-key TME (TME-MT) in firmware's set-up, or write engine = auto or "
			"engine = software"
};
static const struct engine_policy none_left = {
	ENGINE_REFUSED,
	"no KeyID of TME-MK is left: start fewer VMs with it, or write engine = auto"
};

static const struct engine_policy no_own_key = {
	ENGINE_REFUSED, "this machine has no key of its own that encrypts (TME is missing, off or "
			"bypassed, as the log says); " WRITE_KEY
};
static const struct engine_policy own_bypassed = {
	ENGINE_REFUSED,
	"the machine's own key is not used: firmware has switched TME bypass on, so "
	"that memory under it is in clear; " WRITE_KEY
};
static const struct engine_policy own_hidden = {
	ENGINE_REFUSED, "the machine's own key never leaves the memory controller; " WRITE_KEY
};

static const struct engine_policy ask_for_clear = {
	ENGINE_REFUSED, "memory in clear has to be asked for: write engine = none, or leave key out"
};
static const struct engine_policy keyless = { ENGINE_REFUSED,
					      "without a key the memory is in clear; " WRITE_KEY
					      ", or engine = none" };
static const struct engine_policy useless_key = {
	ENGINE_REFUSED,
	"nothing is encrypted, so a key has no use; write engine = auto, or leave key out"
};

#define ALL(p)                         \
	{                              \
		&p, &p, &p, &p, &p, &p \
	}
/*
 * The columns: no TME; TME with one key; free KeyIDs; all KeyIDs in use; then with bypass: free
 * KeyIDs; all KeyIDs in use.
 */
#define OWN_KEY                                                                            \
	{                                                                                  \
		&no_own_key, &platform, &platform, &platform, &own_bypassed, &own_bypassed \
	}
#define BEST                                                                        \
	{                                                                           \
		&soft_no_tme, &soft_one_key, &keyed_vm, &soft_none_left, &keyed_vm, \
			&soft_none_left                                             \
	}
#define KEYIDS                                                                  \
	{                                                                       \
		&no_tme, &one_key, &keyed_vm, &none_left, &keyed_vm, &none_left \
	}
#define CLEAR                                                                         \
	{                                                                             \
		&clear, &clear_under_tme, &bypassed, &clear_under_tme, &clear, &clear \
	}

static const struct engine_policy *const table[VM_ENGINES][VM_KEYS][ENGINE_MACHINES] = {
	[VM_ENGINE_AUTO] = {
		[VM_KEY_RANDOM] = BEST,
		[VM_KEY_FILE] = BEST,
		[VM_KEY_PLATFORM] = OWN_KEY,
		[VM_KEY_NONE] = ALL(ask_for_clear),
	},
	[VM_ENGINE_TME_MK] = {
		[VM_KEY_RANDOM] = KEYIDS,
		[VM_KEY_FILE] = KEYIDS,
		[VM_KEY_PLATFORM] = OWN_KEY,
		[VM_KEY_NONE] = ALL(keyless),
	},
	[VM_ENGINE_SOFTWARE] = {
		[VM_KEY_RANDOM] = ALL(software),
		[VM_KEY_FILE] = ALL(software),
		[VM_KEY_PLATFORM] = ALL(own_hidden),
		[VM_KEY_NONE] = ALL(keyless),
	},
	[VM_ENGINE_NONE] = {
		[VM_KEY_RANDOM] = ALL(useless_key),
		[VM_KEY_FILE] = ALL(useless_key),
		[VM_KEY_PLATFORM] = OWN_KEY,
		[VM_KEY_NONE] = CLEAR,
	},
};

const struct engine_policy *engine_policy(enum vm_engine engine, enum vm_key key,
					  enum engine_machine machine)
{
	return table[engine][key][machine];
}
