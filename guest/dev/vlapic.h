/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's virtual local APIC (SDM vol. 3, "Advanced Programmable Interrupt Controller"), xAPIC and
 * x2APIC. Its registers live in vcpu->apic_page in the layout of the virtual-APIC page (SDM, "APIC
 * Virtualization and Virtual Interrupts"), so that hardware, where it virtualises the APIC, and
 * this code look at the same bytes.
 *
 * Everything here runs on the CPU that runs the vCPU, except vlapic_deliver, which any CPU may call
 * at any time. No locks: what comes from other CPUs is posted with atomic operations and merged by
 * the vCPU's own CPU before the next VM entry.
 */
#ifndef UMBRA_GUEST_DEV_VLAPIC_H
#define UMBRA_GUEST_DEV_VLAPIC_H

#include "guest/vdev.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

/* Where the APIC page lies; a guest cannot move it. */
#define VLAPIC_BASE 0xfee00000ul

/*
 * The APIC timer counts at the TSC's frequency divided by this (before its own divider). CPUID.15H
 * of the guest has to say the same: EAX = 1, EBX = this, ECX = TSC Hz / this.
 */
#define VLAPIC_TSC_RATIO 2

/* SDM, "Interrupt Command Register (ICR)", delivery mode; also that of MSI and of the IOAPIC. */
enum vlapic_mode {
	VLAPIC_FIXED = 0,
	VLAPIC_LOWEST = 1,
	VLAPIC_SMI = 2, /* dropped: there is no SMM */
	VLAPIC_NMI = 4,
	VLAPIC_INIT = 5,
	VLAPIC_SIPI = 6,
	VLAPIC_EXTINT = 7, /* vector as the 8259 acknowledged it */
};

/* One interrupt message: from an ICR, an IOAPIC redirection entry or an MSI. */
struct vlapic_msg {
	uint32_t dest; /* APIC ID or logical set; 8 bits (0xff: everyone) unless wide */
	bool wide;     /* dest is 32 bits as in x2APIC mode (0xffffffff: everyone) */
	bool logical;
	bool level;   /* level-triggered: the EOI comes back as vioapic_eoi(vm, vector) */
	uint8_t mode; /* enum vlapic_mode */
	uint8_t vector;
};

/*
 * Delivers to every vCPU that the message addresses and wakes them. Returns whether any of them
 * accepted it (present, APIC enabled). Any CPU, any lock held; takes none and does not wait.
 */
bool vlapic_deliver(struct vm *vm, const struct vlapic_msg *msg);

/* Gives the vCPU (with its apic_page) an APIC in power-up state, as vcpu->platform. ERR_NOMEM. */
int vlapic_create(struct vcpu *vcpu);
void vlapic_destroy(struct vcpu *vcpu);
/* Not switched off by IA32_APIC_BASE. Own CPU. */
bool vlapic_is_on(const struct vcpu *vcpu);

/* The rows of struct vm_hooks (vmm/vm.h) that concern the APIC, under the same contracts. */
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
/* As vm_hooks.skip_time, for each vCPU. */
void vlapic_skip_time(struct vcpu *vcpu, uint64_t ticks);

/* IA32_APIC_BASE, IA32_TSC_DEADLINE and 800H-8FFH; any other, or a refused value: ERR_NOTFOUND. */
int vlapic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int vlapic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);

extern const struct vdev_ops vlapic_device;

#endif
