/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-physical addresses where neither memory nor a device is. On a bus they read as ones and
 * take writes, for whatever looks there: any instruction, a fetch, a page walk, the delivery of an
 * event. emul.c does the instructions that drivers use; for all else the page is lent a frame of
 * ones, the guest runs for one instruction (SDM vol. 3, "Monitor Trap Flag"), and the frame is
 * taken back. So the CPU itself does what it would do there.
 */
#ifndef UMBRA_VMM_HOLE_H
#define UMBRA_VMM_HOLE_H

#include "vmm/vcpu.h"

/*
 * Lends the page at gpa a frame until the vCPU has done one instruction, or the delivery of one
 * event. The caller enters the guest again where it stands. False: it stays as it is, for a device
 * or the APIC is in that page, the CPU cannot step, or what one instruction, one VM or the host
 * has for this is used up. Own CPU, the vCPU's VMCS current. Takes gmem.lock.
 */
bool hole_open(struct vcpu *vcpu, gpa_t gpa);

/*
 * After that instruction: takes back what the vCPU was lent, so that no CPU translates to it any
 * more, and makes it ones again. Own CPU, the vCPU's VMCS current. Takes gmem.lock.
 */
void hole_close(struct vcpu *vcpu);

/* Before the VM is freed, and after its EPT. */
void hole_free(struct vm *vm);

#endif
