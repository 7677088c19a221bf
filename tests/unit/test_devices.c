/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/devices.c with fake devices, which record the calls: the order, what happens when a device
 * fails, and what each loop passes on.
 */
#include <stdio.h>

#include "tests/unit/test.h"
#include "guest/dev/vlapic.h"
#include "guest/platform_state.h"
#include "vmm/base/err.h"

static struct platform platform;
static struct vm vm;
static struct vcpu vcpu;
static char calls[400];	  /* one word for each */
static const char *fails; /* the call that fails */
static bool deadlines;	  /* the devices set the VM's clock */

static int note(const char *call, const char *name)
{
	char word[40];

	(void)snprintf(word, sizeof(word), "%s-%s", call, name);
	strcat(strcat(calls, calls[0] != '\0' ? " " : ""), word);
	return fails != NULL && strcmp(fails, word) == 0 ? ERR_IO : 0;
}

void vm_forget_clock(struct vm *of)
{
	assert_ptr_equal(of, &vm);
	(void)note("forget", "clock");
	of->clock_deadline.only = UINT64_MAX;
}

#define DEVICE(symbol, word)                                                           \
	static int word##_init(struct platform *of)                                    \
	{                                                                              \
		assert_ptr_equal(of, &platform);                                       \
		return note("init", #word);                                            \
	}                                                                              \
	static int word##_add(struct vcpu *to)                                         \
	{                                                                              \
		assert_ptr_equal(to, &vcpu);                                           \
		return note("add", #word);                                             \
	}                                                                              \
	static void word##_clock(struct platform *of, uint64_t tsc)                    \
	{                                                                              \
		assert_int_equal(tsc, 77);                                             \
		(void)note("clock", #word);                                            \
		if (deadlines) {                                                       \
			of->vm->clock_deadline.only = MIN(of->vm->clock_deadline.only, \
							  (uint64_t)(#word)[0]);       \
		}                                                                      \
	}                                                                              \
	static void word##_skip(struct platform *of, uint64_t ticks)                   \
	{                                                                              \
		assert_ptr_equal(of, &platform);                                       \
		assert_int_equal(ticks, 99);                                           \
		(void)note("skip", #word);                                             \
	}                                                                              \
	static void word##_poll(struct platform *of)                                   \
	{                                                                              \
		assert_ptr_equal(of, &platform);                                       \
		(void)note("poll", #word);                                             \
	}                                                                              \
	static void word##_destroy(struct platform *of)                                \
	{                                                                              \
		assert_ptr_equal(of, &platform);                                       \
		(void)note("destroy", #word);                                          \
	}                                                                              \
	const struct vdev_ops symbol = { .name = #word,                                \
					 .init = word##_init,                          \
					 .add_vcpu = word##_add,                       \
					 .clock = word##_clock,                        \
					 .skip_time = word##_skip,                     \
					 .poll = word##_poll,                          \
					 .destroy = word##_destroy }

DEVICE(vlapic_device, lapic);
DEVICE(vioapic_device, ioapic);
DEVICE(vlegacy_device, legacy);
DEVICE(vuart_device, uart);

static int pci_init(struct platform *of)
{
	return note("init", "pci");
}

/* The loops skip a device without the function. */
const struct vdev_ops vpci_device = { .name = "pci", .init = pci_init };

/* These come last, and the loops treat them alike. */
const struct vdev_ops virtio_rng_device = { .name = "rng" };
const struct vdev_ops virtio_blk_device = { .name = "blk" };
const struct vdev_ops virtio_console_device = { .name = "console" };
const struct vdev_ops virtio_net_device = { .name = "net" };
const struct vdev_ops ivshmem_device = { .name = "ivshmem" };

static int start(void **state)
{
	fake_reset();
	memset(&platform, 0, sizeof(platform));
	memset(&vm, 0, sizeof(vm));
	platform.vm = &vm;
	vm.platform = &platform;
	vcpu.vm = &vm;
	calls[0] = '\0';
	fails = NULL;
	deadlines = false;
	return 0;
}

static void expect_calls(const char *text)
{
	assert_string_equal(calls, text);
	calls[0] = '\0';
}

/* Each device is initialised after the devices that it uses, and destroyed before them. */
TEST(test_order, start, fake_teardown)
{
	const char *failed = NULL;

	assert_int_equal(devices_init(&platform, &failed), 0);
	expect_calls("init-lapic init-ioapic init-legacy init-pci init-uart");
	assert_int_equal(devices_add_vcpu(&vcpu, &failed), 0);
	expect_calls("add-lapic add-ioapic add-legacy add-uart");
	assert_null(failed);
	devices_destroy(&platform);
	expect_calls("destroy-uart destroy-legacy destroy-ioapic destroy-lapic");
	devices_destroy(&platform);
	expect_calls("");
}

/* The log names the device, and the devices before it are destroyed in reverse order. */
TEST(test_unwinding, start, fake_teardown)
{
	static const struct {
		const char *fails, *name, *inits, *destroys;
	} rows[] = {
		{ "init-lapic", "lapic", "init-lapic", "" },
		{ "init-ioapic", "ioapic", "init-lapic init-ioapic", "destroy-lapic" },
		{ "init-legacy", "legacy", "init-lapic init-ioapic init-legacy",
		  "destroy-ioapic destroy-lapic" },
		{ "init-pci", "pci", "init-lapic init-ioapic init-legacy init-pci",
		  "destroy-legacy destroy-ioapic destroy-lapic" },
		{ "init-uart", "uart", "init-lapic init-ioapic init-legacy init-pci init-uart",
		  "destroy-legacy destroy-ioapic destroy-lapic" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		const char *failed = NULL;

		(void)start(state);
		fails = rows[i].fails;
		assert_int_equal(devices_init(&platform, &failed), ERR_IO);
		assert_string_equal(failed, rows[i].name);
		expect_calls(rows[i].inits);
		devices_destroy(&platform);
		expect_calls(rows[i].destroys);
	}
}

/* All devices were initialised by then: all are destroyed. */
TEST(test_a_vcpu_that_fails, start, fake_teardown)
{
	const char *failed = NULL;

	assert_int_equal(devices_init(&platform, &failed), 0);
	calls[0] = '\0';
	fails = "add-ioapic";
	assert_int_equal(devices_add_vcpu(&vcpu, &failed), ERR_IO);
	assert_string_equal(failed, "ioapic");
	expect_calls("add-lapic add-ioapic");
	devices_destroy(&platform);
	expect_calls("destroy-uart destroy-legacy destroy-ioapic destroy-lapic");
}

/* The old deadline is cleared first; a deadline that devices set during the poll stays. */
TEST(test_clock, start, fake_teardown)
{
	vm.clock_deadline.only = 5;
	devices_clock(&vm, 77);
	expect_calls("forget-clock clock-lapic clock-ioapic clock-legacy clock-uart");
	assert_true(vm.clock_deadline.only == UINT64_MAX);
	deadlines = true;
	vm.clock_deadline.only = 5;
	devices_clock(&vm, 77);
	assert_int_equal(vm.clock_deadline.only, 'i');
}

TEST(test_poll_and_skip_time, start, fake_teardown)
{
	devices_poll(&vm);
	expect_calls("poll-lapic poll-ioapic poll-legacy poll-uart");
	devices_skip_time(&vm, 99);
	expect_calls("skip-lapic skip-ioapic skip-legacy skip-uart");
}
