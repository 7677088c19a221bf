/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/vcpu.c, vcpu_run.c, attention.c and vcpu_state.c. Each vCPU finds its own registers in the
 * CPU, whatever ran there in between. Before another VM's first entry there is a barrier for branch
 * prediction. The mitigations for this CPU's flaws run before each entry, VERW last. Also requests
 * of other CPUs, timers, and entries that the CPU refuses.
 */
#include "tests/unit/vcpu_cpu.h"

/* What a running guest does to its registers. */
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
	if (fake_caps.guest_xcr0 != 0) {
		vcpu_state_set_xcr0(vcpu, value % 2 != 0 ? 3 : 7);
	}
}

static void guest_finds(uint64_t value)
{
	assert_int_equal(fake_fpu, value);
	assert_int_equal(fake_cr2, value + 1);
	for (size_t i = 0; i < ARRAY_COUNT(fake_dr); i++) {
		if (i != 4 && i != 5) { /* aliases of DR6 and DR7 */
			assert_int_equal(fake_dr[i], value + 2 + i);
		}
	}
	for (size_t i = 0; i < ARRAY_COUNT(msrs); i++) {
		if (offered(msrs[i])) {
			assert_int_equal(fake_msr_get(msrs[i]), value + 10 + i);
		}
	}
	if (fake_caps.guest_xcr0 != 0) {
		assert_int_equal(fake_xcr0, value % 2 != 0 ? 3 : 7);
	}
}

/* With a key in DR0 to DR3 no guest's value gets there, and INIT does not clear it. */
TEST(kept_debug_registers, fake_setup, fake_teardown)
{
	struct vcpu *vcpus[2];

	use_cpu(true);
	fake_caps.keeps_debug_registers = true;
	for (unsigned i = 0; i < ARRAY_COUNT(fake_dr); i++) {
		fake_dr[i] = 0x5ec4e7 + i;
	}
	for (unsigned i = 0; i < 2; i++) {
		vcpus[i] = create(&vms[i], 0);
		vcpus[i]->priv->dr[0] = 1;
		vcpu_load(vcpus[i]);
	}
	vcpu_load(vcpus[0]);
	vcpu_state_change_dr6(vcpus[0], 0xf, BIT(14));
	assert_int_equal(vcpus[0]->priv->dr6, 0xffff4ff0);
	assert_int_equal(vcpus[0]->priv->dr[0], 1);
	vcpu_state_reset(vcpus[0]);
	assert_int_equal(vcpus[0]->priv->dr[0], 0);
	assert_int_equal(vcpus[0]->priv->dr6, 0xffff0ff0);
	assert_int_equal(vcpus[0]->priv->dr7, 0x400);
	for (unsigned i = 0; i < ARRAY_COUNT(fake_dr); i++) {
		assert_int_equal(fake_dr[i], 0x5ec4e7 + i);
	}
	for (unsigned i = 0; i < 2; i++) {
		vcpu_unload(vcpus[i]);
		vcpu_destroy(vcpus[i]);
	}
	fake_caps.keeps_debug_registers = false;
}

TEST(each_finds_its_own, fake_setup, fake_teardown)
{
	for (unsigned all = 0; all < 2; all++) {
		struct vcpu *vcpus[3];

		use_cpu(all != 0);
		vcpus[0] = create(&vms[0], 0);
		vcpus[1] = create(&vms[0], 1);
		vcpus[2] = create(&vms[1], 0);
		for (unsigned i = 0; i < 3; i++) {
			vcpu_load(vcpus[i]);
			assert_int_equal(fake_cr2, 0); /* nothing of the vCPU before */
			assert_int_equal(fake_dr[0] | fake_dr[3], 0);
			assert_int_equal(fake_msr_get(MSR_IA32_LSTAR), 0);
			guest_sets(vcpus[i], 1001 * (i + 1));
		}
		for (unsigned i = 0; i < 9; i++) {
			vcpu_load(vcpus[i * i % 3]);
			guest_finds(1001 * (i * i % 3 + 1));
		}
		/* Nothing is lost when a vCPU leaves this CPU. */
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

/* A vCPU with paging on gets INIT and SIPI: no earlier translation may be used any more. */
TEST(init_flushes_translations, fake_setup, fake_teardown)
{
	struct vcpu *vcpu;

	use_cpu(false);
	fake_caps.vpid = true;
	vcpu = create(&vms[0], 1);
	vcpu_load(vcpu);
	vcpu_init_signal(vcpu);
	vcpu_sipi(vcpu, 5);
	fake_invvpids = 0;
	fake_dr[0] = fake_dr[3] = fake_dr[6] = 0xdeb6;
	assert_true(vcpu_wake(vcpu));
	assert_int_equal(fake_invvpids, 1);
	assert_int_equal(fake_dr[0] | fake_dr[3], 0);
	assert_int_equal(fake_dr[6], 0xffff0ff0);
	steps[0] = '\0';
	vcpu_set_apic_mode(vcpu, VCPU_APIC_X2);
	assert_string_equal(steps, "mode ");
	vcpu_unload(vcpu);
	vcpu_destroy(vcpu);
}

/*
 * The CPU on which the vCPU runs logs them at its next check; registers that do not exist yet are
 * not shown.
 */
TEST(registers_are_asked_for, fake_setup, fake_teardown)
{
	struct vcpu *vcpu;

	use_cpu(false);
	vcpu = create(&vms[0], 1);
	vcpu->state.only = VCPU_WAIT_SIPI;
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

TEST(another_vm_enters_after_a_barrier, fake_setup, fake_teardown)
{
	struct vcpu *a, *sibling, *b;

	use_cpu(true);
	a = create(&vms[0], 0);
	sibling = create(&vms[0], 1);
	b = create(&vms[1], 0);
	loads(a, "IBPB load ");
	loads(a, "");
	loads(sibling, "load ");
	loads(b, "IBPB load ");
	loads(a, "IBPB load ");
	parted_from = NULL;
	/* The CPU has no previous vCPU any more. */
	vcpu_park(a);
	/* Which may end before the vCPU is back. */
	assert_ptr_equal(parted_from, &vms[0].gmem.root);
	loads(sibling, "IBPB load ");
	parted_from = NULL;
	vcpu_unload(sibling);
	assert_ptr_equal(parted_from, &vms[0].gmem.root);
	loads(b, "IBPB load ");
	fake_caps.ibpb = false;
	loads(a, "load ");
	vcpu_unload(a);
	vcpu_unload(b);
	vcpu_destroy(a);
	vcpu_destroy(sibling);
	vcpu_destroy(b);
}

TEST(flaws_are_mitigated_before_each_entry, fake_setup, fake_teardown)
{
	static const struct {
		uint8_t flush;
		const char *wanted;
	} rows[] = {
		{ 0, "IBPB load launch enter " },
		{ VMX_FLUSH_L1D, "IBPB load L1D launch L1D enter " },
		{ VMX_FLUSH_MDS, "IBPB load VERW launch VERW enter " },
		{ VMX_FLUSH_L1D | VMX_FLUSH_MDS, "IBPB load L1D VERW launch L1D VERW enter " },
	};
	char wanted[sizeof(steps)];

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct vcpu *vcpu;

		use_cpu(true);
		fake_caps.entry_flush = rows[i].flush;
		fake_caps.preemption_timer = true;
		vcpu = create(&vms[0], 0);
		exits_left = 2;			 /* settle asks too */
		fake_caps.fill_rsb = i % 2 != 0; /* once, after the last exit */
		vcpu_run(vcpu, UINT64_MAX);
		assert_int_equal(vms[0].end_reason.only, VM_END_NONE);
		strcpy(wanted, rows[i].wanted);
		assert_string_equal(steps, strcat(wanted, fake_caps.fill_rsb ? "RSB " : ""));
		vcpu_unload(vcpu);
		vcpu_destroy(vcpu);
	}
}

/*
 * If the CPU refuses an entry, this VM ends with a message; registers are logged if there are any.
 */
TEST(a_refused_entry_ends_the_vm, fake_setup, fake_teardown)
{
	struct vcpu *vcpu;

	for (unsigned i = VMX_ENTER_FAIL_VALID; i <= VMX_ENTER_FAIL_INVALID; i++) {
		use_cpu(false);
		vcpu = create(&vms[0], 0);
		vmwrite(VMCS_INSTRUCTION_ERROR, 7);
		enter_result = i;
		exits_left = 5;
		dumped = NULL;
		vcpu_run(vcpu, UINT64_MAX);
		assert_string_equal(steps, "load launch ");
		assert_int_equal(vms[0].end_reason.only, VM_END_ENTRY_FAILED);
		assert_string_equal(vms[0].end_detail, i == VMX_ENTER_FAIL_VALID
							       ? "VM-instruction error 7"
							       : "VM-instruction error 0");
		assert_ptr_equal(dumped, i == VMX_ENTER_FAIL_VALID ? vcpu : NULL);
		assert_false(vcpu->launched);
		enter_result = VMX_ENTER_EXITED;
		vcpu_unload(vcpu);
		vcpu_destroy(vcpu);
	}
}

/* One interrupt to the vCPU's CPU is enough until that CPU has checked for requests. */
TEST(kicks_are_sent_once, fake_setup, fake_teardown)
{
	struct vcpu *vcpu;

	use_cpu(false);
	vcpu = create(&vms[0], 0);
	kicks = 0;
	vcpu_kick(vcpu);
	vcpu_nmi(vcpu);
	assert_int_equal(kicks, 1);
	assert_true(vcpu_wake(vcpu));
	assert_false(attention_has(vcpu, ATTENTION_KICKED));
	vcpu_kick(vcpu);
	assert_int_equal(kicks, 2);
	vcpu_destroy(vcpu);
}

/* SDM vol. 2, "HLT": an NMI always ends it, an interrupt only with IF. */
TEST(what_ends_a_halt, fake_setup, fake_teardown)
{
	static const struct vm_hooks hooks = { .irq_pending = irq_pending };
	static const struct {
		bool with_if, nmi;
		int irq;
		bool wakes;
	} rows[] = {
		{ true, false, -1, false },
		{ true, false, 0x30, true },
		{ false, false, 0x30, false },
		{ false, true, -1, true },
	};
	struct vcpu *vcpu;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		use_cpu(false);
		vms[0].hooks = &hooks;
		vcpu = create(&vms[0], 0);
		vcpu->state.only = VCPU_HALTED;
		vcpu->priv->halted_if.only = rows[i].with_if;
		pending = rows[i].irq;
		if (rows[i].nmi) {
			vcpu_nmi(vcpu);
		}
		assert_int_equal(vcpu_wake(vcpu), rows[i].wakes);
		assert_int_equal(vcpu->state.only, rows[i].wakes ? VCPU_RUNNABLE : VCPU_HALTED);
		vcpu_destroy(vcpu);
	}
}

/*
 * SDM vol. 3, "MP Initialization Protocol": INIT cancels pending events. The first SIPI counts, and
 * none counts for a vCPU that runs.
 */
TEST(init_and_sipi, fake_setup, fake_teardown)
{
	struct vcpu *vcpu;

	use_cpu(false);
	vcpu = create(&vms[0], 1);
	vcpu_sipi(vcpu, 3);
	sipi = 0;
	assert_true(vcpu_wake(vcpu));
	assert_int_equal(sipi, 0);
	vcpu->event.info = 0x80000030;
	vcpu->priv->deferred_interrupt = 0x80000031;
	vcpu_nmi(vcpu);
	vcpu_sipi(vcpu, 4); /* sent before the INIT */
	vcpu_init_signal(vcpu);
	assert_false(vcpu_wake(vcpu));
	assert_int_equal(vcpu->state.only, VCPU_WAIT_SIPI);
	assert_int_equal(vcpu->event.info | vcpu->priv->deferred_interrupt, 0);
	assert_false(attention_has(vcpu, ATTENTION_NMIS));
	vcpu_sipi(vcpu, 5);
	vcpu_sipi(vcpu, 6);
	assert_true(vcpu_wake(vcpu));
	assert_int_equal(sipi, 5);
	assert_int_equal(vcpu->state.only, VCPU_RUNNABLE);
	vcpu_unload(vcpu);
	assert_int_equal(vcpu->state.only, VCPU_OFF);
	vcpu_destroy(vcpu);
}

/*
 * The host state belongs to the CPU: it is written when the vCPU changes its CPU, and the VMCS is
 * launched again.
 */
TEST(a_cpu_writes_its_own_host_state, fake_setup, fake_teardown)
{
	struct vcpu *vcpu;

	use_cpu(false);
	fake_caps.vpid = true;
	fake_set_cpu_count(2);
	vcpu = create(&vms[0], 0);
	hosts_written = fake_invvpids = 0;
	vcpu_load(vcpu);
	vcpu->launched = true;
	vcpu_park(vcpu);
	assert_null(percpu_self()->vcpu);
	assert_false(vcpu->launched);
	vcpu_load(vcpu);
	assert_int_equal(hosts_written, 1);
	vcpu_park(vcpu);
	fake_set_cpu(1);
	vcpu_load(vcpu);
	assert_int_equal(hosts_written, 2);
	assert_int_equal(fake_invvpids, 2);
	vcpu_unload(vcpu);
	vcpu_destroy(vcpu);
	fake_set_cpu(0);
}

/* In ticks of the timer, rounded up: a guest's own timer must not come early. */
TEST(slices_end_by_a_timer, fake_setup, fake_teardown)
{
	struct vcpu *vcpu;

	use_cpu(false);
	fake_caps.preemption_timer = true;
	fake_caps.timer_shift = 5;
	fake_caps.timer_round = 31;
	fake_tsc = 1000;
	vcpu = create(&vms[0], 0);
	exits_left = 1;
	vcpu_run(vcpu, 1000 + 33);
	assert_int_equal(vmread(VMCS_PREEMPTION_TIMER_VALUE), 2);
	exits_left = 1;
	vcpu->priv->timer_deadline = 1000 + 32;
	vcpu_run(vcpu, UINT64_MAX);
	assert_int_equal(vmread(VMCS_PREEMPTION_TIMER_VALUE), 1);
	exits_left = 1;
	vcpu->priv->timer_deadline = 900;
	vcpu_run(vcpu, UINT64_MAX);
	assert_int_equal(vmread(VMCS_PREEMPTION_TIMER_VALUE), 0);
	/* A slice that is too long for the timer: the timer is not used. */
	exits_left = 1;
	vcpu->priv->timer_deadline = UINT64_MAX;
	vcpu_run(vcpu, UINT64_MAX);
	assert_int_equal(vmread(VMCS_PREEMPTION_TIMER_VALUE), (UINT32_MAX + 31ul) >> 5);
	fake_caps.preemption_timer = false;
	exits_left = 1;
	vcpu_run(vcpu, 4321);
	assert_int_equal(armed, 4321);
	vcpu_unload(vcpu);
	vcpu_destroy(vcpu);
}

/* Changes of controls are in the VMCS before the next entry. */
TEST(controls_follow, fake_setup, fake_teardown)
{
	static const uint64_t bitmap[4] = { 1, 2, 3, 4 };
	struct vcpu *vcpu;

	use_cpu(false);
	vms[0].tsc_offset = 5000;
	vcpu = create(&vms[0], 0);
	assert_int_equal(vcpu_guest_tsc(vcpu, 100), 5100);
	vcpu_skip_time(vcpu, 300);
	assert_int_equal(vcpu_guest_tsc(vcpu, 100), 4800);
	vcpu_set_eoi_exit_bitmap(vcpu, bitmap);
	assert_memory_equal(vcpu->priv->eoi_exit_bitmap, bitmap, sizeof(bitmap));
	apic_controls_written = 0;
	vmwrite(VMCS_TSC_OFFSET, 0);
	exits_left = 2;
	vcpu_run(vcpu, UINT64_MAX);
	assert_int_equal(apic_controls_written, 1);
	assert_int_equal(vmread(VMCS_TSC_OFFSET), 4700);
	/* With virtual delivery the CPU has SVI; without it nothing is written. */
	vmwrite(VMCS_GUEST_INTERRUPT_STATUS, 0x2233);
	vcpu_set_svi(vcpu, 0x55);
	assert_int_equal(vmread(VMCS_GUEST_INTERRUPT_STATUS), 0x2233);
	assert_false(vcpu_has_virtual_delivery(vcpu));
	fake_caps.virtual_delivery = true;
	assert_true(vcpu_has_virtual_delivery(vcpu));
	vcpu_set_svi(vcpu, 0x55);
	assert_int_equal(vmread(VMCS_GUEST_INTERRUPT_STATUS), 0x5533);
	vcpu->priv->apic_mode = VCPU_APIC_OFF;
	assert_false(vcpu_has_virtual_delivery(vcpu));
	vcpu_unload(vcpu);
	vcpu_destroy(vcpu);
}

/* A vCPU is not entered if its VM ends or is paused, or while it sleeps. */
TEST(vcpus_that_are_not_entered, fake_setup, fake_teardown)
{
	struct vcpu *vcpu;

	for (unsigned i = 0; i < 3; i++) {
		use_cpu(false);
		vcpu = create(&vms[0], 0);
		vms[0].state.only = i == 0 ? VM_ENDING : VM_RUNNING;
		vms[0].paused.only = i == 1;
		vcpu->state.only = i == 2 ? VCPU_WAIT_SIPI : VCPU_RUNNABLE;
		exits_left = 9;
		vcpu_run(vcpu, UINT64_MAX);
		assert_string_equal(steps, "load ");
		vcpu_unload(vcpu);
		vcpu_destroy(vcpu);
	}
}

/*
 * The first vCPU starts in 64-bit mode, once. A failure for lack of memory leaves nothing behind.
 */
TEST(creation, fake_setup, fake_teardown)
{
	static const struct vcpu_long_mode code = { .rsi = 0x1234 };
	struct vcpu *vcpu;

	use_cpu(false);
	for (int pages = 0; pages < 5; pages++) {
		fake_pages_fail_after(pages);
		assert_int_equal(vcpu_create(&vms[0], 0, &vcpu), ERR_NOMEM);
	}
	fake_pages_fail_after(-1);
	vms[0].id = 3;
	assert_int_equal(vcpu_create(&vms[0], 5, &vcpu), 0);
	assert_int_equal(vcpu->vpid, 3 * VM_VCPU_MAX + 6); /* 0 is the host's */
	assert_int_equal(vcpu->state.only, VCPU_WAIT_SIPI);
	vcpu_set_long_mode(vcpu, &code);
	assert_int_equal(vcpu->state.only, VCPU_RUNNABLE);
	vcpu_load(vcpu);
	assert_string_equal(steps, "load long-mode ");
	assert_int_equal(vcpu->regs.gpr[GPR_RSI], 0x1234);
	vcpu_unload(vcpu);
	vcpu_destroy(vcpu);
}
