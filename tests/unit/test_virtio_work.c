/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/dev/virtio_work.c: when a vCPU takes which turn. What was put off comes at the end of the
 * wait, or when its vCPU leaves its CPU; and what a vCPU leaves is done by a sibling.
 */
#include "tests/unit/test.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/base/tsc.h"

/* `device` is the one that is driven; most tests add another one. */
static struct virtio device, other;
static struct vcpu sibling;

static struct {
	unsigned calls;
	enum virtio_step step;
	void (*during)(void); /* called once during a turn */
} dev;

bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	return true;
}

void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
}

static enum virtio_step serve(struct virtio *which, uint32_t queue, struct virtio_turn *turn,
			      uint32_t *written)
{
	void (*during)(void) = dev.during;

	dev.calls++;
	dev.during = NULL;
	if (during != NULL) {
		during();
	}
	*written = 0;
	return dev.step;
}

static const struct virtio_ops ops = {
	.name = "virtio-test",
	.type = 9,
	.queues = 1,
	.serve = serve,
};

static int setup(void **state)
{
	int err = fake_setup(state);

	make_vm();
	memset(&device, 0, sizeof(device));
	memset(&other, 0, sizeof(other));
	memset(&dev, 0, sizeof(dev));
	err |= virtio_add(&device, &platform, &ops);
	pci_config(4, 2, true, 7);
	set_desc(DESC(0), 0, BUFFER, 64, F_WRITE, 0);
	sibling = (struct vcpu){ .vm = vm, .id = 1, .state = { VCPU_RUNNABLE } };
	vm->state.only = VM_RUNNING;
	vm->last_halt.only = 0;
	fake_tsc += tsc_from_us(1000);
	return err;
}

static int teardown(void **state)
{
	end_vm();
	return fake_teardown(state);
}

/* --- Turns of one vCPU --- */

/*
 * The vCPU leaves its CPU. A device whose turn was only put off gets it now. A device that has had
 * a turn already, or never waits, is left for the vCPU's next slice, unless there will be none.
 */
TEST(what_was_put_off_comes_first, setup, teardown)
{
	struct virtio_work *work = &platform.virtio_work[0];
	struct vcpu *vcpu = vm->vcpus[0];

	other.gather_us = 100;
	assert_int_equal(virtio_add(&other, &platform, &ops), 0);
	vm->state.only = VM_RUNNING;
	fake_tsc = 1000;
	for (unsigned i = 0; i < 2; i++) {
		vcpu->state.only = i == 0 ? VCPU_RUNNABLE : VCPU_HALTED;
		virtio_kick(&device, vcpu, 0);
		virtio_kick(&other, vcpu, 0);
		work->next = 0;
		assert_in_range(virtio_work(vcpu, true), fake_tsc + 1, UINT64_MAX);
		assert_int_equal(work->devices, BIT(device.index));
		assert_in_range(virtio_work(vcpu, true), fake_tsc + 1, UINT64_MAX);
		assert_int_equal(work->devices, BIT(device.index));
	}
	virtio_kick(&other, vcpu, 0);
	vm->state.only = VM_ENDING;
	assert_int_equal(virtio_work(vcpu, true), fake_tsc);
	assert_int_equal(work->devices, BIT(device.index));
	assert_int_equal(virtio_work(vcpu, true), 0);
}

/* Much was put off: what is left after one turn does not wait for the next slice, either. */
TEST(what_was_put_off_goes_on, setup, teardown)
{
	struct vcpu *vcpu = vm->vcpus[0];

	device.gather_us = 100;
	drive(0, 1);
	vm->state.only = VM_RUNNING;
	vcpu->state.only = VCPU_RUNNABLE;
	fake_tsc += 1000;
	dev.step = VIRTIO_MORE;
	offer(0, 0);
	notify(0);
	assert_int_equal(virtio_work(vcpu, true), fake_tsc);
	assert_int_equal(virtio_work(vcpu, true), fake_tsc);
	assert_int_equal(dev.calls, 2);
	dev.step = VIRTIO_DONE;
	assert_int_equal(virtio_work(vcpu, true), 0);
	/* Also if the first turn came before the slice's end. */
	offer(0, 0);
	notify(0);
	fake_tsc += tsc_from_us(100);
	dev.step = VIRTIO_MORE;
	assert_in_range(virtio_work(vcpu, false), fake_tsc + 1, UINT64_MAX);
	dev.step = VIRTIO_DONE;
	assert_int_equal(virtio_work(vcpu, true), 0);
	assert_int_equal(dev.calls, 5);
	/* That does not apply to a device that never waits. */
	device.gather_us = 0;
	dev.step = VIRTIO_MORE;
	offer(0, 0);
	notify(0);
	assert_in_range(virtio_work(vcpu, false), fake_tsc + 1, UINT64_MAX);
	assert_in_range(virtio_work(vcpu, true), fake_tsc + 1, UINT64_MAX);
	assert_int_equal(dev.calls, 6);
}

/*
 * A device has had its turn, and another one waits to gather: the next work is due when that wait
 * ends.
 */
TEST(no_exit_before_the_next_turn, setup, teardown)
{
	struct vcpu *vcpu = vm->vcpus[0];

	other.gather_us = 10 * VIRTIO_GAP_US;
	assert_int_equal(virtio_add(&other, &platform, &ops), 0);
	drive(0, 1);
	vcpu->state.only = VCPU_RUNNABLE;
	offer(0, 0);
	notify(0);
	virtio_kick(&other, vcpu, 0);
	assert_int_equal(virtio_work(vcpu, false), fake_tsc + tsc_from_us(other.gather_us));
	assert_int_equal(dev.calls, 1);
	/* What has more to do comes after the usual gap. */
	dev.step = VIRTIO_MORE;
	offer(0, 0);
	notify(0);
	assert_int_equal(virtio_work(vcpu, false), fake_tsc + tsc_from_us(VIRTIO_GAP_US));
	assert_int_equal(dev.calls, 2);
}

/* --- Turns of several --- */

/* Gives the device work and notifies vCPU 0 of it; if both, also the sibling. */
static void add_work(bool both)
{
	vm->vcpus[0]->state.only = VCPU_RUNNABLE;
	offer(0, 0);
	notify(0);
	if (both) {
		virtio_kick(&device, &sibling, 0);
	}
}

static void waits_in_turn(void)
{
	assert_int_equal(virtio_work(&sibling, false), fake_tsc + tsc_from_us(100));
}

/*
 * Both vCPUs wait to gather. vCPU 0 has the turn and leaves its CPU before all is done: the sibling
 * does the rest.
 */
TEST(who_gathers_too_does_the_rest, setup, teardown)
{
	struct vcpu *vcpu = vm->vcpus[0];

	device.gather_us = 100;
	drive(0, 1);
	add_work(true);
	dev.step = VIRTIO_MORE;
	dev.during = waits_in_turn;
	assert_int_equal(virtio_work(vcpu, true), fake_tsc);
	waits_in_turn();
	fake_tsc += tsc_from_us(100);
	dev.step = VIRTIO_DONE;
	assert_int_equal(virtio_work(&sibling, false), 0);
	assert_int_equal(dev.calls, 2);
	assert_int_equal(virtio_work(vcpu, false), 0);
	/* If nothing is left, the sibling has no turn. */
	add_work(true);
	assert_int_equal(virtio_work(vcpu, true), 0);
	assert_int_equal(virtio_work(&sibling, false), 0);
	assert_int_equal(dev.calls, 3);
	/* A vCPU that stays on its CPU may leave work, too. */
	add_work(false);
	fake_tsc += tsc_from_us(100);
	virtio_kick(&device, &sibling, 0);
	dev.step = VIRTIO_MORE;
	dev.during = waits_in_turn;
	assert_int_not_equal(virtio_work(vcpu, false), 0);
	waits_in_turn();
}

static void comes_in_turn(void)
{
	virtio_kick(&device, &sibling, 0);
	assert_int_equal(virtio_work(&sibling, false),
			 sibling.state.only == VCPU_RUNNABLE ? fake_tsc + tsc_from_us(VIRTIO_GAP_US)
							     : 0);
}

static void leaves_in_turn(void)
{
	virtio_kick(&device, &sibling, 0);
	assert_in_range(virtio_work(&sibling, true), fake_tsc + 1, UINT64_MAX);
}

/*
 * A vCPU whose turn comes during another vCPU's turn tries again after the usual gap. If it has
 * halted it need not: then the other one does the rest.
 */
TEST(who_comes_during_a_turn_does_the_rest, setup, teardown)
{
	struct vcpu *vcpu = vm->vcpus[0];

	drive(0, 1);
	for (unsigned i = 0; i < 2; i++) {
		sibling.state.only = i == 0 ? VCPU_RUNNABLE : VCPU_HALTED;
		add_work(false);
		dev.step = VIRTIO_MORE;
		dev.during = comes_in_turn;
		assert_int_not_equal(virtio_work(vcpu, false), 0);
		dev.step = VIRTIO_DONE;
		assert_int_equal(virtio_work(i == 0 ? &sibling : vcpu, false), 0);
		assert_int_equal(dev.calls, 2 * (i + 1));
		(void)work();
	}
	/* Nor does it wait for the end of that turn when it leaves its CPU. */
	sibling.state.only = VCPU_RUNNABLE;
	device.gather_us = 100;
	add_work(false);
	dev.during = leaves_in_turn;
	(void)virtio_work(vcpu, true);
	assert_null(dev.during);
}

/* What a vCPU leaves for its next slice is done by a sibling that halts before that slice. */
TEST(who_halts_does_what_was_left, setup, teardown)
{
	struct vcpu *vcpu = vm->vcpus[0];

	drive(0, 1);
	for (unsigned i = 0; i < 2; i++) {
		device.gather_us = i == 0 ? 0 : 100;
		sibling.state.only = VCPU_RUNNABLE;
		dev.calls = 0;
		dev.step = VIRTIO_MORE;
		add_work(false);
		fake_tsc += tsc_from_us(100);
		assert_int_not_equal(virtio_work(vcpu, false), 0);
		assert_int_equal(dev.calls, 1);
		assert_int_equal(vm->gathering.only, 0); /* vCPU 0 runs: it goes on soon */
		(void)virtio_work(vcpu, true);
		assert_int_equal(dev.calls, 1 + i);
		assert_int_equal(vm->gathering.only, BIT(device.index));
		assert_int_equal(virtio_work(&sibling, false), 0);
		sibling.state.only = VCPU_HALTED;
		/* If it leaves its CPU at once, it takes only what was put off. */
		assert_int_not_equal(virtio_work(&sibling, true), 0);
		assert_int_equal(dev.calls, 1 + 2 * i);
		dev.step = VIRTIO_DONE;
		assert_int_equal(virtio_work(&sibling, false), 0);
		assert_int_equal(dev.calls, 2 + 2 * i);
		assert_int_equal(vm->gathering.only, 0);
		(void)work();
	}
}

/*
 * A sibling has halted since the first notification, and takes that turn. It may have added
 * something more just before the next notification. So that notification's wait is over at once.
 */
TEST(a_wait_ends_for_who_has_halted, setup, teardown)
{
	struct vcpu *vcpu = vm->vcpus[0];

	device.gather_us = 100;
	drive(0, 1);
	add_work(false);
	sibling.state.only = VCPU_HALTED;
	assert_int_equal(virtio_work(&sibling, false), 0);
	assert_int_equal(dev.calls, 1);
	vm->last_halt.only = ALIGN_DOWN(fake_tsc, VM_VCPU_MAX) + sibling.id;
	offer(0, 0);
	notify(0);
	assert_int_equal(virtio_work(vcpu, false), 0);
	assert_int_equal(dev.calls, 2);
}
