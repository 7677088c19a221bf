/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock guards all devices of this file, because none is on a hot path. It is held while a wire
 * of the I/O APIC changes (vlegacy's lock, then vioapic's). All time comes from the host's TSC.
 *
 * Ports that port_rows does not list have no device and read all ones, like an empty bus: the
 * keyboard controller except for its reset line, and the POST port.
 */
#include "guest/dev/vlegacy.h"

#include "guest/dev/vclock.h"
#include "guest/memmap.h"
#include "guest/platform_state.h"
#include "vmm/base/cpu.h"
#include "vmm/console/log.h"

/* 8259A datasheet, "Initialization Command Words" and "Operation Command Words". */
#define ICW1_INIT   BIT(4)
#define ICW1_SINGLE BIT(1)
#define ICW1_ICW4   BIT(0)
#define ELCR_SCI    BIT(IRQ_SCI - 8) /* in the second register: the SCI is level-triggered */

#define PORT_61_GATE	BIT(0)
#define PORT_61_KEPT	0x0f
#define PORT_61_REFRESH BIT(4) /* toggles with each memory refresh, about every 15 us */
#define PORT_61_OUT	BIT(5)
#define REFRESH_HZ	66287ul

#define PORT_KBC	0x64
#define KBC_PULSE_RESET 0xfe

/* ACPI specification, "PM1 Event Grouping", "PM1 Control Grouping", "Power Management Timer". */
#define PM_TIMER_HZ    3579545ul
#define PM_CARRY_SHIFT 31 /* TMR_STS is set whenever bit 31 of a 32-bit timer changes */
#define PM1_TMR	       BIT(0)
/* this bit and the next are in the second byte of status and enable */
#define PM1_PWRBTN BIT(0)
#define PM1_RTC	   BIT(2)

/* In the second byte of PM1 control, except SCI_EN, which is in the first. */
#define PM1_SCI_EN     BIT(0)
#define PM1_SLP_TYP(v) (((v) >> 2) & 7)
#define PM1_SLP_EN     BIT(5)

/* QEMU: docs/specs/pvpanic.rst. A read returns the supported events; a write reports an event. */
#define PANIC_EVENT_PANIC	 BIT(0)
#define PANIC_EVENT_CRASH_KERNEL BIT(1)
#define PANIC_EVENTS		 (PANIC_EVENT_PANIC | PANIC_EVENT_CRASH_KERNEL)

#define DEFAULT_SECONDS 946684800 /* 2000-01-01, when the machine has no clock */

/* --- 8259 pair --- */

/* Offset 0 is the command port. It reads IRR and ISR, which are always empty. */
static uint8_t pic_read(const struct vpic *pic, unsigned offset)
{
	return offset == 0 ? 0 : pic->mask;
}

/*
 * Counts the words that follow ICW1. The vector base and the cascade in them have no effect here.
 */
static void pic_write(struct vpic *pic, unsigned offset, uint8_t value)
{
	if (offset == 0) {
		if ((value & ICW1_INIT) != 0) {
			pic->mask = 0;
			pic->icws_due = (uint8_t)(1 + ((value & ICW1_SINGLE) != 0 ? 0 : 1) +
						  ((value & ICW1_ICW4) != 0 ? 1 : 0));
		}
	} else if (pic->icws_due != 0) {
		pic->icws_due--;
	} else {
		pic->mask = value;
	}
}

static uint8_t pic_master_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	return pic_read(&legacy->pic[0], offset);
}

static void pic_master_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	pic_write(&legacy->pic[0], offset, value);
}

static uint8_t pic_slave_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	return pic_read(&legacy->pic[1], offset);
}

static void pic_slave_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	pic_write(&legacy->pic[1], offset, value);
}

static uint8_t elcr_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	return legacy->pic[offset].edge_level;
}

static void elcr_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	legacy->pic[offset].edge_level = value;
}

/* --- 8254, port 61H, CMOS --- */

static uint8_t pit_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	return vpit_read(&legacy->pit, offset, tsc);
}

static void pit_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	vpit_write(&legacy->pit, offset, value, tsc);
}

static uint8_t port_61_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	bool refresh = vclock_ticks(legacy->pm_start_tsc, tsc, REFRESH_HZ) % 2 != 0;

	return (uint8_t)(legacy->port_61 | (refresh ? PORT_61_REFRESH : 0) |
			 (vpit_out(&legacy->pit, 2, tsc) ? PORT_61_OUT : 0));
}

static void port_61_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	legacy->port_61 = value & PORT_61_KEPT;
	vpit_set_gate(&legacy->pit, 2, (value & PORT_61_GATE) != 0, tsc);
}

static uint8_t rtc_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	return vrtc_read(&legacy->rtc, offset, tsc);
}

static void rtc_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	vrtc_write(&legacy->rtc, offset, value, tsc);
}

/* --- ACPI power management --- */

static uint64_t pm_ticks(const struct vlegacy *legacy, uint64_t tsc)
{
	return vclock_ticks(legacy->pm_start_tsc, tsc, PM_TIMER_HZ);
}

static bool pm_timer_status(const struct vlegacy *legacy, uint64_t tsc)
{
	return pm_ticks(legacy, tsc) >> PM_CARRY_SHIFT != legacy->pm_carries;
}

/* Offsets 0 and 1 are PM1 status (write ones to clear), 2 and 3 PM1 enable. */
static uint8_t pm1_event_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	if (offset == 0) {
		return pm_timer_status(legacy, tsc) ? PM1_TMR : 0;
	}
	if (offset == 1) {
		return legacy->pm1_status;
	}
	return offset >= 2 ? legacy->pm1_enable[offset - 2] : 0;
}

static void pm1_event_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	if (offset == 0 && (value & PM1_TMR) != 0) {
		legacy->pm_carries = pm_ticks(legacy, tsc) >> PM_CARRY_SHIFT;
	} else if (offset == 1) {
		legacy->pm1_status &= (uint8_t)~value;
	} else if (offset >= 2) {
		legacy->pm1_enable[offset - 2] = value;
	}
}

static uint8_t pm1_control_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	return legacy->pm1_control[offset];
}

static void pm1_control_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	if (offset == 0) {
		legacy->pm1_control[0] = value | PM1_SCI_EN; /* ACPI mode cannot be left */
		return;
	}
	legacy->pm1_control[1] = value & (uint8_t)~PM1_SLP_EN; /* SLP_EN reads as zero */
	if ((value & PM1_SLP_EN) != 0 && PM1_SLP_TYP(value) == PM1_SLP_TYP_S5) {
		vm_end(legacy->vm, VM_END_POWER_OFF, NULL);
	}
}

static uint8_t pm_timer_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	return (uint8_t)(pm_ticks(legacy, tsc) >> 8 * offset);
}

/* --- Keyboard controller's reset line --- */

static void kbc_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	if (value == KBC_PULSE_RESET) {
		vm_end(legacy->vm, VM_END_RESET, "keyboard controller");
	}
}

/* --- pvpanic --- */

static uint8_t panic_read(struct vlegacy *legacy, unsigned offset, uint64_t tsc)
{
	return PANIC_EVENTS;
}

/* A guest with a crash kernel saves its own data and then resets, so it runs on. */
static void panic_write(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc)
{
	if ((value & PANIC_EVENT_CRASH_KERNEL) != 0) {
		log_info("vm %s: its kernel panicked, and its crash kernel takes over",
			 legacy->vm->name);
	} else if ((value & PANIC_EVENT_PANIC) != 0) {
		vm_end(legacy->vm, VM_END_GUEST_PANIC, NULL);
	}
}

/* --- The ports --- */

/*
 * A device without read returns all ones; one without write ignores writes. Offsets are in bytes.
 */
struct vlegacy_row {
	uint16_t base;
	uint16_t length;
	uint8_t (*read)(struct vlegacy *legacy, unsigned offset, uint64_t tsc);
	void (*write)(struct vlegacy *legacy, unsigned offset, uint8_t value, uint64_t tsc);
};

static const struct vlegacy_row port_rows[] = {
	{ PORT_PIC_MASTER, 2, pic_master_read, pic_master_write },
	{ PORT_PIT, 4, pit_read, pit_write },
	{ PORT_SYSTEM_CONTROL, 1, port_61_read, port_61_write },
	{ PORT_KBC, 1, NULL, kbc_write },
	{ PORT_RTC, 2, rtc_read, rtc_write },
	{ PORT_PIC_SLAVE, 2, pic_slave_read, pic_slave_write },
	{ PORT_PIC_EDGE_LEVEL, 2, elcr_read, elcr_write },
	{ PORT_PANIC, 1, panic_read, panic_write },
	{ PORT_PM1_EVENT, 4, pm1_event_read, pm1_event_write },
	{ PORT_PM1_CONTROL, 2, pm1_control_read, pm1_control_write },
	{ PORT_PM_TIMER, 4, pm_timer_read, NULL },
};
_Static_assert(ARRAY_COUNT(port_rows) <= VLEGACY_PORT_MAX, "a slot for each row");

/*
 * Sets the wires for all events that are due, and sets the VM's clock to the next event. Under the
 * lock.
 */
static void update(struct vlegacy *legacy, uint64_t tsc)
{
	bool timer_on = (legacy->pm1_enable[0] & PM1_TMR) != 0;
	uint64_t deadline;

	if (vpit_irq_edge(&legacy->pit, tsc)) {
		vioapic_set_line(legacy->ioapic, IRQ_PIT, false);
		vioapic_set_line(legacy->ioapic, IRQ_PIT, true);
	}
	vioapic_set_line(legacy->ioapic, IRQ_RTC, vrtc_update(&legacy->rtc, tsc));
	if (vrtc_take_alarm(&legacy->rtc)) {
		legacy->pm1_status |= PM1_RTC;
	}
	vioapic_set_line(legacy->ioapic, IRQ_SCI,
			 (legacy->pm1_status & legacy->pm1_enable[1]) != 0 ||
				 (timer_on && pm_timer_status(legacy, tsc)));
	deadline = MIN(vpit_next_edge(&legacy->pit), vrtc_next_event(&legacy->rtc, tsc));
	if (timer_on && !pm_timer_status(legacy, tsc)) {
		uint64_t carry = (legacy->pm_carries + 1) << PM_CARRY_SHIFT;

		deadline = MIN(deadline, vclock_tsc_at(legacy->pm_start_tsc, carry, PM_TIMER_HZ));
	}
	vm_set_clock(legacy->vm, deadline);
}

bool vlegacy_press_power_button(struct vlegacy *legacy)
{
	bool noticed;

	lock_take(&legacy->lock, LOCK_DEVICE);
	legacy->pm1_status |= PM1_PWRBTN;
	noticed = (legacy->pm1_enable[1] & PM1_PWRBTN) != 0;
	update(legacy, cpu_rdtsc());
	lock_drop(&legacy->lock);
	return noticed;
}

/* These are byte-wide devices: a wider access is several byte accesses at the same time. */
static void access_port(void *device, struct vcpu *vcpu, struct io_access *access)
{
	const struct vlegacy_port *port = device;
	struct vlegacy *legacy = port->legacy;
	const struct vlegacy_row *row = port->row;
	uint64_t tsc = cpu_rdtsc();
	uint64_t value = 0;
	unsigned i;

	lock_take(&legacy->lock, LOCK_DEVICE);
	for (i = 0; i < access->size; i++) {
		unsigned offset = (unsigned)access->offset + i;

		if (!access->write) {
			uint8_t byte = row->read != NULL ? row->read(legacy, offset, tsc) : 0xff;

			value |= (uint64_t)byte << 8 * i;
		} else if (row->write != NULL) {
			row->write(legacy, offset, (uint8_t)(access->value >> 8 * i), tsc);
		}
	}
	update(legacy, tsc);
	lock_drop(&legacy->lock);
	if (!access->write) {
		access->value = value;
	}
}

static const struct io_ops legacy_ops = {
	.name = "legacy",
	.access = access_port,
};

void vlegacy_clock(struct vlegacy *legacy, uint64_t tsc)
{
	lock_take(&legacy->lock, LOCK_DEVICE);
	update(legacy, tsc);
	lock_drop(&legacy->lock);
}

void vlegacy_skip_time(struct vlegacy *legacy, uint64_t ticks)
{
	lock_take(&legacy->lock, LOCK_DEVICE);
	vpit_skip_time(&legacy->pit, ticks);
	legacy->pm_start_tsc += ticks;
	update(legacy, cpu_rdtsc());
	lock_drop(&legacy->lock);
}

int vlegacy_init(struct vlegacy *legacy, struct vm *vm, struct vioapic *ioapic)
{
	uint64_t tsc = cpu_rdtsc();
	int64_t seconds = DEFAULT_SECONDS;
	int ret = 0;
	size_t i;

	*legacy = (struct vlegacy){
		.vm = vm,
		.ioapic = ioapic,
		.pic = { { .mask = 0xff }, { .mask = 0xff, .edge_level = ELCR_SCI } },
		.pm1_control = { PM1_SCI_EN, 0 },
		.pm_start_tsc = tsc,
	};
	if (vrtc_read_machine(&seconds) != 0) {
		log_warn("vm %s: this machine has no clock; the VM starts in 2000", vm->name);
	}
	vpit_init(&legacy->pit, tsc);
	vrtc_init(&legacy->rtc, seconds, tsc);
	for (i = 0; i < ARRAY_COUNT(port_rows) && ret == 0; i++) {
		legacy->ports[i] = (struct vlegacy_port){ legacy, &port_rows[i] };
		ret = iobus_add(&vm->iobus, IO_SPACE_PORT, port_rows[i].base, port_rows[i].length,
				&legacy_ops, &legacy->ports[i]);
	}
	return ret;
}

static int init(struct platform *platform)
{
	return vlegacy_init(&platform->legacy, platform->vm, &platform->ioapic);
}

static void run_clock(struct platform *platform, uint64_t tsc)
{
	vlegacy_clock(&platform->legacy, tsc);
}

static void skip_time(struct platform *platform, uint64_t ticks)
{
	vlegacy_skip_time(&platform->legacy, ticks);
}

const struct vdev_ops vlegacy_device = {
	.name = "legacy devices",
	.init = init,
	.clock = run_clock,
	.skip_time = skip_time,
};
