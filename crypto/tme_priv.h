/* SPDX-License-Identifier: Apache-2.0 */
/* What tme.c and tme_activate.c share. */
#ifndef UMBRA_CRYPTO_TME_PRIV_H
#define UMBRA_CRYPTO_TME_PRIV_H

#include "crypto/tme.h"
#include "vmm/base/topology.h"

/* IA32_TME_CAPABILITY */
#define CAP_BYPASS	    BIT(31)
#define CAP_KEYID_BITS(cap) ((uint8_t)((cap) >> 32 & 15))
#define CAP_MAX_KEYS(cap)   ((cap) >> 36 & 0x7fff)

/* IA32_TME_ACTIVATE */
#define ACTIVATE_LOCK		 BIT(0)
#define ACTIVATE_ENABLE		 BIT(1)
#define ACTIVATE_SAVE		 BIT(3) /* keep the TME key over standby */
#define ACTIVATE_POLICY_SHIFT	 4
#define ACTIVATE_BYPASS		 BIT(31) /* KeyID 0 is not encrypted */
#define ACTIVATE_KEYID_SHIFT	 32
#define ACTIVATE_KEYID_BITS(act) ((uint8_t)((act) >> ACTIVATE_KEYID_SHIFT & 15))
#define ACTIVATE_TDX_BITS(act)	 ((uint8_t)((act) >> 36 & 15))
#define ACTIVATE_ALGS_SHIFT	 48
#define ACTIVATE_ALGS(act)	 ((uint16_t)((act) >> ACTIVATE_ALGS_SHIFT))

/* Algorithms: bits of the capability, of ACTIVATE[63:48] and of PCONFIG's ENC_ALG. */
#define ALG_XTS_128 BIT(0)
#define ALG_XTS_256 BIT(2)
#define ALGS_PLAIN  (ALG_XTS_128 | ALG_XTS_256)
#define ALGS_KNOWN  MASK(3, 0) /* those with integrity as well */

/* What one CPU sees. */
struct tme_view {
	struct topology place;
	bool present; /* CPUID shows TME, and its registers can be read */
	bool pconfig; /* which sets keys of TME-MK */
	bool has_partition;
	uint8_t phys_bits;
	uint64_t capability, activate, exclude_mask, exclude_base, partition;
};

/* By index below percpu_count(). */
const struct tme_view *tme_view(uint32_t cpu_index);

/*
 * Writes IA32_TME_ACTIVATE on every package, and lets every core learn of the KeyIDs. all_packages:
 * no package is without a started CPU. Returns NULL, or why not, as a part of a sentence; *written
 * says whether anything was changed then. With dry, nothing is changed in any case.
 */
const char *tme_activate(bool dry, bool all_packages, uint64_t ram_and_mmio_end, bool *written);

#endif
