/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of a vCPU, for people. */
#ifndef UMBRA_VMM_VCPU_DUMP_H
#define UMBRA_VMM_VCPU_DUMP_H

#include "vmm/vcpu.h"

/* To the log. Its VMCS is current. */
void vcpu_dump(const struct vcpu *vcpu);

#endif
