/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flaws of processors that let a VM read or influence what it should not: which flaws this CPU has,
 * and how they are mitigated. One table (flaws.c) decides by CPUID and IA32_ARCH_CAPABILITIES, and
 * where these say nothing, by the model.
 */
#ifndef UMBRA_VMM_FLAWS_H
#define UMBRA_VMM_FLAWS_H

#include "vmm/base/types.h"

/* Facts about the CPU. */
struct flaw_facts {
	uint32_t family, model, stepping; /* as CPUID.1:EAX displays them */
	uint32_t leaf7_ebx, leaf7_edx;	  /* CPUID.(7, 0) */
	uint32_t leaf7_2_edx;		  /* CPUID.(7, 2) */
	bool has_capabilities;
	uint64_t capabilities; /* IA32_ARCH_CAPABILITIES; 0 if it does not exist */
};

/* The mitigations to use. */
struct flaw_plan {
	uint8_t entry_flush; /* VMX_FLUSH_*: before each VM entry */
	bool ibpb;	     /* IBPB when another VM comes to a CPU */
	bool fill_rsb;	     /* fill the return stack buffer when a vCPU leaves its CPU */
	bool no_large_exec;  /* EPT leaves above 4 KiB must not allow execution */
	/* IA32_SPEC_CTRL is switched at each VM entry and exit, and has this value in root mode. */
	bool switch_spec_ctrl;
	uint64_t host_spec_ctrl;
};

/* Reads the facts of the current CPU. */
void flaws_gather(struct flaw_facts *out);

/* Merges another CPU's facts, so that later decisions and log lines are right for both CPUs. */
void flaws_merge(struct flaw_facts *all, const struct flaw_facts *cpu);

void flaws_decide(const struct flaw_facts *facts, struct flaw_plan *out);

/*
 * Calls print for each flaw that this CPU has, in the table's order: its name, whether it has no
 * mitigation, and a clause that names the mitigation, or what is missing for it.
 */
void flaws_tell(const struct flaw_facts *facts,
		void (*print)(void *context, const char *name, bool open, const char *what),
		void *context);

#endif
