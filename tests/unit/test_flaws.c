/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/flaws.c: for CPUs as they describe themselves: what is done about each flaw, which flaws they
 * have, and which of these have no mitigation.
 */
#include "tests/unit/test.h"
#include "vmm/base/x86.h"
#include "vmm/flaws.h"
#include "vmm/vmx.h"

/* The first letters of the table's names, in its order; upper case: the flaw has no mitigation. */
#define NAMES 16
static const char *const names[NAMES] = {
	"Spectre v1",
	"Spectre v2",
	"Spectre v2 between VMs",
	"return stack buffer",
	"Retbleed",
	"branch history injection",
	"indirect target selection",
	"Spectre v4",
	"Meltdown",
	"L1TF",
	"MDS",
	"TAA",
	"RFDS",
	"iTLB multihit",
	"gather data sampling",
	"SRBDS",
};
static const char letters[] = "12vrbhi4mldtfxgs";

#define UPDATED                                                                                 \
	(CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_SSBD | CPUID_7_EDX_L1D_FLUSH | \
	 CPUID_7_EDX_MD_CLEAR)
#define WITH_CAPS (UPDATED | CPUID_7_EDX_ARCH_CAPS)
#define RTM	  CPUID_7_EBX_RTM
#define IBRS	  BIT(0)
#define L1D	  VMX_FLUSH_L1D
#define MDS	  VMX_FLUSH_MDS

static const struct row {
	const char *name;
	uint32_t version, edx, ebx, edx2;
	uint64_t caps;
	const char *flaws;
	uint8_t flush;
	bool ibpb, fill_rsb, no_large_exec, spec_ctrl;
	uint64_t host_spec_ctrl;
} rows[] = {
	{ "Ivy Bridge as shipped", 0x306a9, 0, 0, 0, 0, "12Vr4mLDxS", 0, false, true, true, false,
	  0 },
	{ "Haswell, updated", 0x306c3, UPDATED | BIT(9), RTM, 0, 0, "12vr4mldtxs", L1D | MDS, true,
	  true, true, false, 0 },
	{ "Skylake as shipped", 0x506e3, 0, RTM, 0, 0, "12VrB4mLDTxGS", 0, false, true, true, false,
	  0 },
	{ "Skylake, updated", 0x506e3, WITH_CAPS | BIT(9), RTM, 0, BIT(2) | BIT(25),
	  "12vrb4mldtxgs", L1D | MDS, true, true, true, true, IBRS },
	{ "Cascade Lake", 0x50657, WITH_CAPS, RTM, 0, BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(19),
	  "12vrhi4txG", MDS, true, true, true, true, IBRS },
	{ "Ice Lake, updated", 0x606a6, WITH_CAPS, 0, BIT(2),
	  BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(8) | BIT(25), "12vhi4g", 0, true, false,
	  false, true, IBRS },
	{ "Alder Lake, updated", 0x90672, WITH_CAPS, 0, BIT(2) | BIT(4),
	  BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(8) | BIT(19) | BIT(26) | BIT(28),
	  "12vrh4f", MDS, true, true, false, true, IBRS | BIT(6) | BIT(10) },
	{ "Alder Lake before RFDS was known", 0x90672, WITH_CAPS, 0, 0,
	  BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(8) | BIT(26), "12vh4F", 0, true, false,
	  false, true, IBRS },
	{ "no flaw that has a name so far", 0xa06a4, WITH_CAPS, 0, 0,
	  BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(8) | BIT(20) | BIT(26) | BIT(27) |
		  BIT(62),
	  "12v4", 0, true, false, false, false, 0 },
	{ "Snow Ridge", 0x80665, WITH_CAPS, 0, 0, BIT(0) | BIT(1) | BIT(3), "12vh4F", 0, true,
	  false, false, true, IBRS },
	{ "Silvermont", 0x406c4, UPDATED, 0, 0, 0, "12vr4d", MDS, true, true, false, false, 0 },
	{ "Goldmont", 0x506c9, WITH_CAPS, 0, 0, BIT(0) | BIT(28), "12vr4f", MDS, true, true, false,
	  false, 0 },
	{ "L1D flushed by the hypervisor below", 0x306c3, WITH_CAPS | BIT(9), 0, 0, BIT(3) | BIT(5),
	  "12vr4mxs", 0, true, true, true, false, 0 },
	{ "another family", 0x10f00, WITH_CAPS, 0, 0, 0, "12vr4mldx", L1D | MDS, true, true, true,
	  false, 0 },
};

static void note(void *context, const char *name, bool open, const char *what)
{
	char *said = context;
	size_t i = 0;

	while (i < NAMES && strcmp(names[i], name) != 0) {
		i++;
	}
	assert_true(i < NAMES && what[0] != '\0');
	said[strlen(said)] = (char)(open ? (letters[i] & ~0x20) : letters[i]);
}

TEST(test_cpus)
{
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		const struct row *r = &rows[i];
		struct flaw_facts facts;
		struct flaw_plan plan;
		char said[NAMES + 1] = "";

		fake_reset();
		fake_cpuid_set(0, 0, 0x16, 0, 0, 0);
		fake_cpuid_set(1, 0, r->version, 0, 0, 0);
		fake_cpuid_set(7, 0, 2, r->ebx, 0, r->edx);
		fake_cpuid_set(7, 2, 0, 0, 0, r->edx2);
		if ((r->edx & CPUID_7_EDX_ARCH_CAPS) != 0) {
			fake_msr_set(MSR_IA32_ARCH_CAPABILITIES, r->caps);
		}
		flaws_gather(&facts);
		flaws_decide(&facts, &plan);
		flaws_tell(&facts, note, said);
		if (strcmp(said, r->flaws) != 0 || plan.entry_flush != r->flush ||
		    plan.ibpb != r->ibpb || plan.fill_rsb != r->fill_rsb ||
		    plan.no_large_exec != r->no_large_exec ||
		    plan.switch_spec_ctrl != r->spec_ctrl ||
		    plan.host_spec_ctrl != r->host_spec_ctrl) {
			fail_msg("%s: %s; flushes %#x, IBPB %d, RSB %d, small code leaves %d, "
				 "SPEC_CTRL %d %#lx",
				 r->name, said, plan.entry_flush, plan.ibpb, plan.fill_rsb,
				 plan.no_large_exec, plan.switch_spec_ctrl, plan.host_spec_ctrl);
		}
	}
}

/* A CPU without leaf 7, or without its subleaf 2, is not asked for it. */
TEST(test_short_cpuid)
{
	struct flaw_facts facts;

	fake_reset();
	fake_cpuid_set(0, 0, 4, 0, 0, 0);
	fake_cpuid_set(1, 0, 0x106e5, 0, 0, 0);
	fake_cpuid_set(7, 0, 2, ~0u, ~0u, ~0u);
	flaws_gather(&facts);
	assert_int_equal(facts.family, 6);
	assert_int_equal(facts.model, 0x1e);
	assert_int_equal(facts.stepping, 5);
	assert_int_equal(facts.leaf7_ebx | facts.leaf7_edx | facts.leaf7_2_edx, 0);
	fake_cpuid_set(0, 0, 0x16, 0, 0, 0);
	fake_cpuid_set(7, 0, 1, 0, 0, UPDATED);
	fake_cpuid_set(7, 2, 0, 0, 0, ~0u);
	flaws_gather(&facts);
	assert_int_equal(facts.leaf7_edx, UPDATED);
	assert_int_equal(facts.leaf7_2_edx, 0);
}
