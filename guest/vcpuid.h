/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of CPUID that describes the VM and not the CPU: hypervisor leaves, topology, APIC,
 * clocks. README.md explains why there are two signatures.
 */
#ifndef UMBRA_GUEST_VCPUID_H
#define UMBRA_GUEST_VCPUID_H

#include "guest/vm_config.h"

/* Changes regs (EAX, EBX, ECX, EDX as vmm's policy left them) for the vCPU. */
void vcpuid_adjust(const struct vcpu *vcpu, enum vm_signature signature, uint32_t leaf,
		   uint32_t subleaf, uint32_t regs[4]);

#endif
