/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/vm.c: ids that come back, and a pause that the guest's clock does not see. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_base.h"
#include "vmm/apic_page.h"
#include "vmm/base/err.h"
#include "vmm/base/page_alloc.h"
#include "vmm/exits.h"
#include "vmm/sched.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vm.h"
#include "vmm/vmx.h"

static unsigned kicks;
static uint64_t skipped;

int vcpu_create(struct vm *vm, uint32_t id, struct vcpu **out)
{
	struct vcpu *vcpu = page_alloc(4);

	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->priv = page_alloc(4);
	vcpu->priv->tsc_offset = vm->tsc_offset;
	*out = vcpu;
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	page_free(vcpu->priv, 4);
	page_free(vcpu, 4);
}

void vcpu_kick(struct vcpu *vcpu)
{
	assert_non_null(vcpu);
	kicks++;
}

void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks)
{
	assert_true(vcpu->vm->paused); /* nobody runs it */
	vcpu->priv->tsc_offset -= ticks;
}

void sched_add(struct vcpu *vcpu)
{
	assert_non_null(vcpu);
}

const char *exit_name(uint32_t reason)
{
	return "exit";
}

const struct vmx_caps *vmx_caps(void)
{
	static const struct vmx_caps caps;

	return &caps;
}

int gmem_init(struct gmem *gmem)
{
	assert_non_null(gmem);
	return 0;
}

void gmem_destroy(struct gmem *gmem)
{
	assert_non_null(gmem);
}

int apic_page_alloc(struct vm *vm)
{
	return vm->apic_access_page == NULL ? 0 : ERR_NOMEM;
}

void hole_free(struct vm *vm)
{
}

void apic_page_free(struct vm *vm)
{
	assert_null(vm->apic_access_page);
}

static void skip_time(struct vm *vm, uint64_t ticks)
{
	assert_true(vm->paused);
	skipped += ticks;
}

static const struct vm_hooks hooks = { .skip_time = skip_time };

static uint64_t guest_clock(const struct vcpu *vcpu)
{
	return fake_tsc + vcpu->priv->tsc_offset;
}

static void a_pause_is_not_seen(void **state)
{
	struct vcpu *vcpu[2];
	struct vm *vm;

	(void)state;
	fake_tsc = 5000;
	kicks = 0;
	skipped = 0;
	assert_int_equal(vm_create("clock", &hooks, NULL, &vm), 0);
	assert_int_equal(vm_add_vcpu(vm, &vcpu[0]), 0);
	assert_int_equal(vm_add_vcpu(vm, &vcpu[1]), 0);
	vm_start(vm);
	fake_tsc += 100;
	vm_resume(vm); /* is not paused: nothing */
	assert_int_equal(guest_clock(vcpu[0]), 100);
	vm_pause(vm);
	assert_int_equal(kicks, 2);
	fake_tsc += 7000;
	vm_pause(vm); /* paused since the first time */
	assert_int_equal(kicks, 2);
	fake_tsc += 3000;
	vm_resume(vm);
	assert_false(vm->paused);
	assert_int_equal(skipped, 10000);
	assert_int_equal(kicks, 4); /* those that sleep look at their timers */
	assert_int_equal(guest_clock(vcpu[0]), 100);
	assert_int_equal(guest_clock(vcpu[1]), 100);
	assert_int_equal(fake_tsc + vm->tsc_offset, 100); /* for a vCPU that starts later */
	fake_tsc += 50;
	assert_int_equal(guest_clock(vcpu[1]), 150);
	vm_end(vm, VM_END_DESTROYED, NULL);
	vm->running = 0;
	assert_true(vm_ended(vm));
	vm_destroy(vm);
}

static void ids_come_back(void **state)
{
	struct vm *vms[VM_MAX], *more;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < VM_MAX; i++) {
			assert_int_equal(vm_create("many", &hooks, NULL, &vms[i]), 0);
			assert_int_equal(vms[i]->id, i);
			assert_int_equal(vm_count(), i + 1);
		}
		assert_int_equal(vm_create("one more", &hooks, NULL, &more), ERR_NOMEM);
		for (uint32_t i = 0; i < VM_MAX; i++) {
			vm_destroy(vms[i]);
		}
		assert_int_equal(vm_count(), 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_pause_is_not_seen, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(ids_come_back, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
