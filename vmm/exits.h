/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM exits: each reason has one handler in a const table, which says what to do next. RIP moves in
 * exits.c alone. A handler reads qualification and the like from the VMCS itself, and once.
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

/* The name of a basic exit reason, or "exit". */
const char *exit_name(uint32_t reason);

/* Moves RIP over an emulated instruction, with all that goes with its retirement. */
void exit_skip(uint64_t length);

/*
 * One round of a repeated string instruction is done, and others follow: RIP stays. RF keeps an
 * instruction breakpoint from hitting once more, a single step comes behind each round (SDM vol. 3,
 * "Instruction-Breakpoint Exception Condition" and "Single-Step Exception Condition").
 */
void exit_next_round(void);

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

/* exit_cpuid.c: which bits of a CPUID leaf's register (0 to 3: EAX to EDX) a guest may see. Only
 * for leaves that it has rows for. */
uint32_t cpuid_guest_mask(uint32_t leaf, unsigned reg);

/* exit_ept.c: a device access at an address outside of RAM; value in and out through access. */
void vcpu_device_access(struct vcpu *vcpu, gpa_t gpa, struct io_access *access);

#endif
