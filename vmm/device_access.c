/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory by address: first the range that was found last, then the APIC, then the bus. No
 * lock.
 */
#include "vmm/device_access.h"

#include "vmm/attention.h"
#include "vmm/vcpu_priv.h"

/* Not the last device: finds the range, and notes it for the next access. */
static __attribute__((noinline)) void find_and_access(struct vcpu *vcpu, gpa_t gpa,
						      struct io_access *access)
{
	const struct iobus_range *range;

	if ((gpa.v & PAGE_MASK) == VM_APIC_BASE) {
		(void)attention_set(vcpu, ATTENTION_EVENTS);
		access->offset = gpa.v - VM_APIC_BASE;
		vcpu->vm->hooks->apic_access(vcpu, access);
		return;
	}
	range = iobus_memory_range(&vcpu->vm->iobus, gpa.v);
	if (range != NULL) {
		vcpu->priv->device_range = range;
	}
	/* An address without a device reads all ones and ignores writes, as on a bus. */
	iobus_memory_access(&vcpu->vm->iobus, gpa.v, vcpu, access);
}

void vcpu_device_access(struct vcpu *vcpu, gpa_t gpa, struct io_access *access)
{
	const struct iobus_range *range = vcpu->priv->device_range;

	if (range != NULL && iobus_range_holds(range, gpa.v, access->size)) {
		iobus_range_access(range, gpa.v, vcpu, access);
	} else {
		find_and_access(vcpu, gpa, access);
	}
}
