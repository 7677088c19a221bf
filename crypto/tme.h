/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory encryption that this machine offers (TME, TME-MK), which part of it can be used, and
 * its late activation. Source: Intel Architecture Memory Encryption Technologies Specification
 * (336907).
 */
#ifndef UMBRA_CRYPTO_TME_H
#define UMBRA_CRYPTO_TME_H

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"
#include "vmm/host/acpi_host.h"

/* Sets of packages are bits of a uint64_t. */
#define TME_PACKAGE_MAX 64u

enum tme_kind {
	TME_NONE, /* no encryption: DRAM holds what CPUs write */
	TME_ONLY, /* all DRAM is under one key, which firmware or the CPU made */
	TME_MK,	  /* there are KeyIDs whose keys Umbra can set */
};

struct tme_state {
	enum tme_kind kind;
	bool bypass;	   /* KeyID 0 is in clear in DRAM */
	uint8_t phys_bits; /* m: CPUID.80000008H:EAX[7:0] */
	/*
	 * k: how many address bits the CPU takes for the KeyID. It is above 0 wherever
	 * IA32_TME_ACTIVATE is locked and enabled with such bits, even where kind says that no
	 * KeyID can be used. No address may have these bits set then.
	 */
	uint8_t keyid_bits;
	/* p: how many of these bits, the upper ones, are TDX's; they are always 0 for us */
	uint8_t tdx_bits;
	keyid_t keyid_count;	/* usable KeyIDs are 1 to this number; 0 unless kind is TME_MK */
	bool xts256;		/* the keys are for AES-XTS-256, otherwise for AES-XTS-128 */
	uint16_t algorithm;	/* its bit in PCONFIG's ENC_ALG; 0 unless kind is TME_MK */
	uint8_t row;		/* the row of the decision table (tme.c) that fits */
	uint32_t package_count; /* packages with a started CPU */
	bool standby;		/* the CPU keeps the TME key over standby */
	/*
	 * Addresses a with (a & exclude_mask) == (exclude_base & exclude_mask) are in clear under
	 * KeyID 0. Other KeyIDs are encrypted there.
	 */
	bool has_exclusion;
	uint64_t exclude_base, exclude_mask;
	char words[232]; /* a sentence for the log and for the shell command `host` */
};

/*
 * The result of tme_start; before that of tme_look; before that all zero. Never NULL. Any CPU. Only
 * these two functions change it.
 */
const struct tme_state *tme_state(void);

/*
 * Reads this CPU's registers and changes none. Boot processor; can be called from the start on.
 * Faults are not caught yet, so the registers are not read under a hypervisor, which may show TME
 * in CPUID and lack its registers.
 */
void tme_look(void);

/*
 * Passes on what firmware lists, before tme_start: the APIC IDs of all CPUs, and which RAM is near
 * which CPUs (NULL: firmware does not say; a range of 0 bytes is not RAM). The caller keeps both
 * alive. Umbra cannot set keys on a package without a started CPU. So tme_start uses no KeyIDs if
 * firmware lists such a package, which may have memory, or lists RAM that is near no started CPU.
 */
void tme_expect(const uint32_t *apic_ids, size_t count, const struct acpi_affinity *affinity);

/*
 * Compares all packages, decides (tme_state), and logs the decision. With activate, writes a
 * register that firmware left open: KeyID bits, all algorithms without integrity, and bypass,
 * without which the content of DRAM would be lost. If that is not possible, the reason is logged.
 * ram_and_mmio_end: all RAM and devices lie below this address. Boot processor, once, after
 * smp_start_all and before any KeyID is used. Source: 336907, "IA32_TME_ACTIVATE".
 */
void tme_start(bool activate, uint64_t ram_and_mmio_end);

/*
 * The number of a CPU's package, below package_count. Packages are numbered in the order of their
 * first CPUs. Call after tme_start. Any CPU, no locks.
 */
uint32_t tme_package_of(uint32_t cpu_index);
/*
 * Whether a CPU is the first of its package. That CPU does what must be done once for each package.
 */
bool tme_leads_package(uint32_t cpu_index);

/*
 * Whether any of these bytes is in clear under KeyID 0 because firmware excluded it from
 * encryption. Any CPU.
 */
bool tme_excludes(hpa_t base, uint64_t bytes);

#endif
