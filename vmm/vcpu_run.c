/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run loop: takes requests of other CPUs (attention.c), does the devices' work, chooses the
 * event, enters the guest, handles the exit. On the vCPU's own CPU; no lock.
 */
#include "vmm/vcpu_run.h"

#include "ept/ept_tlb.h"
#include "vmm/attention.h"
#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/sched_slice.h"
#include "vmm/vcpu_dump.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmcs.h"
#include "vmm/vmx.h"
#include "vmm/vmx_entry.h"
#include "vmm/vmx_insn.h"

/* A vCPU that leaves its CPU begins turns of device work for so long; then, if its VM ends. */
#define LEAVE_US 100
#define END_US	 1000

static void take_requests(struct vcpu *vcpu)
{
	enum vcpu_run_state state = atomic_load_relaxed(&vcpu->state);
	uint32_t requests;

	/* vm_check_halted must find either the SIPI or a running vCPU. */
	if (attention_has(vcpu, ATTENTION_SIPI) != 0) {
		vcpu_set_state(vcpu, VCPU_RUNNABLE);
	}
	requests = attention_clear(vcpu, ATTENTION_REQUESTS);
	if ((requests & ATTENTION_INIT) != 0) {
		state = VCPU_WAIT_SIPI;
		vcpu->event.info = 0;
		vcpu->priv->deferred_interrupt = 0;
		(void)attention_clear(vcpu, ATTENTION_NMIS);
	}
	if ((requests & ATTENTION_SIPI) != 0 && state == VCPU_WAIT_SIPI) {
		vcpu_load(vcpu);
		vmcs_reset_guest(vcpu, (uint8_t)(requests >> ATTENTION_SIPI_VECTOR_SHIFT));
		vcpu_flush_translations(vcpu); /* as INIT does; paging may have been on */
		vcpu_state_reset(vcpu);
		state = VCPU_RUNNABLE;
	}
	vcpu_set_state(vcpu, state);
	if ((requests & ATTENTION_DUMP) != 0 && state == VCPU_WAIT_SIPI) {
		log_info("vm %s: vCPU %u waits for SIPI", vcpu->vm->name, vcpu->id);
	} else if ((requests & ATTENTION_DUMP) != 0) {
		vcpu_load(vcpu);
		vcpu_dump(vcpu);
	}
}

bool vcpu_wake(struct vcpu *vcpu)
{
	if ((attention_clear(vcpu, ATTENTION_KICKED) & ATTENTION_REQUESTS) != 0) {
		take_requests(vcpu);
	}
	if (atomic_load_relaxed(&vcpu->state) == VCPU_HALTED &&
	    (attention_has(vcpu, ATTENTION_NMIS) != 0 ||
	     (atomic_load_relaxed(&vcpu->priv->halted_if) &&
	      vcpu->vm->hooks->irq_pending(vcpu) >= 0))) {
		vcpu_set_state(vcpu, VCPU_RUNNABLE);
	}
	return atomic_load_relaxed(&vcpu->state) == VCPU_RUNNABLE ||
	       attention_has(vcpu, ATTENTION_WORK) != 0;
}

/*
 * SDM, "VMX-Preemption Timer": loaded from the VMCS at each entry. Rounded up: never early. No
 * slice is longer than the timer can count (vcpu_run).
 */
static inline void arm_timer(const struct vmx_caps *caps, uint64_t deadline)
{
	uint64_t now = cpu_rdtsc();
	uint64_t ticks = 0;

	if (!caps->preemption_timer) {
		sched_arm_timer(deadline);
		return;
	}
	if (deadline > now) {
		ticks = (deadline - now + caps->timer_round) >> caps->timer_shift;
	}
	vmwrite(VMCS_PREEMPTION_TIMER_VALUE, ticks);
}

static void flush_before_entry(const struct vmx_caps *caps)
{
	if ((caps->entry_flush & VMX_FLUSH_L1D) != 0) {
		cpu_wrmsr(MSR_IA32_FLUSH_CMD, 1);
	}
	if ((caps->entry_flush & VMX_FLUSH_MDS) != 0) {
		cpu_verw();
	}
}

/* VMfail: no guest state was loaded, because of a bug or the CPU. Only this VM ends. */
static void entry_refused(struct vcpu *vcpu, uint32_t result)
{
	char text[VM_DETAIL_MAX];
	uint64_t error = result == VMX_ENTER_FAIL_VALID ? vmread(VMCS_INSTRUCTION_ERROR) : 0;

	str_printf(text, sizeof(text), "VM-instruction error %u", (unsigned)error);
	vm_end(vcpu->vm, VM_END_ENTRY_FAILED, text);
	if (result == VMX_ENTER_FAIL_VALID) {
		vcpu_dump(vcpu);
	}
}

/*
 * Does everything that may keep a vCPU from being entered, or change what it sees. Returns false if
 * the vCPU must not be entered. The order matters: a hook that inject_before_entry calls may change
 * the controls.
 *
 * The slice's end is checked here too. A guest may arrange that each delivery of an event ends in
 * an exit (#AC or #DB in the handler's own frame); then neither the timer nor an interrupt of the
 * host comes in between.
 *
 * While device work is left, this does one turn of it before each entry. Between two turns the vCPU
 * runs, but not beyond *work_due, so that it sees the results. If it is halted, the turns follow
 * each other.
 */
static bool settle(struct vcpu *vcpu, uint64_t *slice_end, uint64_t *work_due)
{
	do {
		if (attention_has(vcpu, ATTENTION_KICKED) != 0 ||
		    atomic_load_relaxed(&vcpu->state) != VCPU_RUNNABLE) {
			if (!vcpu_wake(vcpu)) {
				return false;
			}
			vcpu_load(vcpu);
		}
		if (atomic_load_relaxed(&vcpu->vm->state) != VM_RUNNING ||
		    atomic_load_relaxed(&vcpu->vm->paused) || sched_slice_over(slice_end)) {
			return false;
		}
		if (attention_has(vcpu, ATTENTION_WORK) != 0) {
			*work_due = vcpu->vm->hooks->work(vcpu, false);
			if (*work_due == 0) {
				(void)attention_clear(vcpu, ATTENTION_WORK);
			}
		}
	} while (atomic_load_relaxed(&vcpu->state) != VCPU_RUNNABLE);
	inject_before_entry(vcpu);
	if (attention_has(vcpu, ATTENTION_CONTROLS) != 0) {
		(void)attention_clear(vcpu, ATTENTION_CONTROLS);
		vmcs_write_apic_controls(vcpu);
		vmwrite(VMCS_TSC_OFFSET, vcpu->priv->tsc_offset);
	}
	return true;
}

/* The path between two exits that change nothing for the vCPU: as short as possible. */
static inline __attribute__((always_inline)) void run(struct vcpu *vcpu, uint64_t slice_end)
{
	const struct vmx_caps *caps = vmx_caps();
	struct vcpu_private *priv = vcpu->priv;
	struct ept_root *root = &vcpu->vm->gmem.root;
	/* The earlier of slice_end and the deadline that settle found for the guest. */
	uint64_t deadline = 0, work_due = 0;
	uint32_t result;

	vcpu_load(vcpu);
	slice_end = MIN(slice_end, cpu_rdtsc() + UINT32_MAX);
	(void)attention_set(vcpu, ATTENTION_EVENTS);
	for (;;) {
		if (__builtin_expect((attention_has(vcpu, ATTENTION_ENTRY) | vcpu->event.info) != 0,
				     0)) {
			if (!settle(vcpu, &slice_end, &work_due)) {
				return;
			}
			deadline = MIN(slice_end, priv->timer_deadline);
			if (attention_has(vcpu, ATTENTION_WORK) != 0) {
				deadline = MIN(deadline, work_due);
			}
		}
		arm_timer(caps, deadline);
		ept_tlb_enter(root);
		if (__builtin_expect(caps->entry_flush != 0, 0)) {
			flush_before_entry(caps);
		}
		result = vmx_enter(vcpu, priv, vcpu->launched);
		ept_tlb_leave();
		if (__builtin_expect(result != VMX_ENTER_EXITED, 0)) {
			entry_refused(vcpu, result);
			return;
		}
		vcpu->launched = true;
		if (exit_dispatch(vcpu) == EXIT_YIELD) {
			if (sched_slice_over(&slice_end)) {
				return;
			}
			deadline = MIN(slice_end, priv->timer_deadline);
		}
	}
}

/*
 * Returns for how many microseconds turns of device work may begin now that a vCPU leaves its CPU.
 * None may if the VM's memory cannot be trusted, or if the user has paused or destroyed it.
 */
static uint32_t finish_us(const struct vm *vm)
{
	const bool runs = atomic_load_acquire(&vm->state) == VM_RUNNING;
	const enum vm_end_reason why = atomic_load_relaxed(&vm->end_reason);

	if (atomic_load_relaxed(&vm->paused) || why == VM_END_TAMPERED || why == VM_END_DESTROYED) {
		return 0;
	}
	return runs ? LEAVE_US : END_US;
}

/*
 * The vCPU leaves the CPU with device work to do. Work that was put off to gather more is done now,
 * because it must not also wait for others' slices. If the VM has ended, all of it is done now:
 * what a guest sent last may say why the VM ended. The VM may end or be paused between two turns.
 */
static void finish_work(struct vcpu *vcpu)
{
	const struct vm *vm = vcpu->vm;
	const uint64_t begin = cpu_rdtsc();
	uint64_t next;

	while (cpu_rdtsc() < begin + tsc_from_us(finish_us(vm))) {
		next = vm->hooks->work(vcpu, true);
		if (next == 0) {
			(void)attention_clear(vcpu, ATTENTION_WORK);
		}
		if (next == 0 || next > cpu_rdtsc()) {
			return;
		}
	}
}

void vcpu_run(struct vcpu *vcpu, uint64_t slice_end)
{
	run(vcpu, slice_end);
	if (vmx_caps()->fill_rsb) {
		vmx_fill_rsb(); /* the RETs from here on are the first since the guest ran */
	}
	if (attention_has(vcpu, ATTENTION_WORK) != 0) {
		finish_work(vcpu);
	}
}
