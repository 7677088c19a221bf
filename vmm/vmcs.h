/* SPDX-License-Identifier: Apache-2.0 */
/* Fills VMCSs from const tables. All functions work on the current VMCS, on the vCPU's own CPU. */
#ifndef UMBRA_VMM_VMCS_H
#define UMBRA_VMM_VMCS_H

#include "vmm/vcpu.h"

/*
 * Builds the MSR bitmaps, which all vCPUs share. Once, after vmx_init has chosen the controls.
 * Returns ERR_NOMEM.
 */
int vmcs_init(void);

/* VMCLEAR and VMPTRLD, then writes controls and the guest's reset state. */
void vmcs_setup(struct vcpu *vcpu);
/* Writes the host state of this CPU. */
void vmcs_write_host(void);
/* Writes the controls that depend on the mode of the vCPU's APIC, and the EOI-exit bitmap. */
void vmcs_write_apic_controls(struct vcpu *vcpu);
/* Sets all registers as after INIT (SDM, "Processor State After Reset"), then SIPI's CS. */
void vmcs_reset_guest(struct vcpu *vcpu, uint8_t sipi_vector);
/* Changes the reset state to 64-bit mode. */
void vmcs_set_long_mode(const struct vcpu_long_mode *state);

#endif
