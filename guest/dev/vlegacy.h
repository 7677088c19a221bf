/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other devices that stock kernels expect at fixed ports: 8259 pair, 8254 timer with port 61H,
 * CMOS clock, ACPI power management, the keyboard controller's reset line; and pvpanic, which real
 * PCs do not have. guest/memmap.h has the addresses.
 */
#ifndef UMBRA_GUEST_DEV_VLEGACY_H
#define UMBRA_GUEST_DEV_VLEGACY_H

#include "guest/dev/vioapic.h"
#include "guest/dev/vpit.h"
#include "guest/dev/vrtc.h"
#include "guest/vdev.h"
#include "vmm/base/lock.h"
#include "vmm/vm.h"

/*
 * What software sees of one 8259 whose inputs are never asserted. Kernels probe, program and mask
 * it, and take their interrupts from the I/O APIC. Its INTR is not connected (no ExtINT).
 */
struct vpic {
	uint8_t mask;
	uint8_t icws_due;   /* how many initialisation words are still to come */
	uint8_t edge_level; /* ELCR: kept and read back, without effect */
};

struct vlegacy;

/* One range of ports: the device pointer for the bus. */
struct vlegacy_port {
	struct vlegacy *legacy;
	const struct vlegacy_row *row;
};
#define VLEGACY_PORT_MAX 11

struct vlegacy {
	struct lock lock; /* guards all fields below; vioapic_set_line is called under it */
	struct vm *vm;
	struct vioapic *ioapic;
	struct vlegacy_port ports[VLEGACY_PORT_MAX];
	struct vpic pic[2];
	struct vpit pit;
	struct vrtc rtc;
	uint8_t port_61;
	uint8_t pm1_enable[2];
	/* the second byte: PWRBTN_STS and RTC_STS; the timer's status is computed */
	uint8_t pm1_status;
	uint8_t pm1_control[2];
	uint64_t pm_start_tsc;
	uint64_t pm_carries; /* timer carries that the guest has acknowledged */
};

/*
 * Sets the power-up state with the time of day of the machine's clock, and registers the ports.
 * Returns an error of iobus_add.
 */
int vlegacy_init(struct vlegacy *legacy, struct vm *vm, struct vioapic *ioapic);

/* Like vm_hooks.clock: raises what is due (PIT, RTC, PM timer). Any CPU; takes the lock. */
void vlegacy_clock(struct vlegacy *legacy, uint64_t tsc);

/* Like vm_hooks.skip_time. The CMOS clock does not stop, because it is the time of day. */
void vlegacy_skip_time(struct vlegacy *legacy, uint64_t ticks);

/*
 * Presses ACPI's fixed power button: sets its status, and raises the SCI if the guest has enabled
 * the button. Returns false if it has not, so that it will not notice unless it polls. Any CPU;
 * takes the lock.
 */
bool vlegacy_press_power_button(struct vlegacy *legacy);

extern const struct vdev_ops vlegacy_device;

#endif
