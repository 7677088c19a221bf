/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMX features that a processor announces but does not implement correctly, so that Umbra must not
 * use them.
 */
#ifndef UMBRA_VMM_ERRATA_H
#define UMBRA_VMM_ERRATA_H

#include "vmm/base/types.h"

#define ERRATUM_TIMER  BIT(0) /* the preemption timer counts wrongly */
#define ERRATUM_EPT_AD BIT(1) /* accessed and dirty bits of EPT are unreliable */

/* ERRATUM_* bits of the current CPU, by CPUID.1:EAX. */
uint32_t errata_of_this_cpu(void);

#endif
