/* SPDX-License-Identifier: Apache-2.0 */
/* Guest registers that stay in the CPU over exits. Own CPU, but for the first two. */
#ifndef UMBRA_VMM_VCPU_STATE_H
#define UMBRA_VMM_VCPU_STATE_H

#include "vmm/vcpu.h"

int vcpu_state_alloc(struct vcpu *vcpu);
void vcpu_state_free(struct vcpu *vcpu);
/* from gives up the CPU's live registers, to takes them. NULL: nobody; not both. */
void vcpu_state_switch(struct vcpu *from, struct vcpu *to);
/* INIT of the vCPU that is loaded here: debug registers and CR2 (SDM, table of states after INIT).
 */
void vcpu_state_reset(void);
/* The guest's XSETBV, checked already. */
void vcpu_state_set_xcr0(struct vcpu *vcpu, uint64_t xcr0);
void vcpu_state_set_cr2(uint64_t cr2);
void vcpu_state_change_dr6(uint64_t clear, uint64_t set);

#endif
