/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flaws of processors that let one VM see or steer what is not its own: which of them this CPU
 * has, and what is done. One table (flaws.c) decides, from what CPUID and IA32_ARCH_CAPABILITIES
 * say and, where these say nothing, from the model.
 */
#ifndef UMBRA_VMM_FLAWS_H
#define UMBRA_VMM_FLAWS_H

#include "vmm/base/types.h"

/* What is known of the CPU. */
struct flaw_facts {
	uint32_t family, model, stepping; /* as CPUID.1:EAX displays them */
	uint32_t leaf7_ebx, leaf7_edx;	  /* CPUID.(7, 0) */
	uint32_t leaf7_2_edx;		  /* CPUID.(7, 2) */
	bool has_capabilities;
	uint64_t capabilities; /* IA32_ARCH_CAPABILITIES, 0 without */
};

/* What is done about them. */
struct flaw_plan {
	uint8_t entry_flush; /* VMX_FLUSH_*: before each VM entry */
	bool ibpb;	     /* when another VM comes to a CPU */
	bool fill_rsb;	     /* when a vCPU leaves its CPU */
	bool no_large_exec;  /* EPT leaves above 4 KiB allow no execution */
	/* IA32_SPEC_CTRL changes with each VM entry and exit, and is this in root mode. */
	bool switch_spec_ctrl;
	uint64_t host_spec_ctrl;
};

/* Reads the facts of the CPU that this runs on. */
void flaws_gather(struct flaw_facts *out);

/* Adds another CPU's facts: what is then decided and logged does for both of them. */
void flaws_merge(struct flaw_facts *all, const struct flaw_facts *cpu);

void flaws_decide(const struct flaw_facts *facts, struct flaw_plan *out);

/*
 * Calls print once for each flaw that this CPU has, in the table's order: its name, whether nothing
 * mitigates it, and the clause that says what is done, or what is missing.
 */
void flaws_tell(const struct flaw_facts *facts,
		void (*print)(void *context, const char *name, bool open, const char *what),
		void *context);

#endif
