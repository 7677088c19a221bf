/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's MSRs for memory types: PAT and MTRRs (SDM vol. 3, "Memory Cache Control"). */
#ifndef UMBRA_VMM_MSR_TYPES_H
#define UMBRA_VMM_MSR_TYPES_H

#include "vmm/vcpu.h"

/*
 * Sets the values that firmware leaves on a real machine. All functions here: own CPU, or before
 * start.
 */
void msr_types_reset(struct vcpu *vcpu);

/*
 * For rows of msr.c; called only for the MSRs that the names say. Return ERR_NOTFOUND for #GP(0).
 */
int msr_read_mtrr_cap(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int msr_read_mtrr_variable(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int msr_write_mtrr_variable(struct vcpu *vcpu, uint32_t msr, uint64_t value);
int msr_read_mtrr_fixed(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int msr_write_mtrr_fixed(struct vcpu *vcpu, uint32_t msr, uint64_t value);
int msr_read_mtrr_def_type(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int msr_write_mtrr_def_type(struct vcpu *vcpu, uint32_t msr, uint64_t value);
int msr_read_pat(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int msr_write_pat(struct vcpu *vcpu, uint32_t msr, uint64_t value);

#endif
