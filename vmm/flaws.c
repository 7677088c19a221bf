/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each flaw: which CPUs have it, and the mitigation. Sources: Intel's "Affected Processors:
 * Transient Execution Attacks and Related Security Issues by CPU" for the models, SDM vol. 4 for
 * the bits of IA32_ARCH_CAPABILITIES and IA32_SPEC_CTRL. Pure except for flaws_gather; no lock.
 */
#include "vmm/flaws.h"

#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/vmx.h"

/* IA32_ARCH_CAPABILITIES */
#define RDCL_NO		   BIT(0)
#define IBRS_ALL	   BIT(1)
#define RSBA		   BIT(2)
#define SKIP_L1DFL_VMENTRY BIT(3)
#define MDS_NO		   BIT(5)
#define IF_PSCHANGE_MC_NO  BIT(6)
#define TAA_NO		   BIT(8)
#define RRSBA		   BIT(19)
#define BHI_NO		   BIT(20)
#define GDS_CTRL	   BIT(25)
#define GDS_NO		   BIT(26)
#define RFDS_NO		   BIT(27)
#define RFDS_CLEAR	   BIT(28)
#define ITS_NO		   BIT(62)

/* CPUID.(7, 0):EDX and CPUID.(7, 2):EDX */
#define SRBDS_CTRL BIT(9)
#define RRSBA_CTRL BIT(2)
#define BHI_CTRL   BIT(4)

/* IA32_SPEC_CTRL */
#define SPEC_CTRL_IBRS	      BIT(0)
#define SPEC_CTRL_RRSBA_DIS_S BIT(6)
#define SPEC_CTRL_BHI_DIS_S   BIT(10)

/* Models of family 6 that have EPT; each list ends with 0. */
static const uint8_t silvermont[] = { 0x37, 0x4a, 0x4c, 0x4d, 0x5a, 0x57, 0x75, 0x85, 0 };
static const uint8_t goldmont[] = { 0x5c, 0x5f, 0x7a, 0 };
static const uint8_t tremont[] = { 0x86, 0x8a, 0x96, 0x9c, 0 };
static const uint8_t gracemont[] = { 0x97, 0x9a, 0xb7, 0xba, 0xbe, 0xbf, 0 };
static const uint8_t skylake[] = { 0x4e, 0x55, 0x5e, 0x66, 0x8e, 0x9e, 0xa5, 0xa6, 0 };
static const uint8_t ice_lake[] = { 0x6a, 0x6c, 0x7d, 0x7e, 0x8c, 0x8d, 0xa7, 0 };
static const uint8_t srbds_models[] = { 0x3a, 0x3c, 0x3d, 0x45, 0x46, 0x47, 0x4e,
					0x5e, 0x8e, 0x9e, 0xa5, 0xa6, 0 };

static bool is_model(const struct flaw_facts *f, const uint8_t *list)
{
	while (*list != 0 && *list != f->model) {
		list++;
	}
	return f->family == 6 && *list != 0;
}

static bool says(const struct flaw_facts *f, uint64_t capability)
{
	return (f->capabilities & capability) != 0;
}

static bool has_ibrs(const struct flaw_facts *f)
{
	return (f->leaf7_edx & CPUID_7_EDX_IBRS_IBPB) != 0;
}

/* IBRS that is set once and keeps guests' predictions out of root mode. */
static bool enhanced_ibrs(const struct flaw_facts *f)
{
	return has_ibrs(f) && says(f, IBRS_ALL);
}

static bool verw_clears(const struct flaw_facts *f)
{
	return (f->leaf7_edx & CPUID_7_EDX_MD_CLEAR) != 0;
}

static bool always(const struct flaw_facts *f)
{
	return true;
}

/* --- Which CPUs have it --- */

static bool has_rsb(const struct flaw_facts *f)
{
	return !enhanced_ibrs(f) || says(f, RSBA | RRSBA);
}

static bool has_retbleed(const struct flaw_facts *f)
{
	return !enhanced_ibrs(f) && (says(f, RSBA) || is_model(f, skylake));
}

static bool has_bhi(const struct flaw_facts *f)
{
	return enhanced_ibrs(f) && !says(f, BHI_NO);
}

static bool has_its(const struct flaw_facts *f)
{
	return enhanced_ibrs(f) && !says(f, ITS_NO) &&
	       (is_model(f, skylake) || is_model(f, ice_lake));
}

static bool has_meltdown(const struct flaw_facts *f)
{
	return !says(f, RDCL_NO) && !is_model(f, silvermont) && !is_model(f, goldmont);
}

static bool has_l1tf(const struct flaw_facts *f)
{
	return has_meltdown(f) && !says(f, SKIP_L1DFL_VMENTRY);
}

static bool has_mds(const struct flaw_facts *f)
{
	return !says(f, MDS_NO) && !is_model(f, goldmont) && !is_model(f, tremont);
}

/* Hiding TSX in CPUID does not stop a guest from starting a transaction. */
static bool has_taa(const struct flaw_facts *f)
{
	return (f->leaf7_ebx & CPUID_7_EBX_RTM) != 0 && !says(f, TAA_NO);
}

static bool has_rfds(const struct flaw_facts *f)
{
	return says(f, RFDS_CLEAR) ||
	       (!says(f, RFDS_NO) &&
		(is_model(f, goldmont) || is_model(f, tremont) || is_model(f, gracemont)));
}

static bool has_multihit(const struct flaw_facts *f)
{
	return !says(f, IF_PSCHANGE_MC_NO) && !is_model(f, silvermont) && !is_model(f, goldmont) &&
	       !is_model(f, tremont);
}

static bool has_gds(const struct flaw_facts *f)
{
	return !says(f, GDS_NO) && (is_model(f, skylake) || is_model(f, ice_lake));
}

static bool has_srbds(const struct flaw_facts *f)
{
	return is_model(f, srbds_models);
}

/* --- The mitigations: false when this CPU does not support one --- */

static bool nothing_more(const struct flaw_facts *f, struct flaw_plan *plan)
{
	return true;
}

static bool barrier(const struct flaw_facts *f, struct flaw_plan *plan)
{
	plan->ibpb = has_ibrs(f);
	return plan->ibpb;
}

static bool fill_rsb(const struct flaw_facts *f, struct flaw_plan *plan)
{
	plan->fill_rsb = true;
	return true;
}

static bool ibrs_in_root(const struct flaw_facts *f, struct flaw_plan *plan)
{
	if (!has_ibrs(f)) {
		return false;
	}
	plan->switch_spec_ctrl = true;
	plan->host_spec_ctrl |= SPEC_CTRL_IBRS;
	return true;
}

/* Retpolines avoid predictions already; this turns off what may be left. */
static bool bhi_off(const struct flaw_facts *f, struct flaw_plan *plan)
{
	plan->host_spec_ctrl |= (f->leaf7_2_edx & BHI_CTRL) != 0 ? SPEC_CTRL_BHI_DIS_S : 0;
	plan->host_spec_ctrl |= says(f, RRSBA) && (f->leaf7_2_edx & RRSBA_CTRL) != 0
					? SPEC_CTRL_RRSBA_DIS_S
					: 0;
	return ibrs_in_root(f, plan);
}

static bool flush_l1d(const struct flaw_facts *f, struct flaw_plan *plan)
{
	if ((f->leaf7_edx & CPUID_7_EDX_L1D_FLUSH) == 0) {
		return false;
	}
	plan->entry_flush |= VMX_FLUSH_L1D;
	return true;
}

static bool verw(const struct flaw_facts *f, struct flaw_plan *plan)
{
	if (!verw_clears(f)) {
		return false;
	}
	plan->entry_flush |= VMX_FLUSH_MDS;
	return true;
}

static bool verw_of_rfds(const struct flaw_facts *f, struct flaw_plan *plan)
{
	if (!says(f, RFDS_CLEAR)) {
		return false;
	}
	plan->entry_flush |= VMX_FLUSH_MDS;
	return true;
}

static bool small_code_leaves(const struct flaw_facts *f, struct flaw_plan *plan)
{
	plan->no_large_exec = true;
	return true;
}

static bool gds_in_microcode(const struct flaw_facts *f, struct flaw_plan *plan)
{
	return says(f, GDS_CTRL);
}

static bool srbds_in_microcode(const struct flaw_facts *f, struct flaw_plan *plan)
{
	return (f->leaf7_edx & SRBDS_CTRL) != 0;
}

static const struct flaw {
	const char *name;
	bool (*has)(const struct flaw_facts *f);
	bool (*mitigate)(const struct flaw_facts *f, struct flaw_plan *plan);
	const char *done;    /* the mitigation */
	const char *missing; /* why it is not possible: the CPU, or its microcode, lacks this */
} flaws[] = {
	{ "Spectre v1", always, nothing_more,
	  "what a guest chooses is masked where it becomes an index (exit reasons)", "" },
	{ "Spectre v2", always, nothing_more, "Umbra has no indirect branches (retpolines)", "" },
	{ "Spectre v2 between VMs", always, barrier, "IBPB when another VM comes to a CPU",
	  "IBPB" },
	{ "return stack buffer", has_rsb, fill_rsb,
	  "it is filled when a vCPU leaves its CPU, and the RET behind an exit has a CALL of its "
	  "own",
	  "" },
	{ "Retbleed", has_retbleed, ibrs_in_root, "IBRS is set with each exit", "IBRS" },
	{ "branch history injection", has_bhi, bhi_off,
	  "retpolines, IBRS with each exit, BHI_DIS_S where there is one", "" },
	{ "indirect target selection", has_its, nothing_more, "retpolines", "" },
	{ "Spectre v4", always, nothing_more, "no code of a guest runs in Umbra's address space",
	  "" },
	{ "Meltdown", has_meltdown, nothing_more, "no address space of a guest maps Umbra", "" },
	{ "L1TF", has_l1tf, flush_l1d, "L1D is flushed before each entry", "L1D_FLUSH" },
	{ "MDS", has_mds, verw, "VERW before each entry", "MD_CLEAR" },
	{ "TAA", has_taa, verw, "VERW before each entry", "MD_CLEAR" },
	{ "RFDS", has_rfds, verw_of_rfds, "VERW before each entry", "RFDS_CLEAR" },
	{ "iTLB multihit", has_multihit, small_code_leaves, "guests run code in 4K leaves alone",
	  "" },
	{ "gather data sampling", has_gds, gds_in_microcode,
	  "microcode, unless firmware locked it off", "GDS_CTRL" },
	{ "SRBDS", has_srbds, srbds_in_microcode, "microcode", "SRBDS_CTRL" },
};

void flaws_gather(struct flaw_facts *out)
{
	uint32_t max = cpu_cpuid(0, 0).eax, version = cpu_cpuid(1, 0).eax;
	struct cpuid_regs leaf7 = { 0, 0, 0, 0 };

	*out = (struct flaw_facts){ .family = version >> 8 & 15,
				    .model = version >> 4 & 15,
				    .stepping = version & 15 };
	if (out->family == 6 || out->family == 15) {
		out->model |= version >> 12 & 0xf0;
	}
	if (out->family == 15) {
		out->family += version >> 20 & 0xff;
	}
	if (max < 7) {
		return;
	}
	leaf7 = cpu_cpuid(7, 0);
	out->leaf7_ebx = leaf7.ebx;
	out->leaf7_edx = leaf7.edx;
	out->leaf7_2_edx = leaf7.eax >= 2 ? cpu_cpuid(7, 2).edx : 0;
	out->has_capabilities = (leaf7.edx & CPUID_7_EDX_ARCH_CAPS) != 0;
	if (out->has_capabilities) {
		out->capabilities = cpu_rdmsr(MSR_IA32_ARCH_CAPABILITIES);
	}
}

void flaws_merge(struct flaw_facts *all, const struct flaw_facts *cpu)
{
	/*
	 * Bits in `bad` report a flaw when set; the others report that a flaw is absent, or a
	 * mitigation.
	 */
	const uint64_t bad = RSBA | RRSBA | RFDS_CLEAR;

	all->capabilities = (all->capabilities & cpu->capabilities) |
			    ((all->capabilities | cpu->capabilities) & bad);
	all->has_capabilities &= cpu->has_capabilities;
	all->leaf7_ebx |= cpu->leaf7_ebx & CPUID_7_EBX_RTM;
	all->leaf7_edx &= cpu->leaf7_edx;
	all->leaf7_2_edx &= cpu->leaf7_2_edx;
}

void flaws_decide(const struct flaw_facts *facts, struct flaw_plan *out)
{
	*out = (struct flaw_plan){ 0 };
	for (size_t i = 0; i < ARRAY_COUNT(flaws); i++) {
		if (flaws[i].has(facts)) {
			(void)flaws[i].mitigate(facts, out);
		}
	}
}

void flaws_tell(const struct flaw_facts *facts,
		void (*print)(void *context, const char *name, bool open, const char *what),
		void *context)
{
	struct flaw_plan plan;

	flaws_decide(facts, &plan);
	for (size_t i = 0; i < ARRAY_COUNT(flaws); i++) {
		if (flaws[i].has(facts)) {
			bool done = flaws[i].mitigate(facts, &plan);

			print(context, flaws[i].name, !done,
			      done ? flaws[i].done : flaws[i].missing);
		}
	}
}
