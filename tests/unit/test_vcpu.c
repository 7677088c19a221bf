/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/vcpu.c and vcpu_state.c: each vCPU finds the registers that it left in the CPU, whoever was
 * there meanwhile; another VM's first entry comes behind a barrier for predicted branches; and what
 * this CPU's flaws ask for is done before each entry, VERW last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_base.h"
#include "vmm/apic_page.h"
#include "vmm/base/percpu.h"
#include "vmm/base/x86.h"
#include "vmm/exit_msr.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/sched.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmcs.h"
#include "vmm/vmx.h"

#define XCR0_ALL 0xe7ull
#define FPU_AT	 (512 + 64) /* where the fake keeps what XSAVE saves */

static struct vmx_caps caps;
static bool rdtscp;
static struct vm vms[2];
static char steps[256];

uint64_t fake_dr[7];
static uint64_t fake_fpu;

static void step(const char *name)
{
	assert_true(strlen(steps) + strlen(name) + 2 < sizeof(steps));
	strcat(steps, name);
	strcat(steps, " ");
}

/* --- The CPU -------------------------------------------------------------------------------- */

void fake_wrmsr(uint32_t msr, uint64_t value)
{
	if (msr == MSR_IA32_PRED_CMD) {
		assert_int_equal(value, 1);
		step("IBPB");
		return;
	}
	if (msr == MSR_IA32_FLUSH_CMD) {
		assert_int_equal(value, 1);
		step("L1D");
		return;
	}
	(void)fake_msr_get(msr); /* fails where the CPU has none */
	fake_msr_set(msr, value);
}

void fake_xsave(void *area, uint64_t mask)
{
	assert_int_equal(mask, caps.guest_xcr0);
	assert_int_equal(fake_xcr0, mask); /* else parts that are off would not move */
	memcpy((char *)area + FPU_AT, &fake_fpu, sizeof(fake_fpu));
}

void fake_xrstor(const void *area, uint64_t mask)
{
	assert_int_equal(mask, caps.guest_xcr0);
	assert_int_equal(fake_xcr0, mask);
	memcpy(&fake_fpu, (const char *)area + FPU_AT, sizeof(fake_fpu));
	step("load");
}

void fake_fxsave(void *area)
{
	memcpy(area, &fake_fpu, sizeof(fake_fpu));
}

void fake_fxrstor(const void *area)
{
	memcpy(&fake_fpu, area, sizeof(fake_fpu));
	step("load");
}

void fake_verw(void)
{
	step("VERW");
}

uint32_t vmx_enter(struct vcpu *vcpu, struct vcpu_private *priv, bool launched)
{
	step("enter");
	return VMX_ENTER_EXITED;
}

void vmx_fill_rsb(void)
{
	step("RSB");
}

/* --- What stands around --------------------------------------------------------------------- */

const struct vmx_caps *vmx_caps(void)
{
	return &caps;
}

bool vmx_has_rdtscp(void)
{
	return rdtscp;
}

bool vmx_keeps_spec_ctrl(void)
{
	return caps.spec_ctrl;
}

enum exit_result exit_dispatch(struct vcpu *vcpu)
{
	return EXIT_YIELD;
}

static unsigned exits_left;

bool sched_slice_over(uint64_t *slice_end)
{
	if (exits_left == 0) {
		return true;
	}
	exits_left--;
	return false;
}

void sched_kick(struct vcpu *vcpu)
{
}

void sched_arm_timer(uint64_t deadline)
{
}

void inject_before_entry(struct vcpu *vcpu)
{
	vcpu->priv->recheck = false;
}

void msr_reset(struct vcpu *vcpu)
{
}

void vmcs_setup(struct vcpu *vcpu)
{
}

void vmcs_set_long_mode(const struct vcpu_long_mode *state)
{
}

void vmcs_write_host(void)
{
}

void vmcs_reset_guest(struct vcpu *vcpu, uint8_t sipi_vector)
{
}

void vmcs_write_apic_controls(struct vcpu *vcpu)
{
}

static const struct vcpu *dumped;

void vcpu_dump(const struct vcpu *vcpu)
{
	assert_ptr_equal(percpu_self()->vcpu, vcpu); /* its VMCS is current */
	dumped = vcpu;
}

void vm_end(struct vm *vm, enum vm_end_reason reason, const char *detail)
{
	fail_msg("the VM ends: %s", detail);
}

void ept_tlb_catch_up(struct ept_root *root, uint64_t generation)
{
}

/* --- Registers ------------------------------------------------------------------------------ */

static const uint32_t msrs[] = { MSR_IA32_STAR,		 MSR_IA32_LSTAR,   MSR_IA32_CSTAR,
				 MSR_IA32_FMASK,	 MSR_IA32_TSC_AUX, MSR_IA32_SPEC_CTRL,
				 MSR_IA32_KERNEL_GS_BASE };

static bool offered(uint32_t msr)
{
	return msr == MSR_IA32_TSC_AUX ? rdtscp : msr == MSR_IA32_SPEC_CTRL ? caps.spec_ctrl : true;
}

/* What a guest that is on the CPU does to its registers. */
static void guest_sets(struct vcpu *vcpu, uint64_t value)
{
	fake_fpu = value;
	fake_cr2 = value + 1;
	for (size_t i = 0; i < ARRAY_COUNT(fake_dr); i++) {
		fake_dr[i] = value + 2 + i;
	}
	for (size_t i = 0; i < ARRAY_COUNT(msrs); i++) {
		if (offered(msrs[i])) {
			fake_msr_set(msrs[i], value + 10 + i);
		}
	}
	if (caps.guest_xcr0 != 0) {
		vcpu_state_set_xcr0(vcpu, value % 2 != 0 ? 3 : 7);
	}
}

static void guest_finds(uint64_t value)
{
	assert_int_equal(fake_fpu, value);
	assert_int_equal(fake_cr2, value + 1);
	for (size_t i = 0; i < ARRAY_COUNT(fake_dr); i++) {
		if (i != 4 && i != 5) { /* names of DR6 and DR7 */
			assert_int_equal(fake_dr[i], value + 2 + i);
		}
	}
	for (size_t i = 0; i < ARRAY_COUNT(msrs); i++) {
		if (offered(msrs[i])) {
			assert_int_equal(fake_msr_get(msrs[i]), value + 10 + i);
		}
	}
	if (caps.guest_xcr0 != 0) {
		assert_int_equal(fake_xcr0, value % 2 != 0 ? 3 : 7);
	}
}

static struct vcpu *create(struct vm *vm, uint32_t id)
{
	struct vcpu *vcpu;

	assert_int_equal(vcpu_create(vm, id, &vcpu), 0);
	vcpu->state = VCPU_RUNNABLE;
	return vcpu;
}

/* A CPU with all that is switched, or with as little as there may be. */
static void use_cpu(bool all)
{
	fake_x86_reset();
	caps = (struct vmx_caps){ .xsave_bytes = all ? 2696 : 512,
				  .guest_xcr0 = all ? XCR0_ALL : 0,
				  .spec_ctrl = all,
				  .ibpb = all };
	rdtscp = all;
	for (size_t i = 0; i < ARRAY_COUNT(msrs); i++) {
		if (offered(msrs[i])) {
			fake_msr_set(msrs[i], 0);
		}
	}
	memset(vms, 0, sizeof(vms));
	vms[0].state = vms[1].state = VM_RUNNING;
	steps[0] = '\0';
	exits_left = 0;
}

static void each_finds_its_own(void **state)
{
	(void)state;
	for (unsigned all = 0; all < 2; all++) {
		struct vcpu *vcpus[3];

		use_cpu(all != 0);
		vcpus[0] = create(&vms[0], 0);
		vcpus[1] = create(&vms[0], 1);
		vcpus[2] = create(&vms[1], 0);
		for (unsigned i = 0; i < 3; i++) {
			vcpu_load(vcpus[i]);
			assert_int_equal(fake_cr2, 0); /* nothing of who was there before */
			assert_int_equal(fake_dr[0] | fake_dr[3], 0);
			assert_int_equal(fake_msr_get(MSR_IA32_LSTAR), 0);
			guest_sets(vcpus[i], 1001 * (i + 1));
		}
		for (unsigned i = 0; i < 9; i++) {
			vcpu_load(vcpus[i * i % 3]);
			guest_finds(1001 * (i * i % 3 + 1));
		}
		/* Nor is anything lost by leaving this CPU. */
		vcpu_load(vcpus[1]);
		guest_sets(vcpus[1], 5004);
		vcpu_park(vcpus[1]);
		vcpu_load(vcpus[0]);
		guest_finds(1001);
		vcpu_load(vcpus[1]);
		guest_finds(5004);
		for (unsigned i = 0; i < 3; i++) {
			vcpu_unload(vcpus[i]);
			vcpu_destroy(vcpus[i]);
		}
	}
}

void apic_page_mode_changed(struct vm *vm, enum vcpu_apic_mode from, enum vcpu_apic_mode to)
{
	assert_int_equal(from, VCPU_APIC_X); /* power-up state: nobody told it so far */
	assert_int_equal(to, VCPU_APIC_X2);
	step("mode");
}

/* INIT and SIPI come to a vCPU with paging on: no translation of before may serve it any more. */
static void init_forgets_translations(void **state)
{
	struct vcpu *vcpu;

	(void)state;
	use_cpu(false);
	caps.vpid = true;
	vcpu = create(&vms[0], 1);
	vcpu_load(vcpu);
	vcpu_init_signal(vcpu);
	vcpu_sipi(vcpu, 5);
	fake_invvpids = 0;
	assert_true(vcpu_wake(vcpu));
	assert_int_equal(fake_invvpids, 1);
	steps[0] = '\0';
	vcpu_set_apic_mode(vcpu, VCPU_APIC_X2);
	assert_string_equal(steps, "mode ");
	vcpu_unload(vcpu);
	vcpu_destroy(vcpu);
}

/* By the CPU that it is on, when that next looks; registers that are not there yet are not told. */
static void registers_are_asked_for(void **state)
{
	struct vcpu *vcpu;

	(void)state;
	use_cpu(false);
	vcpu = create(&vms[0], 1);
	vcpu->state = VCPU_WAIT_SIPI;
	dumped = NULL;
	vcpu_ask_dump(vcpu);
	assert_false(vcpu_wake(vcpu));
	assert_null(dumped);
	assert_non_null(strstr(fake_log_text(), "vCPU 1 waits for SIPI"));
	vcpu_sipi(vcpu, 5);
	vcpu_ask_dump(vcpu);
	assert_null(dumped);
	assert_true(vcpu_wake(vcpu));
	assert_ptr_equal(dumped, vcpu);
	dumped = NULL;
	assert_true(vcpu_wake(vcpu)); /* once */
	assert_null(dumped);
	vcpu_unload(vcpu);
	vcpu_destroy(vcpu);
}

static void loads(struct vcpu *vcpu, const char *wanted)
{
	steps[0] = '\0';
	vcpu_load(vcpu);
	assert_string_equal(steps, wanted);
}

static void another_vm_comes_behind_a_barrier(void **state)
{
	struct vcpu *a, *sibling, *b;

	(void)state;
	use_cpu(true);
	a = create(&vms[0], 0);
	sibling = create(&vms[0], 1);
	b = create(&vms[1], 0);
	loads(a, "IBPB load ");
	loads(a, "");
	loads(sibling, "load ");
	loads(b, "IBPB load ");
	loads(a, "IBPB load ");
	vcpu_park(a); /* who was here is no longer known */
	loads(sibling, "IBPB load ");
	vcpu_unload(sibling);
	loads(b, "IBPB load ");
	caps.ibpb = false;
	loads(a, "load ");
	vcpu_unload(a);
	vcpu_unload(b);
	vcpu_destroy(a);
	vcpu_destroy(sibling);
	vcpu_destroy(b);
}

static void flaws_are_seen_to_before_each_entry(void **state)
{
	static const struct {
		uint8_t flush;
		const char *wanted;
	} rows[] = {
		{ 0, "IBPB load enter enter " },
		{ VMX_FLUSH_L1D, "IBPB load L1D enter L1D enter " },
		{ VMX_FLUSH_MDS, "IBPB load VERW enter VERW enter " },
		{ VMX_FLUSH_L1D | VMX_FLUSH_MDS, "IBPB load L1D VERW enter L1D VERW enter " },
	};
	char wanted[sizeof(steps)];

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct vcpu *vcpu;

		use_cpu(true);
		caps.entry_flush = rows[i].flush;
		caps.preemption_timer = true;
		vcpu = create(&vms[0], 0);
		exits_left = 2;		    /* settle asks as well */
		caps.fill_rsb = i % 2 != 0; /* once, behind the last exit */
		vcpu_run(vcpu, UINT64_MAX);
		strcpy(wanted, rows[i].wanted);
		assert_string_equal(steps, strcat(wanted, caps.fill_rsb ? "RSB " : ""));
		vcpu_unload(vcpu);
		vcpu_destroy(vcpu);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_finds_its_own, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(registers_are_asked_for, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(init_forgets_translations, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(another_vm_comes_behind_a_barrier, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(flaws_are_seen_to_before_each_entry, fake_setup,
						fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
