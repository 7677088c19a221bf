/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page at VM_APIC_BASE where the CPU virtualises accesses to it (SDM vol. 3, "APIC-Access
 * Page"). In the EPT it is a page of memory, in clear, which a vCPU whose APIC is off or in x2APIC
 * mode would meet as RAM. So it is mapped on demand, and only while every vCPU of the VM is in
 * xAPIC mode; otherwise an access faults, and is done in software.
 */
#ifndef UMBRA_VMM_APIC_PAGE_H
#define UMBRA_VMM_APIC_PAGE_H

#include "vmm/vcpu.h"

/* 0 and no page where the CPU does not virtualise accesses. ERR_NOMEM. */
int apic_page_alloc(struct vm *vm);
/* After the EPT root is gone. */
void apic_page_free(struct vm *vm);

/*
 * A vCPU's APIC goes from one mode to another; on return nobody has the page as RAM any more. On
 * the vCPU's CPU, or before vm_start. Takes gmem.lock, and waits for CPUs that run the VM to leave
 * guest mode.
 */
void apic_page_mode_changed(struct vm *vm, enum vcpu_apic_mode from, enum vcpu_apic_mode to);

/*
 * A vCPU in this mode met no mapping there. True: there is one now, run it again. False: the access
 * has to be emulated (wrong mode, no such page, or no memory for the tables). Takes gmem.lock.
 */
bool apic_page_map(struct vm *vm, enum vcpu_apic_mode mode);

#endif
