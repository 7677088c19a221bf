/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What memory encryption of its own this machine has (TME, TME-MK), what of it can be used, and its
 * late activation. Intel Architecture Memory Encryption Technologies Specification (336907).
 */
#ifndef UMBRA_CRYPTO_TME_H
#define UMBRA_CRYPTO_TME_H

#include "vmm/base/acpi_host.h"
#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

/* The package sets of keys are bits of a uint64_t. */
#define TME_PACKAGE_MAX 64u

enum tme_kind {
	TME_NONE, /* DRAM holds what CPUs write */
	TME_ONLY, /* all of DRAM is under one key, which firmware or the CPU made */
	TME_MK,	  /* there are KeyIDs whose keys we can set */
};

struct tme_state {
	enum tme_kind kind;
	bool bypass;	   /* KeyID 0 is in clear in DRAM */
	uint8_t phys_bits; /* m: CPUID.80000008H:EAX[7:0] */
	/*
	 * k: how many address bits the CPU takes for the KeyID. More than 0 wherever the register
	 * is locked and enabled with such bits, also where kind says that no KeyID can be used: no
	 * address has these bits then.
	 */
	uint8_t keyid_bits;
	uint8_t tdx_bits;    /* p: the upper ones of these bits that are TDX's, always 0 for us */
	keyid_t keyid_count; /* usable KeyIDs are 1 to this; 0 unless kind is TME_MK */
	bool xts256;	     /* the keys are for AES-XTS-256, else AES-XTS-128 */
	uint16_t algorithm;  /* the bit of it in PCONFIG's ENC_ALG; 0 unless kind is TME_MK */
	uint8_t row;	     /* which row of the decision table (tme.c) it is */
	uint32_t package_count; /* packages with a started CPU */
	bool standby;		/* the CPU keeps the TME key over standby */
	/*
	 * Addresses a with (a & exclude_mask) == (exclude_base & exclude_mask) are in clear under
	 * KeyID 0. Other KeyIDs are encrypted there.
	 */
	bool has_exclusion;
	uint64_t exclude_base, exclude_mask;
	char words[232]; /* a plain sentence for the log and for `host` */
};

/*
 * What tme_start decided, before that what tme_look saw, before that nothing. Never NULL. Any CPU;
 * it changes in these two functions only.
 */
const struct tme_state *tme_state(void);

/*
 * Looks at this CPU alone and changes nothing. Boot processor, from the start on: no fault is
 * caught, so under a hypervisor, which may show TME without its registers, it does not look.
 */
void tme_look(void);

/*
 * Names the CPUs that firmware lists, by APIC ID, and the RAM that it says they are near (NULL: it
 * says nothing; a range of 0 bytes is no RAM), before tme_start. Both stay the caller's. A package
 * where no CPU has started cannot be given keys: tme_start does not use KeyIDs when one is listed,
 * for it may have memory, or when there is RAM that is near no started CPU.
 */
void tme_expect(const uint32_t *apic_ids, size_t count, const struct acpi_affinity *affinity);

/*
 * Compares all packages, decides (tme_state), and logs it. With activate, a register that firmware
 * left open is written: KeyID bits, all algorithms without integrity, and bypass, without which
 * all of DRAM would be lost. What keeps it from that is logged in words. ram_and_mmio_end: no RAM
 * and no device lies at or above. Boot processor, once, after smp_start_all and before any KeyID
 * is used. Source: 336907, "IA32_TME_ACTIVATE".
 */
void tme_start(bool activate, uint64_t ram_and_mmio_end);

/*
 * The number of the package of a CPU, below package_count; packages are numbered by first CPU.
 * After tme_start. Any CPU, no locks.
 */
uint32_t tme_package_of(uint32_t cpu_index);
/* Whether that CPU is the first one of its package, which does what is done once for a package. */
bool tme_leads_package(uint32_t cpu_index);

/* Whether any of these bytes is in clear under KeyID 0 because firmware excluded it. Any CPU. */
bool tme_excludes(hpa_t base, uint64_t bytes);

#endif
