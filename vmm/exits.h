/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM exits: each reason has one handler in a const table, which says what to do next. A handler
 * reads qualification and the like from the VMCS itself, and once.
 */
#ifndef UMBRA_VMM_EXITS_H
#define UMBRA_VMM_EXITS_H

#include "vmm/vcpu.h"

enum exit_result {
	EXIT_RESUME,	/* enter again where the guest stands */
	EXIT_NEXT_INSN, /* the instruction is done: behind it */
	EXIT_YIELD,	/* as EXIT_RESUME, and see whether the time slice is over */
	EXIT_KILL_VM,	/* the handler met what no policy knows */
};

/* Handles the exit that just happened. EXIT_RESUME or EXIT_YIELD. */
enum exit_result exit_dispatch(struct vcpu *vcpu);

/* Handlers; the file names the subject. */
enum exit_result exit_cpuid(struct vcpu *vcpu);
enum exit_result exit_rdmsr(struct vcpu *vcpu);
enum exit_result exit_wrmsr(struct vcpu *vcpu);
enum exit_result exit_cr_access(struct vcpu *vcpu);
enum exit_result exit_xsetbv(struct vcpu *vcpu);
enum exit_result exit_io(struct vcpu *vcpu);
enum exit_result exit_ept_violation(struct vcpu *vcpu);
enum exit_result exit_ept_misconfig(struct vcpu *vcpu);
enum exit_result exit_apic_access(struct vcpu *vcpu);

#endif
