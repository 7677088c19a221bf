/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Injects events into the guest (SDM vol. 3, "Event Injection"). At most one event waits in
 * vcpu->event; inject_before_entry writes it to the VMCS. All functions run on the vCPU's own CPU
 * with its VMCS current.
 */
#ifndef UMBRA_VMM_INJECT_H
#define UMBRA_VMM_INJECT_H

#include "vmm/vcpu.h"

/*
 * Injects a fault-type hardware exception at the guest's RIP. If another exception waits already,
 * it becomes #DF or a triple fault (which ends the VM) by the SDM's table "Conditions for
 * Generating a Double Fault".
 */
void inject_exception(struct vcpu *vcpu, uint8_t vector, uint32_t error_code);
void inject_ud(struct vcpu *vcpu);
void inject_gp(struct vcpu *vcpu);
void inject_page_fault(struct vcpu *vcpu, uint32_t error_code, uint64_t cr2);

/* The exit interrupted the delivery of an event: the next entry delivers that event again. */
void inject_again(struct vcpu *vcpu, uint32_t idt_vectoring_info);

/* The exit came from a fault of an IRET that had ended NMI blocking: NMIs are blocked again. */
void inject_reblock_nmi(struct vcpu *vcpu);

/*
 * Chooses the event of the next entry: the waiting event, then NMI, then interrupts. Opens windows
 * for the others.
 */
void inject_before_entry(struct vcpu *vcpu);

#endif
