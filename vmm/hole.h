/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-physical addresses with neither memory nor a device. On a real bus they read as ones and
 * ignore writes, whatever accesses them: any instruction, a fetch, a page walk, the delivery of an
 * event. emul.c executes the instructions that drivers use. For everything else, a frame of ones is
 * lent to the page, the guest runs for one instruction (SDM vol. 3, "Monitor Trap Flag"), and the
 * frame is taken back. So the CPU itself does what it would do at such an address.
 */
#ifndef UMBRA_VMM_HOLE_H
#define UMBRA_VMM_HOLE_H

#include "vmm/vcpu.h"

/*
 * Maps the frame of ones at the page of gpa until the vCPU has executed one instruction, or
 * delivered one event. The caller then enters the guest again at the same RIP. Returns false
 * without a change if the page contains a device or the APIC, if the CPU has no monitor trap flag,
 * or if the instruction has such pages at its limit, or the VM or the host has no more EPT tables
 * for it. Own CPU, the vCPU's VMCS current. Takes gmem.lock.
 */
bool hole_open(struct vcpu *vcpu, gpa_t gpa);

/*
 * Called after that instruction: unmaps the frame from all pages that it was lent to for this vCPU,
 * on all CPUs, and fills it with ones again. Own CPU, the vCPU's VMCS current. Takes gmem.lock.
 */
void hole_close(struct vcpu *vcpu);

/* Called before the VM is freed, and after its EPT was destroyed. */
void hole_free(struct vm *vm);

#endif
