/* SPDX-License-Identifier: Apache-2.0 */
/* What memory encryption of its own this machine has, and firmware has switched on. */
#ifndef UMBRA_CRYPTO_TME_H
#define UMBRA_CRYPTO_TME_H

enum tme_kind {
	TME_NONE, /* DRAM holds what the CPU writes */
	TME_ONLY, /* all of it is under one key, which firmware or the CPU made */
	TME_MK,	  /* there are KeyIDs whose keys we can set */
};

/* Reads CPUID and MSRs, changes nothing. Any CPU; it is the same on all of a package. */
enum tme_kind tme_detect(void);

#endif
