/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that executes PCONFIG: it gives a KeyID of TME-MK a key, on every package (SDM
 * vol. 2B, "PCONFIG", leaf MKTME_KEY_PROGRAM). A key goes in and never comes out again.
 */
#ifndef UMBRA_CRYPTO_PCONFIG_H
#define UMBRA_CRYPTO_PCONFIG_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

#define PCONFIG_KEY_BYTES 32 /* of each; AES-XTS-128 uses the first 16 */

/* The SDM's values of KEYID_CTRL.COMMAND. KEYID_CLEAR_KEY (2) is not offered: with bypass it puts
 * memory in clear. */
enum pconfig_command {
	PCONFIG_SET_KEY_DIRECT = 0, /* the keys that are given */
	PCONFIG_SET_KEY_RANDOM = 1, /* the CPU's own random keys XOR those that are given */
	PCONFIG_NO_ENCRYPT = 3,	    /* the KeyID's memory is in clear; no keys are given */
};

struct pconfig_keys {
	uint8_t data[PCONFIG_KEY_BYTES], tweak[PCONFIG_KEY_BYTES];
};

/* After tme_start. ERR_NOMEM when no more memory with secrets can be registered for wiping. */
int pconfig_init(void);

/*
 * Programs a KeyID on every package; *packages gets a bit for each that has it now. Failures are
 * logged by package and cause. ERR_INVAL, and nothing is executed, when the machine has no such
 * KeyID, or the keys that are given directly are equal to each other. ERR_IO when a package
 * refused; one that is busy, or short of entropy, was tried ten times. PCONFIG flushes no cache
 * and no TLB. The caller wipes keys. Boot processor (smp_call_all).
 */
int pconfig_program(keyid_t keyid, enum pconfig_command command, const struct pconfig_keys *keys,
		    uint64_t *packages);

#endif
