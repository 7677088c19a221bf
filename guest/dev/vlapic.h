/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's virtual local APIC (SDM vol. 3, "Advanced Programmable Interrupt Controller"), xAPIC and
 * x2APIC. Its registers are in vcpu->apic_page, in the layout of the virtual-APIC page (SDM, "APIC
 * Virtualization and Virtual Interrupts"). So hardware that virtualises the APIC and this code use
 * the same bytes.
 *
 * All functions run on the vCPU's own CPU, except vlapic_deliver, which any CPU may call at any
 * time. There are no locks: other CPUs post interrupts with atomic operations, and the vCPU's own
 * CPU merges them before the next VM entry.
 */
#ifndef UMBRA_GUEST_DEV_VLAPIC_H
#define UMBRA_GUEST_DEV_VLAPIC_H

#include "guest/vdev.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

/* The address of the APIC page; a guest cannot move it. */
#define VLAPIC_BASE 0xfee00000ul

/*
 * The APIC timer counts at the TSC's frequency divided by this (before its own divider). The
 * guest's CPUID.15H must agree: EAX = 1, EBX = this, ECX = the TSC's Hz divided by this.
 */
#define VLAPIC_TSC_RATIO 2

/*
 * SDM, "Interrupt Command Register (ICR)", delivery mode. MSI and the IOAPIC use the same values.
 */
enum vlapic_mode {
	VLAPIC_FIXED = 0,
	VLAPIC_LOWEST = 1,
	VLAPIC_SMI = 2, /* ignored: there is no SMM */
	VLAPIC_NMI = 4,
	VLAPIC_INIT = 5,
	VLAPIC_SIPI = 6,
	VLAPIC_EXTINT = 7, /* the vector comes from the 8259's acknowledgement */
};

/* One interrupt message: from an ICR, an IOAPIC redirection entry or an MSI. */
struct vlapic_msg {
	uint32_t dest; /* APIC ID or logical set; 8 bits (0xff: all) unless wide */
	bool wide;     /* dest has 32 bits, as in x2APIC mode (0xffffffff: all) */
	bool logical;
	bool level;   /* level-triggered: the EOI calls vioapic_eoi(vm, vector) */
	uint8_t mode; /* enum vlapic_mode */
	uint8_t vector;
};

/*
 * Delivers a message to every vCPU that it addresses, and wakes them. Returns whether a vCPU
 * accepted it (it exists, and its APIC is enabled). Any CPU, with any lock held; takes no lock and
 * does not wait.
 */
bool vlapic_deliver(struct vm *vm, const struct vlapic_msg *msg);

/*
 * Gives the vCPU, which has its apic_page, an APIC in power-up state, as vcpu->platform. Returns
 * ERR_NOMEM if there is no host page.
 */
int vlapic_create(struct vcpu *vcpu);
void vlapic_destroy(struct vcpu *vcpu);
/* Whether IA32_APIC_BASE has the APIC on. Own CPU. */
bool vlapic_is_on(const struct vcpu *vcpu);

/* The functions of struct vm_hooks (vmm/vm.h) that concern the APIC, with the same contracts. */
int vlapic_irq_pending(struct vcpu *vcpu);
void vlapic_irq_accepted(struct vcpu *vcpu, uint8_t vector);
int vlapic_irr_highest(struct vcpu *vcpu);
void vlapic_eoi(struct vcpu *vcpu, uint8_t vector);
void vlapic_eoi_highest(struct vcpu *vcpu);
void vlapic_apic_written(struct vcpu *vcpu, uint32_t offset);
void vlapic_apic_access(struct vcpu *vcpu, struct io_access *access);
uint8_t vlapic_cr8_read(struct vcpu *vcpu);
void vlapic_cr8_write(struct vcpu *vcpu, uint8_t value);
uint64_t vlapic_next_deadline(struct vcpu *vcpu);
/* Like vm_hooks.skip_time, for one vCPU. */
void vlapic_skip_time(struct vcpu *vcpu, uint64_t ticks);

/*
 * Access IA32_APIC_BASE, IA32_TSC_DEADLINE and 800H-8FFH. Return ERR_NOTFOUND for any other MSR or
 * a refused value.
 */
int vlapic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int vlapic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);

extern const struct vdev_ops vlapic_device;

#endif
