/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PIC pair, PIT, CMOS clock, ACPI power management and reset, as a guest sees them through the
 * ports.
 */
#include <time.h>

#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "guest/dev/vlegacy.h"

#define HZ	2000000000ul /* of the TSC */
#define PIT_HZ	1193182ul
#define PM_HZ	3579545ul
#define STARTED 1795359599 /* 2026-11-22 14:59:59 */

static struct vm vm;
static struct vlegacy legacy;
static struct vioapic ioapic;

static struct {
	uint64_t base, length;
	const struct io_ops *ops;
	void *device;
} ranges[32];
static unsigned range_count;

static bool wire[24];
static unsigned rises[24];

int iobus_add(struct iobus *bus, enum io_space space, uint64_t base, uint64_t length,
	      const struct io_ops *ops, void *device)
{
	assert_ptr_equal(bus, &vm.iobus);
	assert_int_equal(space, IO_SPACE_PORT);
	assert_true(range_count < ARRAY_COUNT(ranges));
	ranges[range_count].base = base;
	ranges[range_count].length = length;
	ranges[range_count].ops = ops;
	ranges[range_count++].device = device;
	return 0;
}

void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
	assert_ptr_equal(to, &ioapic);
	if (high && !wire[pin]) {
		rises[pin]++;
	}
	wire[pin] = high;
}

void vm_set_clock(struct vm *which, uint64_t deadline)
{
	assert_ptr_equal(which, &vm);
	vm.clock_deadline.only = deadline;
}

/* As the bus does it: all ones without a device, or beyond a range's end. */
static uint64_t io(uint16_t port, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	for (unsigned i = 0; i < range_count; i++) {
		if (port >= ranges[i].base && port + size <= ranges[i].base + ranges[i].length) {
			access.offset = port - ranges[i].base;
			ranges[i].ops->access(ranges[i].device, NULL, &access);
			return access.value;
		}
	}
	return write ? value : MASK(8 * size - 1, 0);
}

static uint8_t inb(uint16_t port)
{
	return (uint8_t)io(port, 1, false, 0);
}

static void outb(uint16_t port, uint8_t value)
{
	io(port, 1, true, value);
}

static void advance(uint64_t ticks)
{
	fake_tsc += ticks;
}

/* At least so many ticks of a crystal, and less than one more. */
static void advance_by(uint64_t ticks, uint64_t hz)
{
	advance(ticks * HZ / hz + 1);
}

/* --- The machine's own clock --- */

static uint8_t machine_cmos[128];
static uint8_t machine_index;
static unsigned machine_uip; /* so many reads of register A say "update in progress" */
static bool machine_has_clock;

static uint32_t machine_in(uint16_t port, unsigned size)
{
	if (port != 0x71 || !machine_has_clock) {
		return UINT32_MAX;
	}
	if (machine_index == 0x0a && machine_uip > 0) {
		machine_uip--;
		return 0xa6;
	}
	return machine_cmos[machine_index];
}

static void machine_out(uint16_t port, unsigned size, uint32_t value)
{
	if (port == 0x70) {
		machine_index = (uint8_t)value;
	} else {
		assert_int_equal(port, 0x70); /* no other register of the machine is written */
	}
}

static void start(void)
{
	range_count = 0;
	memset(wire, 0, sizeof(wire));
	memset(rises, 0, sizeof(rises));
	fake_vm_may_end(&vm);
	vm.clock_deadline.only = UINT64_MAX;
	assert_int_equal(vlegacy_init(&legacy, &vm, &ioapic), 0);
}

static int setup(void **state)
{
	static const uint8_t now[] = { 0x59, 0,	   0x59, 0,    0x14, 0, 1,
				       0x22, 0x11, 0x26, 0x26, 0x02, 0, 0x80 };

	fake_setup(state);
	fake_tsc_hz = HZ;
	fake_tsc = 1000 * HZ;
	fake_in_hook = machine_in;
	fake_out_hook = machine_out;
	memset(machine_cmos, 0, sizeof(machine_cmos));
	memcpy(machine_cmos, now, sizeof(now));
	machine_cmos[0x32] = 0x20;
	machine_uip = 5;
	machine_has_clock = true;
	strcpy(vm.name, "test");
	start();
	return 0;
}

/* --- PIC --- */

TEST(pic_is_found_and_masked, setup)
{
	/* What Linux does: probe through the mask, initialise both, mask all. */
	outb(0xa1, 0xff);
	outb(0x21, 0xfb);
	assert_int_equal(inb(0x21), 0xfb);
	outb(0x20, 0x11);
	outb(0x21, 0x30);
	outb(0x21, 0x04);
	outb(0x21, 0x01);
	outb(0xa0, 0x11);
	outb(0xa1, 0x38);
	outb(0xa1, 0x02);
	outb(0xa1, 0x01);
	assert_int_equal(inb(0x21), 0);
	outb(0x21, 0xa5);
	outb(0xa1, 0x5a);
	assert_int_equal(inb(0x21), 0xa5);
	assert_int_equal(inb(0xa1), 0x5a);
	outb(0x20, 0x0b); /* ISR */
	assert_int_equal(inb(0x20), 0);
	outb(0x20, 0x0a); /* IRR */
	assert_int_equal(inb(0x20), 0);
	outb(0x20, 0x20); /* EOI */
	assert_int_equal(inb(0x21), 0xa5);
}

TEST(pic_short_initialisations, setup)
{
	outb(0x20, 0x12); /* single, no ICW4: only ICW2 follows */
	outb(0x21, 0x40);
	outb(0x21, 0x77);
	assert_int_equal(inb(0x21), 0x77);
	outb(0x20, 0x13);
	outb(0x21, 0x40);
	outb(0x21, 0x01);
	outb(0x21, 0x66);
	assert_int_equal(inb(0x21), 0x66);
}

TEST(edge_level_registers_are_kept, setup)
{
	assert_int_equal(io(0x4d0, 2, false, 0), 0x0200);
	io(0x4d0, 2, true, 0x0c20);
	assert_int_equal(inb(0x4d0), 0x20);
	assert_int_equal(inb(0x4d1), 0x0c);
}

/* --- PIT --- */

static uint16_t pit_count(unsigned channel)
{
	uint8_t low;

	outb(0x43, (uint8_t)(channel << 6));
	low = inb((uint16_t)(0x40 + channel));
	return (uint16_t)(low | inb((uint16_t)(0x40 + channel)) << 8);
}

static void pit_load(unsigned channel, unsigned mode, uint16_t count)
{
	outb(0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
	outb((uint16_t)(0x40 + channel), (uint8_t)count);
	outb((uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

TEST(pit_calibrates_a_tsc_through_port_61, setup)
{
	uint64_t began;
	unsigned polls = 0;

	/* Gate on, speaker off; one-shot of 50 ms; wait for the output. */
	outb(0x61, (uint8_t)((inb(0x61) & ~2u) | 1u));
	pit_load(2, 0, (uint16_t)(PIT_HZ / 20));
	began = fake_tsc;
	while ((inb(0x61) & 0x20) == 0 && polls++ < 1000000) {
		advance(1000);
	}
	assert_in_range(fake_tsc - began, HZ / 20 - HZ / 100000, HZ / 20 + HZ / 100000);
	assert_int_equal(inb(0x61) & 0x0f, 0x01);
}

TEST(pit_counts_down_for_a_quick_calibration, setup)
{
	uint8_t last = 0xff;

	outb(0x61, 1);
	outb(0x43, 0xb0);
	outb(0x42, 0xff);
	outb(0x42, 0xff);
	for (unsigned i = 0; i < 200; i++) { /* low, then high byte, without a latch */
		uint8_t high;

		inb(0x42);
		high = inb(0x42);
		assert_true(high == last || high == last - 1);
		last = high;
		advance_by(200, PIT_HZ);
	}
	assert_in_range(last, 255 - 200 * 200 / 256 - 2, 255 - 200 * 200 / 256 + 1);
}

TEST(pit_gate_holds_the_count, setup)
{
	outb(0x61, 1);
	pit_load(2, 0, 1000);
	advance_by(100, PIT_HZ);
	assert_int_equal(pit_count(2), 900);
	outb(0x61, 0);
	advance_by(5000, PIT_HZ);
	assert_int_equal(pit_count(2), 900);
	outb(0x61, 1);
	advance_by(899, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0);
	advance_by(1, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0x20);
	advance_by(1, PIT_HZ);
	assert_int_equal(pit_count(2), 0xffff); /* counts on */
}

TEST(pit_one_shot_waits_for_its_trigger, setup)
{
	outb(0x61, 0);
	pit_load(2, 1, 500);
	advance_by(1000, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0x20);
	outb(0x61, 1);
	assert_int_equal(inb(0x61) & 0x20, 0);
	advance_by(499, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0);
	outb(0x61, 0); /* a falling gate has no effect */
	advance_by(1, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0x20);
}

TEST(pit_square_wave_and_rate, setup)
{
	outb(0x61, 1);
	pit_load(2, 3, 1000);
	advance_by(499, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0x20);
	assert_int_equal(pit_count(2), 2);
	advance_by(2, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0);
	advance_by(500, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0x20);
	pit_load(2, 2, 1000);
	advance_by(1500, PIT_HZ);
	assert_int_equal(pit_count(2), 500);
	advance_by(499, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0);
	advance_by(1, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0x20);
}

TEST(pit_latches_and_reads_back, setup)
{
	outb(0x61, 1);
	pit_load(2, 0, 0x1234);
	outb(0x43, 0x80); /* latch counter 2 */
	advance_by(0x200, PIT_HZ);
	outb(0x43, 0x80); /* a second latch is ignored */
	assert_int_equal(inb(0x42), 0x34);
	assert_int_equal(inb(0x42), 0x12);
	outb(0x43, 0xc8); /* read back status and count of counter 2 */
	advance_by(0x10, PIT_HZ);
	assert_int_equal(inb(0x42), 0x30);
	assert_int_equal(inb(0x42), 0x34);
	assert_int_equal(inb(0x42), 0x10);
	outb(0x43, 0xb6); /* mode 3 and no count yet: null count, output high */
	outb(0x43, 0xe8);
	assert_int_equal(inb(0x42), 0xf6);
	assert_int_equal(inb(0x43), 0xff);
}

TEST(pit_bytes_alone, setup)
{
	outb(0x61, 1);
	outb(0x43, 0x90); /* counter 2, low byte only */
	outb(0x42, 200);
	advance_by(50, PIT_HZ);
	assert_int_equal(inb(0x42), 150);
	outb(0x43, 0xa0); /* high byte only */
	outb(0x42, 2);
	advance_by(256, PIT_HZ);
	assert_int_equal(inb(0x42), 1);
	pit_load(2, 0, 0); /* 0 is 65,536 */
	advance_by(65535, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0);
	advance_by(1, PIT_HZ);
	assert_int_equal(inb(0x61) & 0x20, 0x20);
}

TEST(pit_ticks_on_line_0, setup)
{
	uint64_t deadline;

	assert_true(vm.clock_deadline.only == UINT64_MAX);
	pit_load(0, 2, 11932); /* 100 Hz */
	for (unsigned i = 1; i <= 10; i++) {
		deadline = vm.clock_deadline.only;
		assert_in_range(deadline - fake_tsc, HZ / 100 - HZ / 10000, HZ / 100 + HZ / 10000);
		vlegacy_clock(&legacy, deadline - 1);
		assert_int_equal(rises[0], i - 1);
		fake_tsc = deadline;
		vlegacy_clock(&legacy, deadline);
		assert_int_equal(rises[0], i); /* an edge each time */
	}
	fake_tsc += HZ; /* a hundred ticks late: one interrupt, and the next is in time */
	vlegacy_clock(&legacy, fake_tsc);
	assert_int_equal(rises[0], 11);
	assert_true(vm.clock_deadline.only > fake_tsc);
	pit_load(0, 0, 1000);
	deadline = vm.clock_deadline.only;
	assert_in_range(deadline - fake_tsc, 1000 * HZ / PIT_HZ, 1001 * HZ / PIT_HZ);
	fake_tsc = deadline;
	vlegacy_clock(&legacy, deadline);
	assert_int_equal(rises[0], 12);
	assert_true(vm.clock_deadline.only == UINT64_MAX);
}

/* --- CMOS clock --- */

static uint8_t cmos(uint8_t index)
{
	outb(0x70, index);
	return inb(0x71);
}

static void cmos_set(uint8_t index, uint8_t value)
{
	outb(0x70, index);
	outb(0x71, value);
}

static void expect_time(uint8_t century, uint8_t year, uint8_t month, uint8_t day, uint8_t weekday,
			uint8_t hour, uint8_t minute, uint8_t second)
{
	assert_int_equal(cmos(0x32), century);
	assert_int_equal(cmos(9), year);
	assert_int_equal(cmos(8), month);
	assert_int_equal(cmos(7), day);
	assert_int_equal(cmos(6), weekday);
	assert_int_equal(cmos(4), hour);
	assert_int_equal(cmos(2), minute);
	assert_int_equal(cmos(0), second);
}

TEST(clock_starts_with_the_machines_and_runs, setup)
{
	expect_time(0x20, 0x26, 0x11, 0x22, 1, 0x14, 0x59, 0x59);
	advance(HZ);
	expect_time(0x20, 0x26, 0x11, 0x22, 1, 0x15, 0x00, 0x00);
	advance(9 * 3600 * HZ);
	expect_time(0x20, 0x26, 0x11, 0x23, 2, 0x00, 0x00, 0x00);
	assert_int_equal(cmos(0x8d), 0x80); /* bit 7 of the index is the NMI mask */
}

TEST(clock_without_a_machine_clock, setup)
{
	machine_has_clock = false;
	start();
	expect_time(0x20, 0x00, 0x01, 0x01, 7, 0, 0, 0);
	assert_non_null(strstr(fake_log_text(), "no clock"));
	machine_has_clock = true;
	/* Stuck in an update: the wait is bounded, and the bytes are used. */
	machine_uip = UINT32_MAX;
	start();
	expect_time(0x20, 0x26, 0x11, 0x22, 1, 0x14, 0x59, 0x59);
}

TEST(clock_formats, setup)
{
	cmos_set(0x0b, 0x06); /* binary, 24 hours */
	expect_time(20, 26, 11, 22, 1, 14, 59, 59);
	cmos_set(0x0b, 0x04); /* binary, 12 hours */
	assert_int_equal(cmos(4), 0x82);
	cmos_set(0x0b, 0x00); /* BCD, 12 hours */
	assert_int_equal(cmos(4), 0x82);
	advance(8 * 3600 * HZ);
	assert_int_equal(cmos(4), 0x90); /* 10 pm */
	advance(2 * 3600 * HZ);
	assert_int_equal(cmos(4), 0x12); /* midnight */
	cmos_set(4, 0x92);		 /* noon */
	cmos_set(0x0b, 0x02);
	assert_int_equal(cmos(4), 0x12);
}

TEST(clock_can_be_set, setup)
{
	cmos_set(0x0b, 0x82); /* SET: the clock stands still */
	advance(5 * HZ);
	expect_time(0x20, 0x26, 0x11, 0x22, 1, 0x14, 0x59, 0x59);
	cmos_set(9, 0x28);
	cmos_set(8, 0x02);
	cmos_set(7, 0x28);
	cmos_set(4, 0x23);
	assert_int_equal(cmos(0x0a) & 0x80, 0);
	cmos_set(0x0b, 0x02);
	expect_time(0x20, 0x28, 0x02, 0x28, 2, 0x23, 0x59, 0x59);
	advance(HZ);
	expect_time(0x20, 0x28, 0x02, 0x29, 3, 0, 0, 0);
	advance(24 * 3600 * HZ);
	expect_time(0x20, 0x28, 0x03, 0x01, 4, 0, 0, 0);
	cmos_set(2, 0x30); /* without SET */
	expect_time(0x20, 0x28, 0x03, 0x01, 4, 0, 0x30, 0);
}

TEST(clock_takes_any_bytes, setup)
{
	cmos_set(0x0b, 0x82);
	for (unsigned i = 0; i < 128; i++) {
		if (i != 0x0b) {
			cmos_set((uint8_t)i, 0xff);
		}
	}
	cmos_set(0x0b, 0x02);
	for (unsigned i = 0; i < 128; i++) {
		cmos((uint8_t)i);
	}
	cmos_set(0x0b, 0x82);
	for (unsigned i = 0; i < 10; i++) {
		cmos_set((uint8_t)i, 0);
	}
	cmos_set(0x32, 0);
	cmos_set(0x0b, 0x02);
	assert_in_range(cmos(8), 1, 0x12);
}

TEST(clock_announces_its_update, setup)
{
	assert_int_equal(cmos(0x0a), 0x26);
	advance(HZ - HZ / 8192);
	assert_int_equal(cmos(0x0a), 0xa6);
	advance(HZ / 8192);
	assert_int_equal(cmos(0x0a), 0x26);
}

TEST(clock_memory_is_kept, setup)
{
	for (unsigned i = 0x0e; i < 0x80; i++) {
		if (i != 0x32) {
			cmos_set((uint8_t)i, (uint8_t)(i ^ 0x5a));
		}
	}
	for (unsigned i = 0x0e; i < 0x80; i++) {
		if (i != 0x32) {
			assert_int_equal(cmos((uint8_t)i), i ^ 0x5a);
		}
	}
	cmos_set(0x0d, 0);
	assert_int_equal(cmos(0x0d), 0x80);
	assert_int_equal(inb(0x70), 0xff);
}

TEST(clock_interrupts_each_second, setup)
{
	cmos_set(0x0b, 0x42); /* the periodic interrupt is not supported */
	assert_int_equal(cmos(0x0b), 0x02);
	cmos_set(0x0b, 0x12);
	for (unsigned i = 1; i <= 3; i++) {
		uint64_t deadline = vm.clock_deadline.only;

		assert_in_range(deadline, fake_tsc + 1, fake_tsc + HZ + 1);
		fake_tsc = deadline;
		vlegacy_clock(&legacy, deadline);
		assert_int_equal(rises[8], i);
		assert_int_equal(cmos(0x0c) & 0xf0, 0x90);
		assert_false(wire[8]);
		assert_int_equal(cmos(0x0c), 0);
	}
	cmos_set(0x0b, 0x02);
	assert_true(vm.clock_deadline.only == UINT64_MAX);
}

TEST(clock_has_an_alarm, setup)
{
	unsigned seconds = 0;

	cmos_set(1, 0x03);
	cmos_set(3, 0x01);
	cmos_set(5, 0xc0); /* any hour */
	cmos_set(0x0b, 0x22);
	while (rises[8] == 0 && seconds++ < 1000) {
		fake_tsc = vm.clock_deadline.only;
		vlegacy_clock(&legacy, fake_tsc);
	}
	assert_int_equal(seconds, 1 + 60 + 3); /* 14:59:59 to 15:01:03 */
	assert_int_equal(cmos(0x0c) & 0xa0, 0xa0);
	advance(40 * 24 * 3600 * HZ); /* not read for long: bounded work */
	vlegacy_clock(&legacy, fake_tsc);
	assert_int_equal(rises[8], 2);
}

TEST(dates_agree_with_the_c_library, setup)
{
	for (int64_t days = 0; days < 80000; days += 7) {
		time_t t = (time_t)(days * 86400);
		struct tm *tm = gmtime(&t);
		unsigned month, day;
		int64_t year;

		vrtc_date_from_days(days, &year, &month, &day);
		assert_int_equal(year, tm->tm_year + 1900);
		assert_int_equal(month, tm->tm_mon + 1);
		assert_int_equal(day, tm->tm_mday);
		assert_int_equal(vrtc_days_from_date(year, month, day), days);
	}
}

/* --- ACPI, reset, absent devices --- */

TEST(pm_timer_runs_at_its_frequency, setup)
{
	uint64_t first = io(0x608, 4, false, 0);

	advance(HZ);
	assert_in_range(io(0x608, 4, false, 0) - first, PM_HZ - 1, PM_HZ + 1);
	io(0x608, 4, true, 0);
	assert_in_range(io(0x608, 4, false, 0) - first, PM_HZ - 1, PM_HZ + 1);
	advance(1200 * HZ); /* wraps at 32 bits */
	assert_in_range(io(0x608, 4, false, 0), 1201 * PM_HZ - BIT(32) - 2,
			1201 * PM_HZ - BIT(32) + 2);
}

TEST(pm_timer_carry_raises_the_sci, setup)
{
	uint64_t deadline;

	assert_int_equal(io(0x600, 2, false, 0), 0);
	io(0x602, 2, true, 0x0001);
	assert_int_equal(io(0x602, 2, false, 0), 1);
	deadline = vm.clock_deadline.only;
	assert_in_range(deadline - 1000 * HZ, 599 * HZ, 601 * HZ); /* 2^31 ticks */
	fake_tsc = deadline;
	vlegacy_clock(&legacy, deadline);
	assert_true(wire[9]);
	assert_true(vm.clock_deadline.only == UINT64_MAX); /* until the guest has cleared it */
	assert_int_equal(io(0x600, 2, false, 0), 1);
	io(0x600, 2, true, 0x0001);
	assert_false(wire[9]);
	assert_int_equal(io(0x600, 2, false, 0), 0);
	assert_in_range(vm.clock_deadline.only - fake_tsc, 599 * HZ, 601 * HZ);
}

TEST(power_button_raises_the_sci, setup)
{
	/* The guest has not enabled the button. */
	assert_false(vlegacy_press_power_button(&legacy));
	assert_false(wire[9]);
	assert_int_equal(io(0x600, 2, false, 0), 0x0100);
	io(0x602, 2, true, 0x0100); /* it was pressed before, and that counts */
	assert_true(wire[9]);
	io(0x600, 2, true, 0x0400); /* another status bit */
	assert_true(wire[9]);
	io(0x600, 2, true, 0x0100);
	assert_false(wire[9]);
	assert_int_equal(io(0x600, 2, false, 0), 0);
	assert_true(vlegacy_press_power_button(&legacy));
	assert_true(wire[9]);
	assert_int_equal(rises[9], 2);
}

TEST(alarm_raises_the_sci, setup)
{
	cmos_set(1, 0x03);
	cmos_set(3, 0xc0);
	cmos_set(5, 0xc0);
	cmos_set(0x0b, 0x22);
	for (unsigned second = 0; second < 4; second++) {
		assert_int_equal(io(0x600, 2, false, 0), 0);
		fake_tsc = vm.clock_deadline.only;
		vlegacy_clock(&legacy, fake_tsc);
	}
	assert_true(wire[8]);
	assert_false(wire[9]); /* RTC_EN is off */
	assert_int_equal(io(0x600, 2, false, 0), 0x0400);
	(void)cmos(0x0c);
	assert_int_equal(io(0x600, 2, false, 0), 0x0400);
	io(0x602, 2, true, 0x0400);
	assert_true(wire[9]);
	io(0x600, 2, true, 0x0400);
	assert_false(wire[9]);
	advance(60 *
		HZ); /* reading register C clears the flag here; the status counts all the same */
	(void)cmos(0x0c);
	assert_true(wire[9]);
	assert_int_equal(rises[9], 2);
}

TEST(update_interrupts_are_no_alarm, setup)
{
	cmos_set(1, 0xc0);
	cmos_set(3, 0xc0);
	cmos_set(5, 0xc0);
	cmos_set(0x0b, 0x12);
	io(0x602, 2, true, 0x0400);
	advance(3 * HZ);
	vlegacy_clock(&legacy, fake_tsc);
	assert_true(wire[8]);
	assert_false(wire[9]);
	assert_int_equal(io(0x600, 2, false, 0), 0);
}

/* A pause that the guest notices only on the CMOS clock. */
TEST(time_is_skipped, setup)
{
	uint32_t pm = (uint32_t)io(0x608, 4, false, 0);
	uint64_t left;
	uint8_t seconds;

	pit_load(0, 2, 11932); /* 100 Hz */
	advance(HZ / 400);
	seconds = cmos(0);
	left = vm.clock_deadline.only - fake_tsc;
	fake_tsc += 30 * HZ;
	vlegacy_skip_time(&legacy, 30 * HZ);
	assert_int_equal(rises[0], 0);
	assert_in_range(vm.clock_deadline.only - fake_tsc, left - 2000, left + 2000);
	assert_in_range(io(0x608, 4, false, 0) - pm, PM_HZ / 400 - 1, PM_HZ / 400 + 1);
	assert_int_equal(cmos(0),
			 (seconds & 0xf0) + 0x30 >= 0x60 ? seconds - 0x30 : seconds + 0x30);
	fake_tsc = vm.clock_deadline.only;
	vlegacy_clock(&legacy, fake_tsc);
	assert_int_equal(rises[0], 1);
}

TEST(power_off_needs_type_and_enable, setup)
{
	assert_int_equal(io(0x604, 2, false, 0), 1); /* SCI_EN */
	io(0x604, 2, true, 5 << 10 | 1);
	assert_int_equal(fake_end_reason, VM_END_NONE);
	io(0x604, 2, true, 1 << 10 | BIT(13));
	assert_int_equal(fake_end_reason, VM_END_NONE);
	io(0x604, 2, true, 5 << 10 | BIT(13));
	assert_int_equal(fake_end_reason, VM_END_POWER_OFF);
	assert_int_equal(io(0x604, 2, false, 0), 5 << 10 | 1); /* SLP_EN reads as 0, SCI_EN stays */
}

TEST(panicked_kernel_ends_its_vm, setup)
{
	assert_int_equal(inb(0x505), 3); /* the events that it supports */
	outb(0x505, 4);
	outb(0x505, 2); /* a crash kernel is loaded: the VM goes on */
	outb(0x505, 3);
	assert_int_equal(fake_end_reason, VM_END_NONE);
	outb(0x505, 1);
	assert_int_equal(fake_end_reason, VM_END_GUEST_PANIC);
}

TEST(keyboard_reset_line, setup)
{
	outb(0x64, 0xaa);
	assert_int_equal(fake_end_reason, VM_END_NONE);
	outb(0x64, 0xfe);
	assert_int_equal(fake_end_reason, VM_END_RESET);
}

TEST(what_is_absent_reads_all_ones, setup)
{
	assert_int_equal(inb(0x64), 0xff);
	assert_int_equal(inb(0x60), 0xff);
	outb(0x80, 0x12);
	assert_int_equal(fake_end_reason, VM_END_NONE);
}

TEST(every_port_and_width_survives, setup)
{
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < range_count; i++) {
			for (uint32_t size = 1; size <= ranges[i].length && size <= 4; size *= 2) {
				for (unsigned v = 0; v < 256; v++) {
					uint16_t port = (uint16_t)(ranges[i].base +
								   v % (ranges[i].length - size +
									1));

					io(port, size, true, v * 0x01010101u);
					advance(HZ / 1000);
					io(port, size, false, 0);
					vlegacy_clock(&legacy, fake_tsc);
				}
			}
		}
	}
}
