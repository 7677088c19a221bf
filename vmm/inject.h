/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events into the guest (SDM vol. 3, "Event Injection"). One event at a time waits in vcpu->event;
 * inject_before_entry hands it to the VMCS. All on the vCPU's own CPU with its VMCS current.
 */
#ifndef UMBRA_VMM_INJECT_H
#define UMBRA_VMM_INJECT_H

#include "vmm/vcpu.h"

/*
 * A fault-type hardware exception at the guest's RIP. Escalates to #DF or a triple fault (the VM
 * ends) as the SDM's table "Conditions for Generating a Double Fault" says when another waits
 * already.
 */
void inject_exception(struct vcpu *vcpu, uint8_t vector, uint32_t error_code);
void inject_ud(struct vcpu *vcpu);
void inject_gp(struct vcpu *vcpu);
void inject_page_fault(struct vcpu *vcpu, uint32_t error_code, uint64_t cr2);

/* The exit broke off the delivery of an event: it is delivered again at the next entry. */
void inject_again(struct vcpu *vcpu, uint32_t idt_vectoring_info);

/* The exit came from a fault of an IRET that had lifted NMI blocking: NMIs are blocked again. */
void inject_reblock_nmi(struct vcpu *vcpu);

/* Chooses the event of the next entry: what waits, then NMI, then interrupts; opens windows for the
 * rest. */
void inject_before_entry(struct vcpu *vcpu);

#endif
