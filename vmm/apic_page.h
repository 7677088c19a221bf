/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page at VM_APIC_BASE, at which the CPU virtualises accesses to the local APIC (SDM vol. 3,
 * "APIC-Access Page"). In the EPT it is a page of memory in clear, which a vCPU with its APIC off
 * or in x2APIC mode would see as RAM. So it is mapped on demand, and only while every vCPU of the
 * VM is in xAPIC mode. Otherwise an access faults, and software handles it.
 */
#ifndef UMBRA_VMM_APIC_PAGE_H
#define UMBRA_VMM_APIC_PAGE_H

#include "vmm/vcpu.h"

/*
 * Allocates the page. Returns 0 without a page if the CPU does not virtualise accesses, or
 * ERR_NOMEM.
 */
int apic_page_alloc(struct vm *vm);
/* Called after the EPT root was destroyed. */
void apic_page_free(struct vm *vm);

/*
 * A vCPU's APIC changes its mode. Unmaps the page, so on return no vCPU sees it as RAM any more. On
 * the vCPU's CPU, or before vm_start. Takes gmem.lock, and waits until CPUs that run the VM have
 * left guest mode.
 */
void apic_page_mode_changed(struct vm *vm, enum vcpu_apic_mode from, enum vcpu_apic_mode to);

/*
 * Handles an EPT violation at this page, of a vCPU in this mode. Returns true if the page is mapped
 * now and the access can be tried again; false if the access must be emulated (wrong mode, no such
 * page, or no memory for tables). Takes gmem.lock.
 */
bool apic_page_map(struct vm *vm, enum vcpu_apic_mode mode);

#endif
