/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/vm.c and attention.c: ids that are used again, a pause that the guest's clock does not show,
 * and how VMs end.
 */
#include <signal.h>
#include <sys/time.h>

#include "tests/unit/test.h"
#include "vmm/apic_page.h"
#include "vmm/attention.h"
#include "vmm/exit_names.h"
#include "vmm/base/err.h"
#include "vmm/host/page_alloc.h"
#include "vmm/exits.h"
#include "vmm/sched.h"
#include "vmm/sched_slice.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_tsc.h"
#include "vmm/vm.h"
#include "vmm/vmx.h"

static unsigned kicks, added;
static int vcpu_error, gmem_error, page_error;
static uint64_t skipped;

int vcpu_create(struct vm *vm, uint32_t id, struct vcpu **out)
{
	struct vcpu *vcpu;

	if (vcpu_error != 0) {
		return vcpu_error;
	}
	vcpu = page_alloc(4);
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

void sched_kick(struct vcpu *vcpu)
{
	assert_non_null(vcpu);
	kicks++;
}

void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks)
{
	assert_true(vcpu->vm->paused.only); /* no CPU runs it */
	vcpu->priv->tsc_offset -= ticks;
}

void sched_add(struct vcpu *vcpu)
{
	assert_int_equal(vcpu->vm->state.only, VM_RUNNING); /* another CPU may run it at once */
	assert_int_equal(vcpu->vm->running.only, vcpu->vm->vcpu_count);
	added++;
}

static unsigned clock_changes;

void sched_clock_changed(struct vm *vm)
{
	assert_false(vm->paused.only); /* else its CPU would skip the VM again */
	clock_changes++;
}

const char *exit_name(uint32_t reason)
{
	return reason == 10 ? "cpuid" : reason == 12 ? "hlt" : "a-reason-with-a-long-name";
}

int gmem_init(struct gmem *gmem)
{
	assert_non_null(gmem);
	return gmem_error;
}

void gmem_destroy(struct gmem *gmem)
{
	assert_non_null(gmem);
}

int apic_page_alloc(struct vm *vm)
{
	return vm->apic_access_page == NULL ? page_error : ERR_NOMEM;
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
	assert_true(vm->paused.only);
	skipped += ticks;
}

/*
 * Whether other CPUs' work may reach the VM: false from when all its vCPUs are off until they may
 * run again.
 */
static bool reachable = true;
static unsigned reaches;

static void on_pause(struct vm *vm, bool on)
{
	assert_true(vm->paused.only);
	assert_int_equal(reachable, on);
	reachable = !on;
	reaches++;
}

static const struct vm_hooks hooks = { .skip_time = skip_time, .pause = on_pause };

static uint64_t guest_clock(const struct vcpu *vcpu)
{
	return fake_tsc + vcpu->priv->tsc_offset;
}

TEST(a_pause_is_not_seen, fake_setup, fake_teardown)
{
	struct vcpu *vcpu[2];
	struct vm *vm;

	fake_tsc = 5000;
	kicks = 0;
	skipped = 0;
	assert_int_equal(vm_create("clock", &hooks, NULL, &vm), 0);
	assert_int_equal(vm_add_vcpu(vm, &vcpu[0]), 0);
	assert_int_equal(vm_add_vcpu(vm, &vcpu[1]), 0);
	vm_start(vm);
	fake_tsc += 100;
	vm_resume(vm); /* it is not paused: no effect */
	assert_int_equal(clock_changes, 0);
	assert_int_equal(guest_clock(vcpu[0]), 100);
	vm_pause(vm);
	assert_int_equal(kicks, 2);
	assert_false(reachable);
	fake_tsc += 7000;
	vm_pause(vm); /* paused since the first call */
	assert_int_equal(kicks, 2);
	fake_tsc += 3000;
	vm_resume(vm);
	assert_false(vm->paused.only);
	assert_true(reachable);
	assert_int_equal(reaches, 2);
	assert_int_equal(skipped, 10000);
	/* Sleeping vCPUs check their timers, although they have been kicked before. */
	assert_int_equal(kicks, 4);
	assert_int_equal(clock_changes, 1);
	assert_int_equal(guest_clock(vcpu[0]), 100);
	assert_int_equal(guest_clock(vcpu[1]), 100);
	assert_int_equal(fake_tsc + vm->tsc_offset, 100); /* for a vCPU that starts later */
	fake_tsc += 50;
	assert_int_equal(guest_clock(vcpu[1]), 150);
	vm_end(vm, VM_END_DESTROYED, NULL);
	vm->running.only = 0;
	assert_true(vm_ended(vm));
	vm_destroy(vm);
}

/* The earliest deadline counts, and the VM's CPU is only notified of an earlier one. */
TEST(an_earlier_deadline_is_passed_on, fake_setup, fake_teardown)
{
	static const uint64_t deadlines[] = { 5000, 6000, 4000, 4000, UINT64_MAX, 3999 };
	static const uint64_t earliest[] = { 5000, 5000, 4000, 4000, 4000, 3999 };
	static const bool earlier[] = { true, false, true, false, false, true };
	struct vm *vm;

	assert_int_equal(vm_create("clock", &hooks, NULL, &vm), 0);
	for (size_t i = 0; i < ARRAY_COUNT(deadlines); i++) {
		clock_changes = 0;
		vm_set_clock(vm, deadlines[i]);
		assert_int_equal(vm->clock_deadline.only, earliest[i]);
		assert_int_equal(clock_changes, earlier[i] ? 1 : 0);
	}
	clock_changes = 0;
	vm_forget_clock(vm);
	assert_true(vm->clock_deadline.only == UINT64_MAX);
	assert_int_equal(clock_changes, 0); /* the CPU that serves it is the same */
	vm_set_clock(vm, 9000);
	assert_int_equal(vm->clock_deadline.only, 9000);
	assert_int_equal(clock_changes, 1);
	vm_destroy(vm);
}

TEST(ids_come_back, fake_setup, fake_teardown)
{
	struct vm *vms[VM_MAX], *more;

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

static struct vm *make(unsigned vcpus, struct vcpu **out)
{
	struct vm *vm;

	assert_int_equal(vm_create("a-name-that-is-longer-than-any-configuration-allows-for-a-VM",
				   &hooks, (void *)0x1234, &vm),
			 0);
	for (unsigned i = 0; i < vcpus; i++) {
		assert_int_equal(vm_add_vcpu(vm, &out[i]), 0);
		assert_int_equal(out[i]->id, i);
	}
	return vm;
}

static void finish(struct vm *vm)
{
	vm->running.only = 0;
	assert_true(vm_ended(vm));
	vm_destroy(vm);
}

static volatile sig_atomic_t left_guest;
static struct vcpu *in_guest;

static void leave_guest(int signal)
{
	left_guest = 1;
	atomic_store(&in_guest->priv->sched.on_cpu, 0);
}

/* Until each vCPU has left its guest, however long that takes. */
TEST(a_pause_waits, fake_setup, fake_teardown)
{
	const struct itimerval soon = { .it_value.tv_usec = 20000 };
	struct vcpu *vcpu[2];
	struct vm *vm = make(2, vcpu);

	vm_start(vm);
	in_guest = vcpu[1];
	vcpu[1]->priv->sched.on_cpu.only = 1;
	(void)signal(SIGALRM, leave_guest);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	vm_pause(vm);
	assert_int_equal(left_guest, 1);
	vm_end(vm, VM_END_DESTROYED, NULL);
	finish(vm);
}

/* Whatever allocation fails: nothing is left behind, and the id can be used again. */
TEST(nothing_is_left_of_a_failure, fake_setup, fake_teardown)
{
	struct vm *vm = NULL;
	struct vcpu *vcpu;

	fake_pages_fail_after(0);
	assert_int_equal(vm_create("a", &hooks, NULL, &vm), ERR_NOMEM);
	fake_pages_fail_after(-1);
	gmem_error = ERR_NOMEM;
	assert_int_equal(vm_create("a", &hooks, NULL, &vm), ERR_NOMEM);
	gmem_error = 0;
	page_error = ERR_NOMEM;
	assert_int_equal(vm_create("a", &hooks, NULL, &vm), ERR_NOMEM);
	page_error = 0;
	assert_null(vm);
	assert_int_equal(vm_count(), 0);
	assert_int_equal(fake_pages_live(), 0);
	vm = make(0, NULL);
	assert_int_equal(vm->id, 0);
	assert_int_equal(strlen(vm->name), sizeof(vm->name) - 1);
	assert_ptr_equal(vm->platform, (void *)0x1234);
	vcpu_error = ERR_NOMEM;
	assert_int_equal(vm_add_vcpu(vm, &vcpu), ERR_NOMEM);
	vcpu_error = 0;
	assert_int_equal(vm->vcpu_count, 0);
	vm_destroy(vm);
}

TEST(vcpus_are_added_before_the_start, fake_setup, fake_teardown)
{
	struct vcpu *vcpus[VM_VCPU_MAX], *more;
	struct vm *vm = make(VM_VCPU_MAX, vcpus);

	assert_int_equal(vm_add_vcpu(vm, &more), ERR_NOMEM);
	vm_destroy(vm);
	vm = make(2, vcpus);
	added = 0;
	vm_start(vm);
	assert_int_equal(added, 2);
	assert_int_equal(vm_add_vcpu(vm, &more), ERR_NOMEM);
	assert_int_equal(vm->vcpu_count, 2);
	vm_end(vm, VM_END_DESTROYED, NULL);
	finish(vm);
}

/* The first reason counts, and the VM exists until its last vCPU has left its CPU. */
TEST(the_first_reason_counts, fake_setup, fake_teardown)
{
	struct vcpu *vcpus[2];
	struct vm *vm = make(2, vcpus);

	vm_start(vm);
	vcpu_kick(vcpus[1]);
	kicks = 0;
	vm_end(vm, VM_END_UNHANDLED, "task-switch (reason 9)");
	vm_end(vm, VM_END_RESET, "keyboard controller");
	assert_int_equal(kicks, 2); /* one of which had been kicked while the VM was paused */
	assert_int_equal(vm->end_reason.only, VM_END_UNHANDLED);
	assert_string_equal(vm->end_detail, "task-switch (reason 9)");
	assert_int_equal(vm->state.only, VM_ENDING);
	assert_false(vm_ended(vm));
	vm->running.only = 1;
	assert_false(vm_ended(vm));
	FAKE_EXPECT_PANIC(vm_destroy(vm), "VM_ENDED");
	finish(vm);
}

/* A page that an attacker changed ends the VM, and the log says which page it was. */
TEST(a_page_that_was_changed_ends_it, fake_setup, fake_teardown)
{
	const struct gmem_tampered what = { .region = 1, .page = 900, .version = 17 };
	struct vcpu *vcpus[1];
	struct vm *vm = make(1, vcpus);

	vm_start(vm);
	assert_non_null(vm->gmem.on_tampered);
	vm->gmem.on_tampered(&vm->gmem, &what);
	assert_int_equal(vm->end_reason.only, VM_END_TAMPERED);
	assert_string_equal(vm_end_reason_name(VM_END_TAMPERED), "tampered");
	assert_string_equal(vm->end_detail, "region 1, page 900, version 17: its ciphertext is not "
					    "what Umbra stored");
	finish(vm);
}

/* Each reason has a text; an unknown number has one, too. */
TEST(reasons_have_names, fake_setup, fake_teardown)
{
	for (unsigned i = 0; i <= VM_END_DESTROYED; i++) {
		assert_non_null(vm_end_reason_name(i));
		for (unsigned j = 0; j < i; j++) {
			assert_string_not_equal(vm_end_reason_name(i), vm_end_reason_name(j));
		}
	}
	assert_string_equal(vm_end_reason_name(VM_END_DESTROYED + 1), "unknown");
	assert_string_equal(vm_end_reason_name(VM_END_NO_MEMORY),
			    "the machine has no memory left for it");
	assert_string_equal(vm_end_reason_name(VM_END_ENTRY_FAILED), "VM entry failed");
}

/* SDM vol. 2, "HLT": an interrupt needs IF; NMI, INIT and SIPI do not. */
TEST(a_vm_that_nothing_can_wake_ends, fake_setup, fake_teardown)
{
	static const struct {
		enum vcpu_run_state first, second;
		bool first_if;
		uint32_t comes;
		bool ends;
	} rows[] = {
		{ VCPU_HALTED, VCPU_HALTED, false, 0, true },
		{ VCPU_HALTED, VCPU_WAIT_SIPI, false, 0, true },
		{ VCPU_HALTED, VCPU_RUNNABLE, false, 0, false },
		{ VCPU_HALTED, VCPU_HALTED, true, 0, false },
		{ VCPU_WAIT_SIPI, VCPU_HALTED, true, 0, true }, /* its HLT is over */
		{ VCPU_HALTED, VCPU_HALTED, false, ATTENTION_NMI, false },
		{ VCPU_HALTED, VCPU_HALTED, false, ATTENTION_SECOND_NMI, false },
		{ VCPU_HALTED, VCPU_WAIT_SIPI, false, ATTENTION_SIPI, false },
		{ VCPU_HALTED, VCPU_WAIT_SIPI, false, ATTENTION_INIT, false },
		{ VCPU_HALTED, VCPU_WAIT_SIPI, false, ATTENTION_DUMP, true }, /* wakes no vCPU */
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct vcpu *vcpus[2];
		struct vm *vm = make(2, vcpus);

		vm_start(vm);
		vcpus[0]->state.only = rows[i].first;
		vcpus[0]->priv->halted_if.only = rows[i].first_if;
		vcpus[1]->state.only = rows[i].second;
		(void)attention_set(vcpus[1], rows[i].comes);
		vm_check_halted(vm);
		assert_int_equal(vm->end_reason.only, rows[i].ends ? VM_END_HALTED : VM_END_NONE);
		vm_end(vm, VM_END_DESTROYED, NULL);
		finish(vm);
	}
}

/* Counts of all vCPUs together, in as many lines as needed. */
TEST(exits_are_counted, fake_setup, fake_teardown)
{
	struct vcpu *vcpus[2];
	struct vm *vm = make(2, vcpus);

	strcpy(vm->name, "a");
	vm_log_exits(vm);
	assert_non_null(strstr(fake_log_text(), "vm a: exits:; total 0"));
	vcpus[0]->exit_count[10] = 7;
	vcpus[1]->exit_count[10] = 5;
	vcpus[1]->exit_count[12] = 1;
	fake_log_reset();
	vm_log_exits(vm);
	assert_non_null(strstr(fake_log_text(), "vm a: exits: cpuid 12 hlt 1; total 13"));
	for (unsigned i = 20; i < 40; i++) {
		vcpus[0]->exit_count[i] = UINT64_MAX / 64;
	}
	fake_log_reset();
	vm_log_exits(vm);
	assert_non_null(strstr(fake_log_text(), "vm a: exits: cpuid 12 hlt 1 a-reason"));
	assert_non_null(strstr(fake_log_text(), "total 5764607523034234873"));
	vm_destroy(vm);
}
