/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that executes PCONFIG (SDM vol. 2B, "PCONFIG", leaf MKTME_KEY_PROGRAM). It gives a
 * KeyID of TME-MK a key on every package. A key that was set cannot be read back.
 */
#ifndef UMBRA_CRYPTO_PCONFIG_H
#define UMBRA_CRYPTO_PCONFIG_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

#define PCONFIG_KEY_BYTES 32 /* of each; AES-XTS-128 uses the first 16 */

/*
 * The SDM's values of KEYID_CTRL.COMMAND. KEYID_CLEAR_KEY (2) is left out: with bypass it puts
 * memory in clear.
 */
enum pconfig_command {
	PCONFIG_SET_KEY_DIRECT = 0, /* the keys that are given */
	PCONFIG_SET_KEY_RANDOM = 1, /* the CPU's own random keys XOR those that are given */
	PCONFIG_NO_ENCRYPT = 3,	    /* the KeyID's memory is in clear; no keys are given */
};

struct pconfig_keys {
	uint8_t data[PCONFIG_KEY_BYTES], tweak[PCONFIG_KEY_BYTES];
};

/*
 * Call once, after tme_start. Returns ERR_NOMEM if no more memory with secrets can be registered
 * for wiping.
 */
int pconfig_init(void);

/*
 * Programs a KeyID on every package. *packages gets a bit for each package that has the key
 * afterwards. Failures are logged by package and cause. Returns ERR_INVAL, and executes nothing, if
 * the machine has no such KeyID, or if the two keys of a direct pair are equal. Returns ERR_IO if a
 * package refused; a package that is busy or short of entropy is tried ten times first. PCONFIG
 * flushes no cache and no TLB. The caller wipes keys. Boot processor only (it calls smp_call_all).
 */
int pconfig_program(keyid_t keyid, enum pconfig_command command, const struct pconfig_keys *keys,
		    uint64_t *packages);

#endif
