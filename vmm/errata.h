/* SPDX-License-Identifier: Apache-2.0 */
/* What a processor offers for VMX and does not do right, so that it is not used. */
#ifndef UMBRA_VMM_ERRATA_H
#define UMBRA_VMM_ERRATA_H

#include "vmm/base/types.h"

#define ERRATUM_TIMER  BIT(0) /* the preemption timer counts wrongly */
#define ERRATUM_EPT_AD BIT(1) /* accessed and dirty bits of EPT cannot be relied on */

/* ERRATUM_* of the CPU that this runs on, by CPUID.1:EAX. */
uint32_t errata_of_this_cpu(void);

#endif
