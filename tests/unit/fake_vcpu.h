/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM of bare vCPUs in place of vmm/vm.c and vmm/vcpu.c, for tests of code that uses them. It
 * records requests to the vCPUs. Each function is weak, so that a test may define its own.
 */
#ifndef UMBRA_FAKE_VCPU_H
#define UMBRA_FAKE_VCPU_H

#include "vmm/vcpu.h"
#include "vmm/vm.h"

#define FAKE_VCPU_MAX 40

/* Requests to the vCPU with this id since fake_vm_make. */
struct fake_vcpu_notes {
	unsigned kicks, works, nmis, inits, sipis;
	uint8_t sipi_vector;
	enum vcpu_apic_mode apic_mode;
	uint8_t svi;
	uint64_t eoi_exits[4];
};
extern struct fake_vcpu_notes fake_vcpus[FAKE_VCPU_MAX];

/* What vcpu_has_virtual_delivery returns. Guest TSC = host TSC + fake_tsc_offset. */
extern bool fake_virtual_delivery;
extern uint64_t fake_tsc_offset;

/*
 * Makes a VM with so many vCPUs, each with an apic_page of junk. There is one VM; each call resets
 * it.
 */
struct vm *fake_vm_make(uint32_t vcpu_count);

#endif
