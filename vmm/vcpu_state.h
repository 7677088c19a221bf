/* SPDX-License-Identifier: Apache-2.0 */
/* Guest registers that stay in the CPU during exits. */
#ifndef UMBRA_VMM_VCPU_STATE_H
#define UMBRA_VMM_VCPU_STATE_H

#include "vmm/vcpu.h"

/*
 * The memory for these registers. vcpu_state_alloc returns 0 or ERR_NOMEM. Any CPU; the functions
 * below run on the vCPU's own CPU.
 */
int vcpu_state_alloc(struct vcpu *vcpu);
void vcpu_state_free(struct vcpu *vcpu);
/*
 * Saves the registers in the CPU for `from`, and loads those of `to`. Either may be NULL, not both:
 * nothing is saved, or nothing is loaded.
 */
void vcpu_state_switch(struct vcpu *from, struct vcpu *to);
/*
 * Sets debug registers and CR2 of the vCPU, which is loaded here, as after INIT (SDM, table of
 * states after INIT).
 */
void vcpu_state_reset(struct vcpu *vcpu);
/* Does the guest's XSETBV. The value was checked. */
void vcpu_state_set_xcr0(struct vcpu *vcpu, uint64_t xcr0);
void vcpu_state_set_cr2(uint64_t cr2);
void vcpu_state_change_dr6(struct vcpu *vcpu, uint64_t clear, uint64_t set);

#endif
