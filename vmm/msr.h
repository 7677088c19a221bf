/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers of a guest: the bitmap and the table of those that exit. */
#ifndef UMBRA_VMM_MSR_H
#define UMBRA_VMM_MSR_H

#include "vmm/vcpu.h"

/* Fills a page as SDM vol. 3, "MSR-Bitmap Address" lays it out; x2apic: for vCPUs in that mode. */
void msr_fill_bitmap(void *page, bool x2apic);

/* Power-up values of what is kept for the vCPU. */
void msr_reset(struct vcpu *vcpu);

/*
 * What RDMSR and WRMSR of the guest do. ERR_NOTFOUND: #GP(0). Own CPU, VMCS current.
 */
int msr_guest_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int msr_guest_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);

#endif
