/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's I/O APIC: an 82093AA with 24 pins and, as version 20H, the EOI register of its successors
 * (Intel 82093AA datasheet; 8-bit destinations as in every later chipset).
 */
#ifndef UMBRA_GUEST_DEV_VIOAPIC_H
#define UMBRA_GUEST_DEV_VIOAPIC_H

#include "guest/memmap.h"
#include "guest/vdev.h"
#include "vmm/base/lock.h"
#include "vmm/vm.h"

struct vioapic {
	struct lock lock; /* guards all fields below; vlapic_deliver is called under it */
	struct vm *vm;
	uint64_t entry[GSI_COUNT]; /* redirection entries, as the guest sees them */
	uint32_t lines;		   /* levels of the wires, one bit for each pin */
	uint8_t select;
	uint8_t id;
};

/*
 * Sets the power-up state and registers MEMMAP_IOAPIC on the VM's bus. Returns an error of
 * iobus_add.
 */
int vioapic_init(struct vioapic *ioapic, struct vm *vm);

/*
 * Sets the level of the wire at a pin; a device calls this when its level changes. A rising wire is
 * an edge; a high wire keeps a level-triggered interrupt asserted. Ignores a pin of GSI_COUNT or
 * above. Any CPU; takes the lock.
 */
void vioapic_set_line(struct vioapic *ioapic, uint32_t pin, bool high);

/*
 * A local APIC calls this at the EOI of a level-triggered interrupt with this vector. Any CPU, with
 * no lock held.
 */
void vioapic_eoi(struct vm *vm, uint8_t vector);

extern const struct vdev_ops vioapic_device;

#endif
