/* SPDX-License-Identifier: Apache-2.0 */
/* The run loop of a vCPU, for the scheduler. On the CPU that the vCPU is on, interrupts off. */
#ifndef UMBRA_VMM_VCPU_RUN_H
#define UMBRA_VMM_VCPU_RUN_H

#include "vmm/vcpu.h"

/*
 * Runs the vCPU until sched_slice_over returns true, which is asked at slice_end (host TSC) at the
 * latest; or until it halts, its VM is paused, or its VM ends.
 */
void vcpu_run(struct vcpu *vcpu, uint64_t slice_end);
/* Takes requests of other CPUs. Returns whether the vCPU, or its device work, wants to run. */
bool vcpu_wake(struct vcpu *vcpu);

#endif
