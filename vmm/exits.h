/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM exits: each reason has one handler in a const table, which returns what to do next. A handler
 * reads the qualification and other fields from the VMCS itself, each once.
 */
#ifndef UMBRA_VMM_EXITS_H
#define UMBRA_VMM_EXITS_H

#include "vmm/vcpu.h"

enum exit_result {
	EXIT_RESUME,	/* enter again at the same RIP */
	EXIT_NEXT_INSN, /* the instruction is done: enter behind it */
	EXIT_YIELD,	/* as EXIT_RESUME, after checking whether the time slice is over */
	EXIT_KILL_VM,	/* end the VM: it did something that Umbra does not support */
};

/*
 * What the delivery of a debug exception does to DR6, DR7 and DEBUGCTL. why: bits as in the exit
 * qualification.
 */
void exit_note_debug_exception(struct vcpu *vcpu, uint64_t why);

/* Handles the exit that just happened. Returns EXIT_RESUME or EXIT_YIELD. */
enum exit_result exit_dispatch(struct vcpu *vcpu);

/* Handlers; the file name is the subject. */
enum exit_result exit_cpuid(struct vcpu *vcpu);
enum exit_result exit_rdmsr(struct vcpu *vcpu);
enum exit_result exit_wrmsr(struct vcpu *vcpu);
enum exit_result exit_cr_access(struct vcpu *vcpu);
enum exit_result exit_dr_access(struct vcpu *vcpu);
enum exit_result exit_xsetbv(struct vcpu *vcpu);
enum exit_result exit_io(struct vcpu *vcpu);
enum exit_result exit_ept_violation(struct vcpu *vcpu);
enum exit_result exit_ept_misconfig(struct vcpu *vcpu);
enum exit_result exit_apic_access(struct vcpu *vcpu);

#endif
