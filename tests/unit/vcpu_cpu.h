/* SPDX-License-Identifier: Apache-2.0 */
/* What stands around vcpu.c and vcpu_run.c in tests: a CPU, its scheduler, exits and the VMCS. */
#ifndef UMBRA_TESTS_VCPU_CPU_H
#define UMBRA_TESTS_VCPU_CPU_H

#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/apic_page.h"
#include "vmm/attention.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"
#include "vmm/msr.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/sched_slice.h"
#include "vmm/vcpu_dump.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_run.h"
#include "vmm/vcpu_state.h"
#include "vmm/vcpu_tsc.h"
#include "vmm/vmcs.h"
#include "vmm/vmx.h"
#include "vmm/vmx_entry.h"
#include "vmm/vmx_insn.h"

#define XCR0_ALL 0xe7ul
#define FPU_AT	 (512 + 64) /* where the fake stores XSAVE's data */

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

/* --- The CPU --- */

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
	(void)fake_msr_get(msr); /* fails if the CPU does not have it */
	fake_msr_set(msr, value);
}

void fake_xsave(void *area, uint64_t mask)
{
	assert_int_equal(mask, fake_caps.guest_xcr0);
	assert_int_equal(fake_xcr0, mask); /* else disabled components would not be saved */
	memcpy((char *)area + FPU_AT, &fake_fpu, sizeof(fake_fpu));
}

void fake_xrstor(const void *area, uint64_t mask)
{
	assert_int_equal(mask, fake_caps.guest_xcr0);
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

static uint32_t enter_result = VMX_ENTER_EXITED;

uint32_t vmx_enter(struct vcpu *vcpu, struct vcpu_private *priv, bool launched)
{
	assert_int_equal(launched, vcpu->launched);
	step(launched ? "enter" : "launch");
	return enter_result;
}

void vmx_fill_rsb(void)
{
	step("RSB");
}

/* --- What stands around --- */

bool vmx_has_rdtscp(void)
{
	return rdtscp;
}

bool vmx_keeps_spec_ctrl(void)
{
	return fake_caps.spec_ctrl;
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

static unsigned kicks;

void sched_kick(struct vcpu *vcpu)
{
	kicks++;
}

static uint64_t armed;

void sched_arm_timer(uint64_t deadline)
{
	armed = deadline;
}

void inject_before_entry(struct vcpu *vcpu)
{
	(void)attention_clear(vcpu, ATTENTION_EVENTS);
}

void msr_reset(struct vcpu *vcpu)
{
}

void vmcs_setup(struct vcpu *vcpu)
{
}

void vmcs_set_long_mode(const struct vcpu_long_mode *state)
{
	step("long-mode");
}

static unsigned hosts_written;

void vmcs_write_host(void)
{
	hosts_written++;
}

static uint8_t sipi;

void vmcs_reset_guest(struct vcpu *vcpu, uint8_t sipi_vector)
{
	sipi = sipi_vector;
	/* Otherwise no CPU could wake a sibling that halts now. */
	assert_true(vcpu->state.only == VCPU_RUNNABLE || attention_has(vcpu, ATTENTION_SIPI));
}

static unsigned apic_controls_written;

void vmcs_write_apic_controls(struct vcpu *vcpu)
{
	apic_controls_written++;
}

void apic_page_mode_changed(struct vm *vm, enum vcpu_apic_mode from, enum vcpu_apic_mode to)
{
	assert_int_equal(from, VCPU_APIC_X); /* power-up state: nothing has set it before */
	assert_int_equal(to, VCPU_APIC_X2);
	step("mode");
}

static const struct vcpu *dumped;

void vcpu_dump(const struct vcpu *vcpu)
{
	assert_ptr_equal(percpu_self()->vcpu, vcpu); /* its VMCS is current */
	dumped = vcpu;
}

void ept_tlb_catch_up(struct ept_root *root, uint64_t generation)
{
}

void ept_tlb_join(struct ept_root *root)
{
	percpu_self()->joined_root = root;
}

static const struct ept_root *parted_from;

void ept_tlb_part(struct ept_root *root)
{
	parted_from = root;
}

/* --- Registers --- */

static const uint32_t msrs[] = { MSR_IA32_STAR,		 MSR_IA32_LSTAR,   MSR_IA32_CSTAR,
				 MSR_IA32_FMASK,	 MSR_IA32_TSC_AUX, MSR_IA32_SPEC_CTRL,
				 MSR_IA32_KERNEL_GS_BASE };

static bool offered(uint32_t msr)
{
	return msr == MSR_IA32_TSC_AUX	   ? rdtscp
	       : msr == MSR_IA32_SPEC_CTRL ? fake_caps.spec_ctrl
					   : true;
}

static inline struct vcpu *create(struct vm *vm, uint32_t id)
{
	struct vcpu *vcpu;

	assert_int_equal(vcpu_create(vm, id, &vcpu), 0);
	vcpu->state.only = VCPU_RUNNABLE;
	return vcpu;
}

/* A CPU with all features that have state to switch, or with as few as possible. */
static inline void use_cpu(bool all)
{
	fake_x86_reset();
	fake_caps = (struct vmx_caps){ .xsave_bytes = all ? 2696 : 512,
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
	vms[0].state.only = vms[1].state.only = VM_RUNNING;
	steps[0] = '\0';
	exits_left = 0;
}

static int pending;

static inline int irq_pending(struct vcpu *vcpu)
{
	return pending;
}

#endif
