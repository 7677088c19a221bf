/* SPDX-License-Identifier: Apache-2.0 */
/* An access of a vCPU to device memory: by an instruction, or by an operand that lies there. */
#ifndef UMBRA_VMM_DEVICE_ACCESS_H
#define UMBRA_VMM_DEVICE_ACCESS_H

#include "vmm/vcpu.h"

/*
 * At an address outside of RAM; the value comes and goes in access. What nobody owns reads ones and
 * takes writes. Own CPU; devices take their own locks.
 */
void vcpu_device_access(struct vcpu *vcpu, gpa_t gpa, struct io_access *access);

#endif
