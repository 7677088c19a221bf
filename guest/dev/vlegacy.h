/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rest of the PC that stock kernels expect at fixed ports: 8259 pair, 8254 timer with port 61H,
 * CMOS clock, ACPI power management, the keyboard controller's reset line, and pvpanic, which no PC
 * has. guest/memmap.h has the addresses.
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
 * One 8259 as far as software can see it with nothing ever asserted: kernels probe it, program and
 * mask it, and take their interrupts from the I/O APIC. Its INTR goes nowhere (no ExtINT).
 */
struct vpic {
	uint8_t mask;
	uint8_t icws_due;   /* initialisation words still to come */
	uint8_t edge_level; /* ELCR: kept, read back */
};

struct vlegacy;

/* One range of ports: what the bus hands back. */
struct vlegacy_port {
	struct vlegacy *legacy;
	const struct vlegacy_row *row;
};
#define VLEGACY_PORT_MAX 11

struct vlegacy {
	struct lock lock; /* over all below; vioapic_set_line is called under it */
	struct vm *vm;
	struct vioapic *ioapic;
	struct vlegacy_port ports[VLEGACY_PORT_MAX];
	struct vpic pic[2];
	struct vpit pit;
	struct vrtc rtc;
	uint8_t port_61;
	uint8_t pm1_enable[2];
	uint8_t pm1_status; /* the second byte: PWRBTN_STS and RTC_STS; the timer's is computed */
	uint8_t pm1_control[2];
	uint64_t pm_start_tsc;
	uint64_t pm_carries; /* timer carries that the guest has acknowledged */
};

/* Power-up state, time of day from the machine's clock; registers its ports (the bus' errors). */
int vlegacy_init(struct vlegacy *legacy, struct vm *vm, struct vioapic *ioapic);

/* As vm_hooks.clock: raises what fell due (PIT, RTC, PM timer). Any CPU; takes the lock. */
void vlegacy_clock(struct vlegacy *legacy, uint64_t tsc);

/* As vm_hooks.skip_time. The CMOS clock goes on: it is the time of day. */
void vlegacy_skip_time(struct vlegacy *legacy, uint64_t ticks);

/*
 * ACPI's fixed power button: status, and SCI where the guest enabled it. False: it did not, so it
 * sees nothing until it looks. Any CPU; takes the lock.
 */
bool vlegacy_press_power_button(struct vlegacy *legacy);

extern const struct vdev_ops vlegacy_device;

#endif
