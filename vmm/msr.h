/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's model-specific registers: the bitmap, and the table of MSRs that exit. */
#ifndef UMBRA_VMM_MSR_H
#define UMBRA_VMM_MSR_H

#include "vmm/vcpu.h"

/*
 * Fills a page as an MSR bitmap (SDM vol. 3, "MSR-Bitmap Address"). x2apic: for vCPUs in that mode.
 */
void msr_fill_bitmap(void *page, bool x2apic);

/* Sets the values that are kept for the vCPU to their power-up values. */
void msr_reset(struct vcpu *vcpu);

/* Execute the guest's RDMSR and WRMSR. Return ERR_NOTFOUND for #GP(0). Own CPU, VMCS current. */
int msr_guest_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int msr_guest_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);

#endif
