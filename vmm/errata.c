/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of errata. Only processors with unrestricted guests, because vmx_preflight refuses
 * others.
 */
#include "vmm/errata.h"

#include "vmm/base/cpu.h"

#define STEPPING 0xfff3fff /* CPUID.1:EAX without its reserved bits */
#define MODEL	 0xfff3ff0

/*
 * Sources: Intel's specification updates, with the names of the errata. Linux/KVM has the same list
 * for the preemption timer (vmx_preemption_cpu_tfms; its other entries are Nehalem, which has no
 * unrestricted guest), Xen has the one for EPT (vmx_vmcs_init).
 */
static const struct {
	uint32_t mask, signature;
	uint32_t what;
} errata[] = {
	{ STEPPING, 0x20652,
	  ERRATUM_TIMER }, /* Westmere C2: 322814 AAT59, 322911 AAU65, 323056 AAX65 */
	{ STEPPING, 0x20655, ERRATUM_TIMER }, /* Westmere K0: 322911 AAU65 */
	{ STEPPING, 0x206e6, ERRATUM_TIMER }, /* Xeon 7500 D0: 323344 BA86 */
	{ STEPPING, 0x306a8, ERRATUM_TIMER }, /* Xeon E3-1200 v2, before E1 */
	{ MODEL, 0x406d0, ERRATUM_EPT_AD },   /* Atom C2000 (Avoton): 329460 AVR41 */
};

uint32_t errata_of_this_cpu(void)
{
	uint32_t signature = cpu_cpuid(1, 0).eax;
	uint32_t found = 0;

	for (size_t i = 0; i < ARRAY_COUNT(errata); i++) {
		if ((signature & errata[i].mask) == errata[i].signature) {
			found |= errata[i].what;
		}
	}
	return found;
}
