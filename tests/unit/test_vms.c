/* SPDX-License-Identifier: Apache-2.0 */
/* boot/vms.c: which VMs start, what is said when they end, resets with and without an end. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "boot/vms.h"
#include "guest/platform.h"
#include "tests/unit/fake_base.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/vcpu.h"

#define SECOND 1000000000ull

static struct config config;
static struct vm vm;
static struct vcpu vcpu;
static unsigned starts, destroys;
static bool start_fails;

int platform_start_vm(const struct vm_config *c, struct vm **out)
{
	assert_true(c->valid);
	starts++;
	if (start_fails) {
		return ERR_NOMEM;
	}
	memset(&vm, 0, sizeof(vm));
	memset(&vcpu, 0, sizeof(vcpu));
	strcpy(vm.name, c->name);
	vm.vcpus[0] = &vcpu;
	vm.vcpu_count = 1;
	vm.state = VM_RUNNING;
	*out = &vm;
	return 0;
}

void platform_flush_vm(struct vm *v)
{
	assert_ptr_equal(v, &vm);
	assert_int_equal(v->state, VM_ENDED);
	log_info("last words");
}

void platform_log_memory(const struct vm *v)
{
	assert_ptr_equal(v, &vm);
	assert_int_equal(v->state, VM_ENDED);
	log_info("memory figures");
}

void platform_destroy_vm(struct vm *v)
{
	assert_ptr_equal(v, &vm);
	assert_int_equal(v->state, VM_ENDED);
	v->state = VM_BUILDING;
	destroys++;
}

bool vm_ended(struct vm *v)
{
	return v->state == VM_ENDED;
}

const char *vm_end_reason_name(enum vm_end_reason reason)
{
	return reason == VM_END_RESET ? "reset" : reason == VM_END_POWER_OFF ? "off" : "fault";
}

static int setup(void **state)
{
	fake_setup(state);
	memset(&config, 0, sizeof(config));
	config.vm_count = 2;
	strcpy(config.vms[0].name, "bad");
	strcpy(config.vms[1].name, "good");
	config.vms[1].valid = true;
	starts = destroys = 0;
	start_fails = false;
	fake_tsc = 5 * SECOND;
	return 0;
}

static void end(enum vm_end_reason reason, const char *detail)
{
	vm.state = VM_ENDED;
	vm.end_reason = reason;
	strcpy(vm.end_detail, detail);
}

static void one_life(void **state)
{
	(void)state;
	assert_int_equal(vms_start(&config), 1);
	assert_int_equal(starts, 1);
	assert_non_null(strstr(fake_log_text(), "warning: vm bad: not started"));
	assert_int_equal(vms_reap(), 1);

	fake_tsc += 1234 * SECOND / 1000;
	vcpu.exit_count[10] = 40;
	vcpu.exit_count[ARRAY_COUNT(vcpu.exit_count) - 1] = 2;
	end(VM_END_POWER_OFF, "");
	assert_int_equal(vms_reap(), 0);
	assert_non_null(strstr(fake_log_text(), "last words\n"
						"info: vm good: ended: off (1.234 s, 42 exits)\n"
						"info: memory figures"));
	assert_int_equal(destroys, 1);
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(destroys, 1);
}

static void faults(void **state)
{
	(void)state;
	assert_int_equal(vms_start(&config), 1);
	end(VM_END_TRIPLE_FAULT, "at 0x10");
	assert_int_equal(vms_reap(), 0);
	assert_non_null(strstr(fake_log_text(), "error: vm good: ended: fault: at 0x10 ("));
	assert_int_equal(starts, 1);
}

static void none_starts(void **state)
{
	(void)state;
	start_fails = true;
	assert_int_equal(vms_start(&config), 0);
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(destroys, 0);
}

static void resets(void **state)
{
	(void)state;
	assert_int_equal(vms_start(&config), 1);
	/* A guest that runs for a while may reset as often as it likes. */
	for (unsigned i = 0; i < 20; i++) {
		fake_tsc += 10 * SECOND;
		end(VM_END_RESET, "");
		assert_int_equal(vms_reap(), 1);
		assert_int_equal(starts, 2 + i);
	}
	/* One that resets at once is left stopped in the end, in words. */
	for (unsigned i = 0; i < 4; i++) {
		end(VM_END_RESET, "");
		assert_int_equal(vms_reap(), 1);
	}
	end(VM_END_RESET, "");
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(starts, 25);
	assert_int_equal(destroys, 25);
	assert_non_null(strstr(fake_log_text(), "error: vm good: asked for a reset 5 times"));

	/* A rebuild that fails ends it, too. */
	assert_int_equal(vms_start(&config), 1);
	start_fails = true;
	fake_tsc += 10 * SECOND;
	end(VM_END_RESET, "");
	assert_int_equal(vms_reap(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_life, setup, fake_teardown),
		cmocka_unit_test_setup_teardown(faults, setup, fake_teardown),
		cmocka_unit_test_setup_teardown(none_starts, setup, fake_teardown),
		cmocka_unit_test_setup_teardown(resets, setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
