/* SPDX-License-Identifier: Apache-2.0 */
/* What idt_stubs.asm calls for each exception and interrupt. No lock. */
#include "vmm/host/interrupts.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/panic.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/idt_dump.h"
#include "vmm/host/lapic.h"
#include "vmm/host/smp.h"

static ATOMIC(bool) stop_on_nmi;

/* in insns.asm */
extern const char msr_read_insn[], msr_read_fault[];
extern const char msr_write_insn[], msr_write_fault[];
extern const char pconfig_insn[], pconfig_fault[];
extern const char firmware_fault[];
extern uint64_t firmware_stack;
void interrupt_dispatch(struct idt_frame *frame);

void interrupts_stop_on_nmi(void)
{
	atomic_store(&stop_on_nmi, true);
}

static void handle_nmi(struct idt_frame *frame)
{
	struct percpu *cpu = percpu_self();

	/* This is the last CPU: it has stopped all others, so no NMI can be a request to stop. */
	if (atomic_load(&stop_on_nmi) && !bootstrap_has_left()) {
		memset(frame, 0, sizeof(*frame)); /* it may have a word of a key (master_key.asm) */
		bootstrap_stop_this_cpu();
	}
	cpu->nmi_count++;
}

/* Instructions of insns.asm that may raise #GP, and where execution continues then. */
static const struct {
	const char *insn, *fault;
} expected_faults[] = {
	{ msr_read_insn, msr_read_fault },
	{ msr_write_insn, msr_write_fault },
	{ pconfig_insn, pconfig_fault },
};

/*
 * After an expected fault, in one of these instructions or in firmware, continues at its handler.
 */
static bool fix_up(struct idt_frame *frame)
{
	for (size_t i = 0; i < ARRAY_COUNT(expected_faults); i++) {
		if (frame->vector == VECTOR_GP &&
		    frame->rip == (uintptr_t)expected_faults[i].insn) {
			frame->rip = (uintptr_t)expected_faults[i].fault;
			return true;
		}
	}
	if (firmware_stack != 0 && frame->vector != VECTOR_MC) {
		frame->rip = (uintptr_t)firmware_fault;
		frame->rsp = firmware_stack;
		return true;
	}
	return false;
}

static void exception(struct idt_frame *frame)
{
	if (fix_up(frame)) {
		return;
	}
	panic_exception(frame);
}

void interrupt_dispatch(struct idt_frame *frame)
{
	struct percpu *cpu;

	if (frame->vector == VECTOR_NMI) {
		handle_nmi(frame);
		return;
	}
	if (frame->vector < 32) {
		exception(frame);
		return;
	}
	cpu = percpu_self();
	switch (frame->vector) {
	case VECTOR_SPURIOUS: return; /* SDM vol. 3, "Spurious Interrupt": not in service, no EOI */
	case VECTOR_TIMER: cpu->timer_count++; break;
	case VECTOR_KICK:
		cpu->kick_count++;
		smp_do_work();
		break;
	default:
		cpu->unexpected_count++; /* left pending by a device or by firmware */
		break;
	}
	lapic_eoi();
}
