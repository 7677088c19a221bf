/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/engine_policy.h"

#define WRITE_KEY "write key = random, or key = file:PATH"

static const struct engine_policy clear = { ENGINE_RUNS_NONE, NULL };
static const struct engine_policy software = { ENGINE_RUNS_SOFTWARE, NULL };

/* auto: never less than asked for, and never in silence. */
static const struct engine_policy soft_no_tme = {
	ENGINE_RUNS_SOFTWARE, "no TME-MK on this machine: the software engine encrypts"
};
static const struct engine_policy soft_one_key = {
	ENGINE_RUNS_SOFTWARE,
	"one TME key for all memory here, none for each VM: the software engine encrypts"
};
static const struct engine_policy soft_not_yet = {
	ENGINE_RUNS_SOFTWARE, "TME-MK is not used by this version yet: the software engine encrypts"
};
static const struct engine_policy soft_none_left = {
	ENGINE_RUNS_SOFTWARE, "no KeyID of TME-MK is left: the software engine encrypts"
};

static const struct engine_policy no_tme = {
	ENGINE_REFUSED, "this machine has no TME-MK: the CPU lacks it, or TME is off in firmware's "
			"set-up; write engine = auto or engine = software"
};
static const struct engine_policy one_key = {
	ENGINE_REFUSED, "this machine has TME with one key for all memory, no TME-MK: look for "
			"multi-key TME (TME-MT) in firmware's set-up, or write engine = auto or "
			"engine = software"
};
static const struct engine_policy not_yet = {
	ENGINE_REFUSED, "TME-MK is not used by this version yet; write engine = auto or "
			"engine = software"
};
static const struct engine_policy none_left = {
	ENGINE_REFUSED,
	"no KeyID of TME-MK is left: start fewer VMs with it, or write engine = auto"
};

static const struct engine_policy no_own_key = {
	ENGINE_REFUSED, "this machine has no key of its own (TME is missing or off); " WRITE_KEY
};
static const struct engine_policy own_not_yet = {
	ENGINE_REFUSED, "the machine's own key (TME) is not used by this version yet; " WRITE_KEY
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

/* On a machine without TME, with one key for all memory, with TME-MK, with every KeyID in use. */
static const struct engine_policy *const table[VM_ENGINES][VM_KEYS][ENGINE_MACHINES] = {
	[VM_ENGINE_AUTO] = {
		[VM_KEY_RANDOM] = { &soft_no_tme, &soft_one_key, &soft_not_yet, &soft_none_left },
		[VM_KEY_FILE] = { &soft_no_tme, &soft_one_key, &soft_not_yet, &soft_none_left },
		[VM_KEY_PLATFORM] = { &no_own_key, &own_not_yet, &own_not_yet, &own_not_yet },
		[VM_KEY_NONE] = { &ask_for_clear, &ask_for_clear, &ask_for_clear, &ask_for_clear },
	},
	[VM_ENGINE_TME_MK] = {
		[VM_KEY_RANDOM] = { &no_tme, &one_key, &not_yet, &none_left },
		[VM_KEY_FILE] = { &no_tme, &one_key, &not_yet, &none_left },
		[VM_KEY_PLATFORM] = { &no_own_key, &own_not_yet, &own_not_yet, &own_not_yet },
		[VM_KEY_NONE] = { &keyless, &keyless, &keyless, &keyless },
	},
	[VM_ENGINE_SOFTWARE] = {
		[VM_KEY_RANDOM] = { &software, &software, &software, &software },
		[VM_KEY_FILE] = { &software, &software, &software, &software },
		[VM_KEY_PLATFORM] = { &own_hidden, &own_hidden, &own_hidden, &own_hidden },
		[VM_KEY_NONE] = { &keyless, &keyless, &keyless, &keyless },
	},
	[VM_ENGINE_NONE] = {
		[VM_KEY_RANDOM] = { &useless_key, &useless_key, &useless_key, &useless_key },
		[VM_KEY_FILE] = { &useless_key, &useless_key, &useless_key, &useless_key },
		[VM_KEY_PLATFORM] = { &no_own_key, &own_not_yet, &own_not_yet, &own_not_yet },
		[VM_KEY_NONE] = { &clear, &clear, &clear, &clear },
	},
};

const struct engine_policy *engine_policy(enum vm_engine engine, enum vm_key key,
					  enum engine_machine machine)
{
	return table[engine][key][machine];
}
