/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by tme.c (the decision), tme_view.c (what CPUs report) and tme_activate.c. */
#ifndef UMBRA_CRYPTO_TME_PRIV_H
#define UMBRA_CRYPTO_TME_PRIV_H

#include "crypto/tme.h"
#include "vmm/host/topology.h"

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
#define ALGS_KNOWN  MASK(3, 0) /* including those with integrity */

/* What one CPU reports. */
struct tme_view {
	struct topology place;
	bool present; /* CPUID shows TME, and its registers can be read */
	bool pconfig; /* PCONFIG can set keys of TME-MK */
	bool has_partition;
	uint8_t phys_bits;
	uint64_t capability, activate, exclude_mask, exclude_base, partition;
};

/* What a CPU reports. The index is below percpu_count(). */
const struct tme_view *tme_view(uint32_t cpu_index);

/* Reads the boot processor's view while a fault of RDMSR would not be caught. */
void tme_view_first(void);
/* Reads the views of all CPUs. Returns how many packages they are in. BSP, no lock held. */
uint32_t tme_view_all(void);
/*
 * tme_view_has_packages: does each package of a CPU that firmware lists (tme_expect) have a started
 * CPU? tme_view_has_memory: can keys be set for all memory that firmware lists? This also covers
 * packages of which firmware lists no CPU. After tme_view_all.
 */
bool tme_view_has_packages(void);
bool tme_view_has_memory(void);

/*
 * Writes IA32_TME_ACTIVATE on every package, then makes every core take over the KeyID width.
 * all_packages: every package has a started CPU. Returns NULL, or the reason for failure as a part
 * of a sentence; *written says whether any register was written. With dry, writes nothing and
 * returns the reason why it could not.
 */
const char *tme_activate(bool dry, bool all_packages, uint64_t ram_and_mmio_end, bool *written);

#endif
