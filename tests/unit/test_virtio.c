/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/dev/virtio.c and virtio_pci.c: registers and notifications as virtio 1.2 specifies them,
 * turns that are bounded and shared, resets at every step, interrupts by messages and by pins, and
 * a driver that breaks rules and thereby loses the device, but nothing else.
 */
#include <stdio.h>

#include "tests/unit/test.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/base/err.h"
#include "vmm/base/tsc.h"

static struct virtio device;
static uint8_t sent[64];
static unsigned sent_count;
static bool line;

static struct {
	unsigned calls, resets;
	uint64_t bytes, ticks; /* how much of the turn each call uses */
	enum virtio_step step;
	void (*during)(void); /* called once during a turn */
} dev;

bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	assert_ptr_equal(to, vm);
	sent[sent_count++ % sizeof(sent)] = msg->vector;
	return true;
}

void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
	assert_int_equal(pin, 17);
	line = high;
}

static enum virtio_step serve(struct virtio *which, uint32_t queue, struct virtio_turn *turn,
			      uint32_t *written)
{
	void (*during)(void) = dev.during;

	assert_ptr_equal(which, &device);
	assert_true(device.busy);
	dev.calls++;
	turn->bytes -= MIN(turn->bytes, dev.bytes);
	fake_tsc += dev.ticks;
	dev.during = NULL;
	if (during != NULL) {
		during();
	}
	device.why = "it says so";
	*written = queue + 1;
	return dev.step;
}

static void reset(struct virtio *which)
{
	dev.resets++;
}

static const struct virtio_ops ops = {
	.name = "virtio-test",
	.type = 9,
	.class_code = 0x028000,
	.features = BIT(5) | BIT(40),
	.queues = 2,
	.config_bytes = 12,
	.serve = serve,
	.reset = reset,
};

static int setup(void **state)
{
	int err = fake_setup(state);

	make_vm();
	memset(&device, 0, sizeof(device));
	memcpy(device.config, "0123456789ab", 12);
	err |= virtio_add(&device, &platform, &ops);
	memset(&dev, 0, sizeof(dev));
	dev.bytes = 4096;
	sent_count = 0;
	line = false;
	pci_config(4, 2, true, 7);
	set_desc(DESC(0), 0, BUFFER, 64, F_WRITE, 0);
	set_desc(DESC(1), 0, BUFFER, 64, F_WRITE, 0);
	return err;
}

static int teardown(void **state)
{
	end_vm();
	return fake_teardown(state);
}

TEST(configuration_space_names_the_device, setup, teardown)
{
	assert_int_equal(pci_config(0, 4, false, 0), 0x10491af4);
	assert_int_equal(pci_config(8, 4, false, 0), 0x02800001);
	assert_int_equal(pci_config(0x2c, 4, false, 0), 0x10491af4);
	assert_int_equal(pci_config(0x3d, 1, false, 0), 1);
}

/* The types in their order, and where each lies: the port comes before the memory. */
TEST(capabilities_lead_to_the_registers, setup, teardown)
{
	static const struct {
		uint8_t type, bar, bytes;
		uint32_t offset, length;
	} rows[] = {
		{ 1, 0, 16, 0, 56 + 2 }, { 2, 4, 20, 0, 8 },	   { 2, 0, 20, 0x800, 8 },
		{ 3, 0, 16, 0x1000, 1 }, { 4, 0, 16, 0x2000, 12 }, { 5, 0, 20, 0, 0 },
	};
	uint32_t at = (uint32_t)pci_config(0x34, 1, false, 0);

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		assert_int_equal(pci_config(at, 1, false, 0), 9);
		assert_int_equal(pci_config(at + 2, 1, false, 0), rows[i].bytes);
		assert_int_equal(pci_config(at + 3, 1, false, 0), rows[i].type);
		assert_int_equal(pci_config(at + 4, 1, false, 0), rows[i].bar);
		assert_int_equal(pci_config(at + 8, 4, false, 0), rows[i].offset);
		assert_int_equal(pci_config(at + 12, 4, false, 0), rows[i].length);
		if (rows[i].type == 2) {
			assert_int_equal(pci_config(at + 16, 4, false, 0), 4);
		}
		at = (uint32_t)pci_config(at + 1, 1, false, 0);
	}
	assert_int_equal(pci_config(at, 1, false, 0), 0x11);
	assert_int_equal(pci_config(at + 1, 1, false, 0), 0);
}

TEST(features_are_agreed_on, setup, teardown)
{
	assert_int_equal(reg(0x04, 4), BIT(5) | BIT(28) | BIT(29));
	set_reg(0x00, 4, 1);
	assert_int_equal(reg(0x04, 4), BIT(0) | BIT(8));
	set_reg(0x00, 4, 2);
	assert_int_equal(reg(0x04, 4), 0);
	set_reg(0x08, 4, 7);
	set_reg(0x0c, 4, 0xffffffff); /* at an address without memory */
	accept_features(VIRTIO_F_VERSION_1 | BIT(5));
	assert_int_equal(reg(0x14, 1), 0xb);
	set_reg(0x08, 4, 0);
	set_reg(0x0c, 4, 0); /* too late */
	assert_int_equal(reg(0x0c, 4), BIT(5));
}

TEST(features_that_cannot_be_are_refused, setup, teardown)
{
	static const uint64_t wrong[] = { 0, BIT(5), VIRTIO_F_VERSION_1 | BIT(6),
					  VIRTIO_F_VERSION_1 | BIT(63) };

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		set_reg(0x14, 1, 0);
		accept_features(wrong[i]);
		assert_int_equal(reg(0x14, 1), 3);
		set_reg(0x14, 1, 0xf); /* nor does it start later */
		assert_int_equal(reg(0x14, 1) & 4, 0);
	}
}

TEST(registers_of_a_queue_that_is_not_there, setup, teardown)
{
	accept_features(VIRTIO_F_VERSION_1);
	for (uint32_t select = 2; select < 0x10000; select += 0x1555) {
		set_reg(0x16, 2, select);
		for (uint32_t at = 0x18; at < 0x3a; at += 2) {
			set_reg(at, 2, 0x5a5a);
			set_reg(at, 4, 0x5a5a);
			assert_int_equal(reg(at, 2) == 0 || reg(at, 2) == 0xffff, true);
		}
		assert_int_equal(reg(0x18, 2), 0);
		assert_int_equal(reg(0x1a, 2), 0);
	}
}

TEST(registers_keep_what_is_allowed, setup, teardown)
{
	static const uint16_t wrong_sizes[] = { 0, 3, 256, 0x8000, 0xffff };

	accept_features(VIRTIO_F_VERSION_1);
	assert_int_equal(reg(0x12, 2), 2);
	assert_int_equal(reg(0x18, 2), VRING_SIZE_MAX);
	for (size_t i = 0; i < ARRAY_COUNT(wrong_sizes); i++) {
		set_reg(0x18, 2, wrong_sizes[i]);
		assert_int_equal(reg(0x18, 2), VRING_SIZE_MAX);
	}
	set_reg(0x1a, 2, 2);
	assert_int_equal(reg(0x1a, 2), 2);
	set_reg(0x1a, 2, 3); /* there are three queues */
	assert_int_equal(reg(0x1a, 2), 0xffff);
	set_reg(0x10, 2, 0x1234);
	assert_int_equal(reg(0x10, 2), 0xffff);
	set_reg(0x1c, 2, 2);
	assert_int_equal(reg(0x1c, 2), 0);
	set_up_queue(1);
	assert_int_equal(reg(0x1c, 2), 1);
	assert_int_equal(reg(0x1e, 2), 1);
	set_reg(0x24, 4, 0xabc); /* values that a turn reads cannot change any more */
	set_reg(0x18, 2, 2);
	set_reg(0x1c, 2, 0);
	assert_int_equal(reg(0x24, 4), 0);
	assert_int_equal(reg(0x18, 2), QUEUE_LEN);
	assert_int_equal(reg(0x1c, 2), 1);
	/* An access of another width, or without a register. */
	assert_int_equal(reg(0x14, 2), 0xffff);
	assert_int_equal(reg(0x16, 1), 0xff);
	assert_true(reg(0x20, 8) == UINT64_MAX);
	assert_int_equal(reg(0x3a, 2), 0xffff);
	assert_int_equal(reg(0x2000, 4), 0x33323130);
	assert_int_equal(reg(0x200a, 4), 0x00006261);
	set_reg(0x2000, 4, 0);
	assert_int_equal(reg(0x2000, 1), '0');
	assert_int_equal(reg(0x2800, 4), 0);
}

TEST(a_request_is_served_in_the_notifiers_turn, setup, teardown)
{
	drive(0, 2);
	use_messages(&device);
	offer(1, 0);
	assert_int_equal(fake_vcpus[0].works, 2); /* for DRIVER_OK */
	notify(1);
	assert_int_equal(fake_vcpus[0].works, 3);
	assert_int_equal(dev.calls, 0);
	assert_int_equal(work(), 1);
	assert_int_equal(dev.calls, 1);
	assert_int_equal(used_index(1), 1);
	assert_int_equal(peek(USED(1) + 8, 4), 2);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0], 0x42);
	assert_int_equal(device.counters.requests.only, 1);
	assert_false(line);
}

TEST(all_doors_notify, setup, teardown)
{
	const uint32_t window = device.window;

	drive(0, 1);
	offer(0, 0);
	set_reg(0x800, 2, 0);
	(void)work();
	assert_int_equal(used_index(0), 1);
	offer(0, 0);
	pci_config(window + 4, 1, true, 4); /* the I/O BAR ... */
	pci_config(window + 8, 4, true, 0);
	pci_config(window + 12, 4, true, 2);
	pci_config(window + 16, 2, true, 0);
	(void)work();
	assert_int_equal(used_index(0), 2);
	pci_config(window + 4, 1, true, 0); /* ... and the other BAR: the status */
	pci_config(window + 8, 4, true, 0x14);
	pci_config(window + 12, 4, true, 1);
	assert_int_equal(pci_config(window + 16, 1, false, 0), 0xf);
	set_reg(0x804, 2, 1); /* this queue is not set up */
	set_reg(0x808, 2, 2); /* this queue does not exist */
	set_reg(0xffe, 2, 0);
	(void)work();
	assert_int_equal(used_index(0), 2);
}

/* An address that names no register of a BAR leaves plain bytes. */
TEST(the_window_is_checked, setup, teardown)
{
	static const struct {
		uint32_t bar, offset, length, size;
	} rows[] = {
		{ 1, 0, 4, 4 },		 { 255, 0, 4, 4 },   { 4, 32, 2, 2 },
		{ 0, 0x4000, 4, 4 },	 { 0, 2, 4, 4 },     { 0, 0, 0, 4 },
		{ 0, 0, 8, 4 },		 { 0, 0, 4, 2 },     { 0, 0xffffffff, 1, 1 },
		{ 0, 0xfffffffc, 4, 4 }, { 0, 0, 0x104, 4 },
	};
	const uint32_t window = device.window;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		pci_config(window + 4, 1, true, rows[i].bar);
		pci_config(window + 8, 4, true, rows[i].offset);
		pci_config(window + 12, 4, true, rows[i].length);
		pci_config(window + 16, rows[i].size, true, 0x5a);
		if (pci_config(window + 16, rows[i].size, false, 0) != 0x5a) {
			fail_msg("row %zu", i);
		}
	}
}

TEST(a_turn_ends_by_bytes_or_by_time, setup, teardown)
{
	drive(0, 1);
	dev.bytes = VIRTIO_TURN_BYTES / 2;
	for (unsigned i = 0; i < 7; i++) {
		offer(0, 0);
	}
	notify(0);
	assert_int_equal(work(), 4);
	assert_int_equal(used_index(0), 7);
	dev.bytes = 0;
	dev.ticks = tsc_from_us(VIRTIO_TURN_US);
	for (unsigned i = 0; i < 5; i++) {
		offer(0, 0);
	}
	notify(0);
	assert_int_equal(work(), 6); /* the last turn finds nothing */
	assert_int_equal(used_index(0), 12);
}

static void ends_later(void)
{
	dev.step = VIRTIO_DONE;
}

TEST(a_chain_may_take_turns, setup, teardown)
{
	drive(0, 1);
	dev.step = VIRTIO_MORE;
	offer(0, 0);
	notify(0);
	assert_true(virtio_work(vm->vcpus[0], false));
	assert_true(virtio_work(vm->vcpus[0], false));
	assert_int_equal(used_index(0), 0);
	dev.during = ends_later;
	(void)work();
	assert_int_equal(dev.calls, 3);
	assert_int_equal(used_index(0), 1);
	dev.step = VIRTIO_LATER;
	offer(0, 0);
	notify(0);
	assert_false(virtio_work(vm->vcpus[0], false));
	assert_int_equal(used_index(0), 1);
	dev.step = VIRTIO_DONE;
	virtio_kick(&device, vm->vcpus[0], 0);
	(void)work();
	assert_int_equal(used_index(0), 2);
}

/* Another vCPU that notifies meanwhile does no work, and its request is not lost. */
static void kicks_meanwhile(void)
{
	struct vcpu other = { .vm = vm, .id = 1 };

	offer(1, 0);
	virtio_kick(&device, &other, 1);
	assert_false(virtio_work(&other, false));
	assert_int_equal(used_index(1), 0);
}

TEST(one_turn_at_a_time, setup, teardown)
{
	drive(0, 2);
	dev.during = kicks_meanwhile;
	offer(0, 0);
	notify(0);
	(void)work();
	assert_int_equal(used_index(0), 1);
	assert_int_equal(used_index(1), 1);
}

static void resets_meanwhile(void)
{
	set_reg(0x14, 1, 0);
	assert_int_equal(reg(0x14, 1), 0xf); /* not done yet */
	set_reg(0x14, 1, 1);
	assert_int_equal(dev.resets, 0);
}

TEST(a_reset_waits_for_the_turn_and_delays_no_other, setup, teardown)
{
	drive(0, 1);
	offer(0, 0);
	offer(0, 0);
	dev.during = resets_meanwhile;
	notify(0);
	assert_int_equal(work(), 1);
	assert_int_equal(dev.calls, 1);
	assert_int_equal(dev.resets, 1);
	assert_int_equal(reg(0x14, 1), 0);
	assert_int_equal(reg(0x18, 2), VRING_SIZE_MAX);
	set_reg(0x16, 2, 0);
	assert_int_equal(reg(0x1c, 2), 0);
	notify(0);
	(void)work();
	assert_int_equal(dev.calls, 1);
	drive(0, 1);
	offer(0, 0);
	notify(0);
	(void)work();
	assert_int_equal(dev.calls, 2);
}

/* A reset after each step of a driver puts the device back into its initial state. */
TEST(a_reset_at_every_step, setup, teardown)
{
	for (unsigned steps = 0; steps < 9; steps++) {
		unsigned i = 0;

		avail_index[0] = 0;
		poke16(AVAIL(0) + 2, 0);
		if (steps > i++) {
			set_reg(0x14, 1, 3);
		}
		if (steps > i++) {
			accept_features(VIRTIO_F_VERSION_1);
		}
		if (steps > i++) {
			set_up_queue(0);
		}
		if (steps > i++) {
			offer(0, 0);
		}
		if (steps > i++) {
			notify(0);
		}
		if (steps > i++) {
			set_reg(0x14, 1, 0xf);
		}
		if (steps > i++) {
			notify(0);
		}
		if (steps > i++) {
			(void)work();
		}
		set_reg(0x14, 1, 0);
		(void)work();
		assert_int_equal(reg(0x14, 1), 0);
		assert_int_equal(reg(0x0c, 4), 0);
		assert_int_equal(device.kicked.only, 0);
		assert_false(device.queues[0].enabled.only || line);
	}
	assert_int_equal(dev.calls, 1);
}

TEST(nothing_is_done_before_it_may, setup, teardown)
{
	pci_config(4, 2, true, 3); /* not a bus master */
	accept_features(VIRTIO_F_VERSION_1);
	set_up_queue(0);
	offer(0, 0);
	notify(0);
	(void)work();
	set_reg(0x14, 1, 0xf);
	(void)work();
	assert_int_equal(dev.calls, 0);
	pci_config(4, 2, true, 7);
	(void)work();
	assert_int_equal(dev.calls, 1);
}

/*
 * The driver's notification came; then the function was no bus master for a moment, and the turn,
 * or the next notification, fell into it. The driver does not notify again.
 */
TEST(a_master_again_serves_what_waits, setup, teardown)
{
	drive(0, 1);
	use_messages(&device);
	offer(0, 0);
	notify(0);
	pci_config(4, 2, true, 3);
	assert_int_equal(work(), 1);
	assert_int_equal(dev.calls, 0);
	pci_config(4, 2, true, 7);
	(void)work();
	assert_int_equal(used_index(0), 1);
	assert_int_equal(sent_count, 1);
	pci_config(4, 2, true, 3);
	offer(0, 0);
	notify(0);
	(void)work();
	assert_int_equal(dev.calls, 1);
	pci_config(4, 2, true, 7);
	(void)work();
	assert_int_equal(used_index(0), 2);
	pci_config(4, 2, true, 7); /* it is one: there is nothing to look for */
	assert_false(virtio_work(vm->vcpus[0], false));
	set_reg(0x14, 1, 0);
	pci_config(4, 2, true, 3);
	pci_config(4, 2, true, 7); /* without a driver there is not, either */
	assert_int_equal(device.kicked.only, 0);
}

static void loses_the_bus(void)
{
	pci_config(4, 2, true, 3);
}

/* It is no bus master any more at the end of a turn: its interrupt comes later. */
TEST(a_turn_may_lose_the_bus, setup, teardown)
{
	drive(0, 1);
	use_messages(&device);
	dev.during = loses_the_bus;
	offer(0, 0);
	notify(0);
	(void)work();
	assert_int_equal(used_index(0), 1);
	assert_int_equal(sent_count, 0);
	pci_config(4, 2, true, 7);
	assert_int_equal(sent_count, 1);
}

/* A notification from before DRIVER_OK is served then. */
TEST(driver_ok_starts_the_queues, setup, teardown)
{
	accept_features(VIRTIO_F_VERSION_1);
	set_up_queue(0);
	offer(0, 0);
	set_reg(0x14, 1, 0xf);
	(void)work();
	assert_int_equal(dev.calls, 1);
}

TEST(the_pin_is_up_until_isr_is_read, setup, teardown)
{
	drive(0, 1);
	offer(0, 0);
	notify(0);
	(void)work();
	assert_true(line);
	assert_int_equal(pci_config(6, 2, false, 0) & 8, 8);
	assert_int_equal(reg(0x1000, 1), 1);
	assert_false(line);
	assert_int_equal(reg(0x1000, 1), 0);
	poke16(AVAIL(0), 1); /* asks for no interrupts */
	offer(0, 0);
	notify(0);
	(void)work();
	assert_int_equal(used_index(0), 2);
	assert_false(line);
}

TEST(one_interrupt_for_what_a_turn_has_done, setup, teardown)
{
	drive(VIRTIO_F_EVENT_INDEX, 1);
	use_messages(&device);
	dev.bytes = 0;
	for (unsigned i = 0; i < 5; i++) {
		offer(0, 0);
	}
	notify(0);
	(void)work();
	assert_int_equal(sent_count, 1);
	/* Asks for an interrupt at the next buffer. */
	assert_int_equal(peek(USED(0) + 4 + 8 * QUEUE_LEN, 2), 5);
}

TEST(a_driver_that_lies_loses_the_device_and_is_named_once, setup, teardown)
{
	drive(0, 2);
	use_messages(&device);
	set_reg(0x10, 2, 0);
	offer(1, 0);
	poke16(AVAIL(0) + 2, 100);
	notify(0);
	notify(1);
	(void)work();
	assert_int_equal(reg(0x14, 1), 0x4f);
	assert_int_equal(used_index(1), 0);
	assert_int_equal(dev.calls, 0);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0], 0x40); /* the configuration has changed */
	assert_string_equal(fake_log_text(),
			    "warning: vm m: virtio-test: queue 0: its index has jumped: the "
			    "device stops until its driver resets it; further errors are "
			    "not logged\n");
	for (unsigned i = 0; i < 3; i++) {
		set_reg(0x14, 1, 0);
		assert_int_equal(reg(0x14, 1), 0);
		poke16(AVAIL(0) + 2, 0);
		drive(0, 1);
		dev.step = i == 1 ? VIRTIO_BROKEN : VIRTIO_DONE;
		offer(0, i == 0 ? 0 : QUEUE_LEN);
		notify(0);
		(void)work();
		assert_int_equal(reg(0x14, 1), i == 0 ? 0xf : 0x4f);
	}
	assert_int_equal(dev.calls, 1);
	assert_null(strstr(strchr(fake_log_text(), '\n') + 1, "\n"));
}

/* Requests that were done before the lie are returned, with an interrupt. */
TEST(what_came_before_the_lie_completes, setup, teardown)
{
	drive(0, 1);
	offer(0, 0);
	offer(0, QUEUE_LEN);
	notify(0);
	(void)work();
	assert_int_equal(used_index(0), 1);
	assert_int_equal(reg(0x1000, 1), 3);
	assert_int_equal(reg(0x14, 1), 0x4f);
}

TEST(a_full_list_is_refused, setup, teardown)
{
	static struct virtio more[VIRTIO_MAX];

	for (unsigned i = 1; i < VIRTIO_MAX; i++) {
		assert_int_equal(virtio_add(&more[i], &platform, &ops), 0);
	}
	assert_int_equal(virtio_add(&more[0], &platform, &ops), ERR_NOMEM);
}
