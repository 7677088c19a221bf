/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's TSC; vcpu_guest_tsc is public (vcpu.h). */
#ifndef UMBRA_VMM_VCPU_TSC_H
#define UMBRA_VMM_VCPU_TSC_H

#include "vmm/vcpu.h"

/* Sets the guest's TSC back by so many ticks, those of a pause. The VM is paused. */
void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks);
/* For a guest's write to its TSC, or to IA32_TSC_ADJUST. Own CPU, VMCS current. */
void vcpu_write_tsc(struct vcpu *vcpu, uint64_t value);
void vcpu_write_tsc_adjust(struct vcpu *vcpu, uint64_t value);

#endif
