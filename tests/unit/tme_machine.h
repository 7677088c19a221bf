/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine with TME or TME-MK for the tests of the driver: CPUID, and for each package the
 * registers and PCONFIG (SDM vol. 2B, "PCONFIG", with checks in the SDM's order). It fails the test
 * when a register is accessed that CPUID does not announce, or when a key is left in memory.
 */
#ifndef UMBRA_TESTS_TME_MACHINE_H
#define UMBRA_TESTS_TME_MACHINE_H

#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

#define TME_PACKAGES 2u
#define TME_KEYIDS   256u
/* By so much the TSC advances in a WBINVD. */
#define TME_MACHINE_WBINVD_TICKS 3500u

struct tme_entry {
	enum { ENTRY_TME, ENTRY_KEY, ENTRY_CLEAR } mode;
	uint16_t algorithm;
	uint8_t data[32], tweak[32];
	unsigned programmed; /* how many times */
};

struct tme_package {
	uint64_t activate, exclude_mask, exclude_base;
	uint64_t capability;
	bool has_partition;
	uint64_t partition;
	unsigned busy, no_entropy; /* so many of the next PCONFIGs fail */
	unsigned activate_fails;   /* so many keys cannot be made at WRMSR 982H */
	bool broken;		   /* PCONFIG raises #GP */
	bool zf_alone;		   /* PCONFIG sets ZF and returns 0 */
	uint64_t legacy_code;	   /* PCONFIG returns this code, with ZF = 0; 0: no code */
	bool written_flushed;	   /* WBINVD ran on one of its CPUs before 982H was written */
	struct tme_entry table[TME_KEYIDS];
};

extern struct tme_machine {
	uint8_t phys_bits;
	uint8_t phys_bits_less; /* package 1 has so many fewer */
	bool tme, pconfig, ignore_locked_write;
	bool hypervisor;	/* CPUID.01H:ECX[31] */
	bool registers_missing; /* although CPUID announces them */
	uint32_t targets[4][4]; /* CPUID.1BH by sub-leaf */
	unsigned package_count;
	uint8_t package_shift; /* of CPUID.1FH */
	unsigned core_refuses; /* CPU index + 1 whose access to 9FFH faults */
	bool core_active[CPU_MAX];
	struct tme_package package[TME_PACKAGES];
	unsigned pconfigs;     /* executed in all */
	const void *structure; /* operand of the last one */
	unsigned tme_reads;    /* reads of 981H to 984H */
} tme_machine;

/*
 * Sets up profile 1 to 12 of the test matrix, with `cpus` CPUs: the first half is package 0 if
 * there are two packages. Resets all other state.
 */
void tme_machine_set(unsigned profile, unsigned cpus, unsigned packages);
/* Writes 982H on all packages. */
void tme_machine_activate(uint64_t value);
/* Fails the test unless the structure for PCONFIG is all zeros, and was flushed after that. */
void tme_machine_check_wiped(void);

#endif
