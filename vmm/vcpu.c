/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's life and its run loop: requests of others, events, entry, exit. Everything but the
 * requests (kick, NMI, INIT, SIPI: atomic, any CPU) belongs to the CPU that runs the vCPU; no lock.
 */
#include "vmm/vcpu.h"

#include "ept/ept_tlb.h"
#include "vmm/apic_page.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"
#include "vmm/exit_msr.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/sched.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmcs.h"
#include "vmm/vmx.h"

#define VCPU_PAGES  ((sizeof(struct vcpu) + PAGE_SIZE - 1) / PAGE_SIZE)
#define WORK_GAP_US 100 /* what a vCPU has for itself between two turns of its devices' work */
#define PRIV_PAGES  ((sizeof(struct vcpu_private) + PAGE_SIZE - 1) / PAGE_SIZE)

int vcpu_create(struct vm *vm, uint32_t id, struct vcpu **out)
{
	struct vcpu *vcpu = page_alloc(VCPU_PAGES);

	if (vcpu == NULL) {
		return ERR_NOMEM;
	}
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->cpu = VCPU_NO_CPU;
	vcpu->vpid = (uint16_t)(vm->id * VM_VCPU_MAX + id + 1);
	vcpu->state = VCPU_WAIT_SIPI;
	vcpu->priv = page_alloc(PRIV_PAGES);
	vcpu->vmcs = page_alloc(1);
	vcpu->apic_page = page_alloc(1);
	if (vcpu->priv == NULL || vcpu->vmcs == NULL || vcpu->apic_page == NULL ||
	    vcpu_state_alloc(vcpu) != 0) {
		vcpu_destroy(vcpu);
		return ERR_NOMEM;
	}
	vcpu->priv->apic_mode = VCPU_APIC_X;
	vcpu->priv->loaded_cpu = VCPU_NO_CPU;
	vcpu->priv->tsc_offset = vm->tsc_offset;
	vcpu->priv->timer_deadline = UINT64_MAX;
	vcpu->priv->device_page = VCPU_NO_PAGE;
	msr_reset(vcpu);
	*out = vcpu;
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->priv != NULL) {
		vcpu_state_free(vcpu);
	}
	page_free(vcpu->priv, PRIV_PAGES);
	page_free(vcpu->vmcs, 1);
	page_free(vcpu->apic_page, 1);
	page_free(vcpu, VCPU_PAGES);
}

void vcpu_set_long_mode(struct vcpu *vcpu, const struct vcpu_long_mode *state)
{
	vcpu->priv->start = *state;
	vcpu->priv->has_start = true;
	vcpu->state = VCPU_RUNNABLE;
}

/* --- Requests: any CPU --- */

void vcpu_kick(struct vcpu *vcpu)
{
	/* One interrupt is enough until its CPU has looked. */
	if (__atomic_exchange_n(&vcpu->kicked, 1, __ATOMIC_SEQ_CST) == 0) {
		sched_kick(vcpu);
	}
}

void vcpu_nmi(struct vcpu *vcpu)
{
	vcpu_latch_nmi(vcpu);
	vcpu_kick(vcpu);
}

void vcpu_ask_dump(struct vcpu *vcpu)
{
	__atomic_or_fetch(&vcpu->priv->requests, VCPU_REQUEST_DUMP, __ATOMIC_ACQ_REL);
	vcpu_kick(vcpu);
}

void vcpu_forget_code(struct vcpu *vcpu)
{
	memset(&vcpu->priv->emul_cache, 0, sizeof(vcpu->priv->emul_cache));
}

void vcpu_init_signal(struct vcpu *vcpu)
{
	/* A SIPI from before the INIT is lost. */
	__atomic_store_n(&vcpu->priv->requests, VCPU_REQUEST_INIT, __ATOMIC_RELEASE);
	vcpu_kick(vcpu);
}

void vcpu_sipi(struct vcpu *vcpu, uint8_t vector)
{
	uint32_t old = __atomic_load_n(&vcpu->priv->requests, __ATOMIC_RELAXED);
	uint32_t wanted;

	do {
		if ((old & VCPU_REQUEST_SIPI) != 0) {
			return; /* the first one counts */
		}
		wanted = old | VCPU_REQUEST_SIPI | (uint32_t)vector << 8;
	} while (!__atomic_compare_exchange_n(&vcpu->priv->requests, &old, wanted, false,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	vcpu_kick(vcpu);
}

/* --- What the virtual APIC asks --- */

void vcpu_set_eoi_exit_bitmap(struct vcpu *vcpu, const uint64_t bitmap[4])
{
	for (size_t i = 0; i < ARRAY_COUNT(vcpu->priv->eoi_exit_bitmap); i++) {
		vcpu->priv->eoi_exit_bitmap[i] = bitmap[i];
	}
	vcpu->priv->controls_changed = true;
}

void vcpu_set_apic_mode(struct vcpu *vcpu, enum vcpu_apic_mode mode)
{
	apic_page_mode_changed(vcpu->vm, vcpu->priv->apic_mode, mode);
	vcpu->priv->apic_mode = mode;
	vcpu->priv->controls_changed = true;
	vcpu->priv->recheck = true;
}

bool vcpu_has_virtual_delivery(const struct vcpu *vcpu)
{
	return vmx_caps()->virtual_delivery && vcpu->priv->apic_mode != VCPU_APIC_OFF;
}

void vcpu_set_svi(struct vcpu *vcpu, uint8_t vector)
{
	if (vmx_caps()->virtual_delivery) {
		vcpu_load(vcpu);
		vmwrite(VMCS_GUEST_INTERRUPT_STATUS,
			(vmread(VMCS_GUEST_INTERRUPT_STATUS) & 0xff) | (uint64_t)vector << 8);
	}
}

uint64_t vcpu_guest_tsc(const struct vcpu *vcpu, uint64_t host_tsc)
{
	return host_tsc + vcpu->priv->tsc_offset;
}

void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks)
{
	vcpu->priv->tsc_offset -= ticks;
	vcpu->priv->controls_changed = true;
}

/* --- Own CPU --- */

void vcpu_load(struct vcpu *vcpu)
{
	struct percpu *cpu = percpu_self();
	struct vcpu_private *priv = vcpu->priv;

	if (cpu->vcpu == vcpu) {
		return;
	}
	vcpu_state_switch(cpu->vcpu, vcpu);
	cpu->vcpu = vcpu;
	if (priv->vmcs_ready) {
		vmptrld(page_hpa(vcpu->vmcs));
	} else {
		vmcs_setup(vcpu);
		if (priv->has_start) {
			vmcs_set_long_mode(&priv->start);
			vcpu->regs.gpr[GPR_RSI] = priv->start.rsi;
		}
		priv->vmcs_ready = true;
	}
	if (priv->loaded_cpu != cpu->index) {
		priv->loaded_cpu = cpu->index;
		vmcs_write_host();
		vcpu_flush_translations(vcpu);
	}
}

void vcpu_park(struct vcpu *vcpu)
{
	struct percpu *cpu = percpu_self();

	if (cpu->vcpu == vcpu) {
		vcpu_state_switch(vcpu, NULL);
		cpu->vcpu = NULL;
	}
	ept_tlb_part(&vcpu->vm->gmem.root); /* a sibling that stays joins again */
	if (vcpu->priv->vmcs_ready) {
		vmclear(page_hpa(vcpu->vmcs));
		vcpu->launched = false;
	}
}

void vcpu_unload(struct vcpu *vcpu)
{
	struct percpu *cpu = percpu_self();

	if (cpu->vcpu == vcpu) {
		cpu->vcpu = NULL;
	}
	ept_tlb_part(&vcpu->vm->gmem.root); /* which may end with the VM, now */
	if (vcpu->priv->vmcs_ready) {
		vmclear(page_hpa(vcpu->vmcs));
		vcpu->priv->vmcs_ready = false;
	}
	vcpu_set_state(vcpu, VCPU_OFF);
}

static void take_requests(struct vcpu *vcpu)
{
	enum vcpu_run_state state = vcpu->state;
	uint32_t requests;

	/* vm_check_halted has to find the SIPI, or a vCPU that runs: never neither. */
	if ((__atomic_load_n(&vcpu->priv->requests, __ATOMIC_RELAXED) & VCPU_REQUEST_SIPI) != 0) {
		vcpu_set_state(vcpu, VCPU_RUNNABLE);
	}
	requests = __atomic_exchange_n(&vcpu->priv->requests, 0, __ATOMIC_ACQ_REL);
	if ((requests & VCPU_REQUEST_INIT) != 0) {
		state = VCPU_WAIT_SIPI;
		vcpu->event.info = 0;
		vcpu->priv->deferred_interrupt = 0;
		__atomic_store_n(&vcpu->nmi_pending, 0, __ATOMIC_RELAXED);
	}
	if ((requests & VCPU_REQUEST_SIPI) != 0 && state == VCPU_WAIT_SIPI) {
		vcpu_load(vcpu);
		vmcs_reset_guest(vcpu, (uint8_t)(requests >> 8));
		vcpu_flush_translations(vcpu); /* INIT does; paging may have been on */
		vcpu_state_reset();
		state = VCPU_RUNNABLE;
	}
	vcpu_set_state(vcpu, state);
	if ((requests & VCPU_REQUEST_DUMP) != 0 && state == VCPU_WAIT_SIPI) {
		log_info("vm %s: vCPU %u waits for SIPI", vcpu->vm->name, vcpu->id);
	} else if ((requests & VCPU_REQUEST_DUMP) != 0) {
		vcpu_load(vcpu);
		vcpu_dump(vcpu);
	}
}

bool vcpu_wake(struct vcpu *vcpu)
{
	if (__atomic_exchange_n(&vcpu->kicked, 0, __ATOMIC_SEQ_CST) != 0) {
		vcpu->priv->recheck = true;
		if (__atomic_load_n(&vcpu->priv->requests, __ATOMIC_RELAXED) != 0) {
			take_requests(vcpu);
		}
	}
	if (vcpu->state == VCPU_HALTED &&
	    (__atomic_load_n(&vcpu->nmi_pending, __ATOMIC_RELAXED) != 0 ||
	     (vcpu->priv->halted_if && vcpu->vm->hooks->irq_pending(vcpu) >= 0))) {
		vcpu_set_state(vcpu, VCPU_RUNNABLE);
		vcpu->priv->recheck = true;
	}
	return vcpu->state == VCPU_RUNNABLE || vcpu->work;
}

void vcpu_add_work(struct vcpu *vcpu)
{
	vcpu->work = true;
	__atomic_store_n(&vcpu->kicked, 1, __ATOMIC_SEQ_CST); /* who halts now looks again */
}

/*
 * SDM, "VMX-Preemption Timer": loaded from the VMCS at each entry. Rounded up: never early. No
 * slice is longer than what the timer can count (vcpu_run).
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

/* VMfail: no guest state was loaded, and the fault is ours or the CPU's. This VM ends, no other. */
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
 * Whatever may keep a vCPU from being entered, or change what it meets there. False: it is not to
 * be entered. Order: a hook that inject_before_entry calls may change the controls.
 *
 * The slice's end is looked at here too, for a guest may arrange that each delivery of an event
 * ends in an exit (#AC or #DB in the handler's own frame), and neither the timer nor an interrupt
 * of the host gets between those.
 *
 * A turn of its devices' work comes before each entry as long as there is some; in between it runs
 * for as long, so that it sees what was done. One that does not run does turn after turn.
 */
static bool settle(struct vcpu *vcpu, uint64_t *slice_end)
{
	struct vcpu_private *priv = vcpu->priv;

	do {
		if (__atomic_load_n(&vcpu->kicked, __ATOMIC_SEQ_CST) != 0 ||
		    vcpu->state != VCPU_RUNNABLE) {
			if (!vcpu_wake(vcpu)) {
				return false;
			}
			vcpu_load(vcpu);
		}
		if (__atomic_load_n(&vcpu->vm->state, __ATOMIC_RELAXED) != VM_RUNNING ||
		    __atomic_load_n(&vcpu->vm->paused, __ATOMIC_RELAXED) ||
		    sched_slice_over(slice_end)) {
			return false;
		}
		vcpu->work = vcpu->work && vcpu->vm->hooks->work(vcpu);
	} while (vcpu->state != VCPU_RUNNABLE);
	inject_before_entry(vcpu);
	priv->recheck |= vcpu->work;
	if (priv->controls_changed) {
		priv->controls_changed = false;
		vmcs_write_apic_controls(vcpu);
		vmwrite(VMCS_TSC_OFFSET, priv->tsc_offset);
	}
	return true;
}

/* The way between two exits that change nothing for the vCPU: kept as short as it can be. */
static inline __attribute__((always_inline)) void run(struct vcpu *vcpu, uint64_t slice_end)
{
	const struct vmx_caps *caps = vmx_caps();
	struct vcpu_private *priv = vcpu->priv;
	struct ept_root *root = &vcpu->vm->gmem.root;
	uint64_t deadline = 0; /* the sooner of slice_end and what settle found for the guest */
	uint32_t result;

	vcpu_load(vcpu);
	slice_end = MIN(slice_end, cpu_rdtsc() + UINT32_MAX);
	priv->recheck = true;
	for (;;) {
		if (__builtin_expect((__atomic_load_n(&vcpu->kicked, __ATOMIC_SEQ_CST) |
				      priv->recheck | vcpu->event.info) != 0,
				     0)) {
			if (!settle(vcpu, &slice_end)) {
				return;
			}
			deadline = MIN(slice_end, priv->timer_deadline);
			if (vcpu->work) {
				deadline = MIN(deadline, cpu_rdtsc() + tsc_from_us(WORK_GAP_US));
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

void vcpu_run(struct vcpu *vcpu, uint64_t slice_end)
{
	run(vcpu, slice_end);
	if (vmx_caps()->fill_rsb) {
		vmx_fill_rsb(); /* the RETs from here on are the first since the guest ran */
	}
}
