/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of CPUID that says what the VM is, and not what the CPU can do: hypervisor leaves,
 * topology, APIC, clock. README.md says why there are two signatures.
 */
#ifndef UMBRA_GUEST_VCPUID_H
#define UMBRA_GUEST_VCPUID_H

#include "guest/vm_config.h"

/* Changes regs (EAX, EBX, ECX, EDX as vmm's policy left them) for the vCPU. */
void vcpuid_adjust(const struct vcpu *vcpu, enum vm_signature signature, uint32_t leaf,
		   uint32_t subleaf, uint32_t regs[4]);

#endif
