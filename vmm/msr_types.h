/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's MSRs that say memory types: PAT and MTRRs (SDM vol. 3, "Memory Cache Control"). */
#ifndef UMBRA_VMM_MSR_TYPES_H
#define UMBRA_VMM_MSR_TYPES_H

#include "vmm/vcpu.h"

/* What a machine after firmware says. Own CPU, or before start, as all here. */
void msr_types_reset(struct vcpu *vcpu);

/* For rows of msr.c, which give no other msr than these functions name. ERR_NOTFOUND: #GP(0). */
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
