/* SPDX-License-Identifier: Apache-2.0 */
/* INVEPT (SDM vol. 3, "VMX Instruction Reference"), for ept_tlb.c alone. */
#ifndef UMBRA_EPT_INVEPT_PRIV_H
#define UMBRA_EPT_INVEPT_PRIV_H

#include "vmm/base/types.h"

enum invept_type {
	INVEPT_SINGLE = 1, /* what is tagged with this EPTP */
	INVEPT_ALL = 2,
};

#ifdef UMBRA_HOST_TEST

bool fake_invept(uint64_t type, uint64_t eptp);
#define invept fake_invept

#else

/* False when the CPU refused (VMfail). */
static inline bool invept(uint64_t type, uint64_t eptp)
{
	const struct {
		uint64_t eptp, reserved;
	} descriptor = { eptp, 0 };
	bool ok;

	/* "Above": CF = 0 (no VMfailInvalid) and ZF = 0 (no VMfailValid). */
	__asm__ volatile("invept %[descriptor], %[type]"
			 : "=@cca"(ok)
			 : [type] "r"(type), [descriptor] "m"(descriptor)
			 : "memory");
	return ok;
}

#endif

#endif
