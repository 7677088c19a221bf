/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's TSC; vcpu_guest_tsc is public (vcpu.h). */
#ifndef UMBRA_VMM_VCPU_TSC_H
#define UMBRA_VMM_VCPU_TSC_H

#include "vmm/vcpu.h"

/* The VM is paused: the guest's TSC goes back so many ticks. */
void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks);
/* Own CPU, VMCS current: the guest writes its TSC, or IA32_TSC_ADJUST. */
void vcpu_write_tsc(struct vcpu *vcpu, uint64_t value);
void vcpu_write_tsc_adjust(struct vcpu *vcpu, uint64_t value);

#endif
