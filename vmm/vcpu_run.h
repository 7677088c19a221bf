/* SPDX-License-Identifier: Apache-2.0 */
/* The run loop of a vCPU, for the scheduler. On the CPU that the vCPU is on, interrupts off. */
#ifndef UMBRA_VMM_VCPU_RUN_H
#define UMBRA_VMM_VCPU_RUN_H

#include "vmm/vcpu.h"

/* Runs until slice_end (host TSC), HLT, or the end of the VM. */
void vcpu_run(struct vcpu *vcpu, uint64_t slice_end);
/* Takes requests of other CPUs; true when there is something to run for. */
bool vcpu_wake(struct vcpu *vcpu);

#endif
