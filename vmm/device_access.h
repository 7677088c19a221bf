/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's access to device memory, by an instruction or by an operand at such an address. */
#ifndef UMBRA_VMM_DEVICE_ACCESS_H
#define UMBRA_VMM_DEVICE_ACCESS_H

#include "vmm/vcpu.h"

/*
 * Accesses an address outside of RAM; access holds the value. An address without a device reads
 * ones and ignores writes. Own CPU; devices take their own locks.
 */
void vcpu_device_access(struct vcpu *vcpu, gpa_t gpa, struct io_access *access);

#endif
