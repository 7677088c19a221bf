/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exit table, its dispatch, and short handlers. A reason without a row ends this VM with a
 * register dump; nothing here stops the machine. No locks.
 */
#include "vmm/exits.h"

#include "vmm/attention.h"
#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/exit_names.h"
#include "vmm/hole.h"
#include "vmm/inject.h"
#include "vmm/rip.h"
#include "vmm/sched_slice.h"
#include "vmm/vcpu_dump.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

static enum exit_result exit_exception(struct vcpu *vcpu)
{
	uint32_t info = (uint32_t)vmread(VMCS_EXIT_INTERRUPTION_INFO);
	uint8_t vector = (uint8_t)(info & EVENT_VECTOR);

	/*
	 * SDM, "Information for VM Exits Due to Vectored Events": the IRET that faulted had
	 * unblocked NMIs.
	 */
	if ((info & EVENT_NMI_UNBLOCKING) != 0 && vector != VECTOR_DF &&
	    (vcpu->event.info & EVENT_VALID) == 0) {
		inject_reblock_nmi(vcpu);
	}
	switch (vector) {
	case VECTOR_NMI:
		/* The machine's own NMI; the handler's IRET unblocks NMIs. */
		cpu_call_nmi_handler();
		return EXIT_RESUME;
	case VECTOR_MC: cpu_call_mc_handler(); return EXIT_RESUME;
	case VECTOR_DB:
		if ((info & EVENT_TYPE) == EVENT_PRIV_SW_EXCEPTION) {
			/*
			 * INT1: a trap, delivered behind the instruction; it does not change DR6.
			 */
			vcpu->event = (struct vcpu_event){
				.info = (uint32_t)EVENT_VALID | EVENT_PRIV_SW_EXCEPTION | VECTOR_DB,
				.insn_length = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_LENGTH),
			};
			return EXIT_RESUME;
		}
		exit_note_debug_exception(vcpu, vmread(VMCS_EXIT_QUALIFICATION));
		inject_exception(vcpu, VECTOR_DB, 0);
		return EXIT_RESUME;
	case VECTOR_AC:
		inject_exception(vcpu, VECTOR_AC,
				 (uint32_t)vmread(VMCS_EXIT_INTERRUPTION_ERROR_CODE));
		return EXIT_RESUME;
	default: return EXIT_KILL_VM;
	}
}

static enum exit_result exit_external_interrupt(struct vcpu *vcpu)
{
	cpu_interrupt_window();
	/* It may have been the LAPIC timer, set to a deadline of the guest. */
	(void)attention_set(vcpu, ATTENTION_EVENTS);
	return EXIT_YIELD;
}

/* Mostly the timer was set for the console or another vCPU; then nothing changes for this one. */
static enum exit_result exit_preemption_timer(struct vcpu *vcpu)
{
	if (cpu_rdtsc() >= vcpu->priv->timer_deadline) {
		(void)attention_set(vcpu, ATTENTION_EVENTS);
	}
	return EXIT_YIELD;
}

/* The instruction for which a frame was lent (hole.h) is done. */
static enum exit_result exit_monitor_trap(struct vcpu *vcpu)
{
	hole_close(vcpu);
	return EXIT_RESUME;
}

static enum exit_result exit_window(struct vcpu *vcpu)
{
	(void)attention_set(vcpu, ATTENTION_EVENTS);
	return EXIT_RESUME;
}

/* SDM, "Pause-Loop Exiting": the vCPU spins for another vCPU, which may be waiting for this CPU. */
static enum exit_result exit_pause(struct vcpu *vcpu)
{
	rip_skip(vmread(VMCS_EXIT_INSTRUCTION_LENGTH));
	sched_yield();
	return EXIT_YIELD;
}

/*
 * The instruction is done. It delayed every CPU of the machine, so the vCPU lets the others run
 * first.
 */
static enum exit_result exit_bus_lock(struct vcpu *vcpu)
{
	sched_yield();
	return EXIT_YIELD;
}

/*
 * An instruction kept events from being delivered for long. The guest may go on, unless the CPU has
 * lost its state.
 */
static enum exit_result exit_notify(struct vcpu *vcpu)
{
	uint64_t why = vmread(VMCS_EXIT_QUALIFICATION);

	if ((why & NOTIFYQ_INVALID) != 0) {
		return EXIT_KILL_VM;
	}
	if ((why & NOTIFYQ_NMI_UNBLOCKING) != 0 && (vcpu->event.info & EVENT_VALID) == 0) {
		inject_reblock_nmi(vcpu);
	}
	return EXIT_YIELD;
}

static enum exit_result exit_triple_fault(struct vcpu *vcpu)
{
	vcpu_dump(vcpu);
	vm_end(vcpu->vm, VM_END_TRIPLE_FAULT, NULL);
	return EXIT_RESUME;
}

static enum exit_result exit_hlt(struct vcpu *vcpu)
{
	uint64_t rflags = vmread(VMCS_GUEST_RFLAGS);

	if (vcpu_single_steps(rflags)) {
		return EXIT_NEXT_INSN; /* the #DB after the HLT would wake the vCPU at once */
	}
	atomic_store_relaxed(&vcpu->priv->halted_if, (rflags & RFLAGS_IF) != 0);
	vcpu_set_state(vcpu, VCPU_HALTED);
	(void)attention_set(vcpu, ATTENTION_EVENTS);
	if (vcpu->vm->vcpu_count > 1) {
		atomic_store(&vcpu->vm->last_halt, ALIGN_DOWN(cpu_rdtsc(), VM_VCPU_MAX) + vcpu->id);
	}
	if (atomic_load(&vcpu->vm->gathering) != 0) {
		vcpu_add_work(vcpu);
	}
	if ((rflags & RFLAGS_IF) == 0) {
		vm_check_halted(vcpu->vm);
	}
	return EXIT_NEXT_INSN;
}

/* Caches belong to the host; guest memory is coherent whatever the guest's memory types are. */
static enum exit_result exit_cache_flush(struct vcpu *vcpu)
{
	return EXIT_NEXT_INSN;
}

/* Instructions of features that CPUID does not show. */
static enum exit_result exit_ud(struct vcpu *vcpu)
{
	inject_ud(vcpu);
	return EXIT_RESUME;
}

static enum exit_result exit_gp(struct vcpu *vcpu)
{
	inject_gp(vcpu);
	return EXIT_RESUME;
}

static enum exit_result exit_virtualized_eoi(struct vcpu *vcpu)
{
	vcpu->vm->hooks->eoi(vcpu, (uint8_t)vmread(VMCS_EXIT_QUALIFICATION));
	(void)attention_set(vcpu, ATTENTION_EVENTS);
	return EXIT_RESUME;
}

static enum exit_result exit_apic_write(struct vcpu *vcpu)
{
	vcpu->vm->hooks->apic_written(vcpu, APICQ_OFFSET(vmread(VMCS_EXIT_QUALIFICATION)));
	(void)attention_set(vcpu, ATTENTION_EVENTS);
	return EXIT_RESUME;
}

struct exit_entry {
	enum exit_result (*handle)(struct vcpu *vcpu);
	/* Only an instruction causes this exit, so no event was being delivered. */
	bool instruction;
};

#define INSTRUCTION true

static const struct exit_entry exit_table[VCPU_EXIT_REASONS] = {
	[EXIT_REASON_EXCEPTION_NMI] = { exit_exception },
	[EXIT_REASON_EXTERNAL_INTERRUPT] = { exit_external_interrupt },
	[EXIT_REASON_TRIPLE_FAULT] = { exit_triple_fault },
	[EXIT_REASON_INTERRUPT_WINDOW] = { exit_window },
	[EXIT_REASON_NMI_WINDOW] = { exit_window },
	[EXIT_REASON_CPUID] = { exit_cpuid, INSTRUCTION },
	[EXIT_REASON_GETSEC] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_HLT] = { exit_hlt },
	[EXIT_REASON_INVD] = { exit_cache_flush, INSTRUCTION },
	[EXIT_REASON_RDPMC] = { exit_gp, INSTRUCTION },
	[EXIT_REASON_VMCALL] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMCLEAR] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMLAUNCH] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMPTRLD] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMPTRST] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMREAD] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMRESUME] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMWRITE] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMXOFF] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMXON] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_CR_ACCESS] = { exit_cr_access, INSTRUCTION },
	[EXIT_REASON_DR_ACCESS] = { exit_dr_access, INSTRUCTION },
	[EXIT_REASON_IO] = { exit_io, INSTRUCTION },
	[EXIT_REASON_RDMSR] = { exit_rdmsr, INSTRUCTION },
	[EXIT_REASON_WRMSR] = { exit_wrmsr, INSTRUCTION },
	[EXIT_REASON_MWAIT] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_PAUSE] = { exit_pause, INSTRUCTION },
	[EXIT_REASON_MONITOR_TRAP_FLAG] = { exit_monitor_trap },
	[EXIT_REASON_MONITOR] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_TPR_BELOW_THRESHOLD] = { exit_window },
	[EXIT_REASON_APIC_ACCESS] = { exit_apic_access },
	[EXIT_REASON_VIRTUALIZED_EOI] = { exit_virtualized_eoi },
	[EXIT_REASON_EPT_VIOLATION] = { exit_ept_violation },
	[EXIT_REASON_EPT_MISCONFIG] = { exit_ept_misconfig },
	[EXIT_REASON_INVEPT] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_PREEMPTION_TIMER] = { exit_preemption_timer },
	[EXIT_REASON_INVVPID] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_WBINVD] = { exit_cache_flush, INSTRUCTION },
	[EXIT_REASON_XSETBV] = { exit_xsetbv, INSTRUCTION },
	[EXIT_REASON_APIC_WRITE] = { exit_apic_write },
	[EXIT_REASON_INVPCID] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_VMFUNC] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_ENCLS] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_ENCLV] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_BUS_LOCK] = { exit_bus_lock },
	[EXIT_REASON_NOTIFY] = { exit_notify },
	[EXIT_REASON_SEAMCALL] = { exit_ud, INSTRUCTION },
	[EXIT_REASON_TDCALL] = { exit_ud, INSTRUCTION },
};

/*
 * Failed entries (SDM, "VM-Entry Failures During or After Loading Guest State") and reasons without
 * a row.
 */
static enum exit_result unhandled(void)
{
	struct vcpu *vcpu = percpu_self()->vcpu;
	uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);
	char text[VM_DETAIL_MAX];

	/* The CPU did not deliver the #MC; a second one would shut the machine down. */
	if (reason == (EXIT_REASON_ENTRY_FAILURE | EXIT_REASON_ENTRY_MACHINE_CHECK)) {
		cpu_call_mc_handler();
	}
	vcpu_dump(vcpu);
	if ((reason & EXIT_REASON_ENTRY_FAILURE) != 0) {
		str_printf(text, sizeof(text), "the CPU refused the guest's state, reason %u, %#lx",
			   reason & 0xffff, vmread(VMCS_EXIT_QUALIFICATION));
		vm_end(vcpu->vm, VM_END_ENTRY_FAILED, text);
		return EXIT_RESUME;
	}
	str_printf(text, sizeof(text), "%s (reason %u) at RIP %#lx", exit_name(reason & 0xffff),
		   reason & 0xffff, vmread(VMCS_GUEST_RIP));
	vm_end(vcpu->vm, VM_END_UNHANDLED, text);
	return EXIT_RESUME;
}

/* Keeps an event whose delivery the exit interrupted: the guest must not lose it. */
static inline void keep_event(struct vcpu *vcpu)
{
	uint32_t vectoring = (uint32_t)vmread(VMCS_IDT_VECTORING_INFO);

	if (__builtin_expect((vectoring & EVENT_VALID) != 0, 0)) {
		inject_again(vcpu, vectoring);
	}
}

static __attribute__((noinline)) enum exit_result handle_by_table(struct vcpu *vcpu,
								  uint32_t reason)
{
	const struct exit_entry *entry = &exit_table[reason];

	if (!entry->instruction) {
		keep_event(vcpu);
	}
	return entry->handle != NULL ? entry->handle(vcpu) : EXIT_KILL_VM;
}

/*
 * The most frequent reasons are called directly. An indirect call costs more than all of these
 * comparisons, and much more on real CPUs, where retpolines prevent its prediction.
 */
static inline __attribute__((always_inline)) enum exit_result handle(struct vcpu *vcpu,
								     uint32_t reason)
{
	switch (reason) {
	case EXIT_REASON_CPUID: return exit_cpuid(vcpu);
	case EXIT_REASON_IO: return exit_io(vcpu);
	case EXIT_REASON_RDMSR: return exit_rdmsr(vcpu);
	case EXIT_REASON_WRMSR: return exit_wrmsr(vcpu);
	case EXIT_REASON_EPT_VIOLATION: keep_event(vcpu); return exit_ept_violation(vcpu);
	default: return handle_by_table(vcpu, reason);
	}
}

enum exit_result exit_dispatch(struct vcpu *vcpu)
{
	uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);
	enum exit_result result;

	if (__builtin_expect(reason >= VCPU_EXIT_REASONS, 0)) {
		reason &= ~(uint32_t)EXIT_REASON_BUS_LOCKED;
		if (reason >= VCPU_EXIT_REASONS) {
			return unhandled();
		}
	}
	reason &= VCPU_EXIT_REASONS - 1; /* also if the CPU speculates */
	vcpu->exit_count[reason]++;
	result = handle(vcpu, reason);
	if (result == EXIT_NEXT_INSN) {
		rip_skip_inline(vmread(VMCS_EXIT_INSTRUCTION_LENGTH));
		return EXIT_RESUME;
	}
	return __builtin_expect(result != EXIT_KILL_VM, 1) ? result : unhandled();
}
