/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a CPU's VMX capabilities are evaluated: messages for what is missing, and the controls for
 * this CPU. The rows are capability MSRs of real and emulated machines.
 */
#include "tests/unit/test.h"
#include "crypto/tme.h"
#include "ept/ept.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/base/x86.h"
#include "vmm/vmcs.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"

#define HIGH(v) ((uint64_t)(v) << 32)

static struct ept_caps told;

void ept_configure(const struct ept_caps *caps)
{
	told = *caps;
}

int vmcs_init(void)
{
	return 0;
}

struct machine {
	const char *name;
	uint32_t pin, cpu, cpu2, exit, entry; /* bits that may be 1 */
	uint64_t basic, misc, ept;
	const char *missing; /* NULL: Umbra runs */
	bool delivery, apic_accesses, timer, xsaves;
};

#define BASIC_TRUE 0xd8100000000000

static const struct machine machines[] = {
	{ "broadwell", 0x7f, 0xfff9fffe, 0x00057fff, 0x407fffff, 0xffff, BASIC_TRUE | 0x2b,
	  0x200401e0, 0xf0106334141, NULL, true, true, true, false },
	{ "skylake", 0xff, 0xfff9fffe, 0x02577fff, 0x407fffff, 0xffff, BASIC_TRUE | 0x2b,
	  0x600401e0, 0xf0106734141, NULL, true, true, true, true },
	{ "sapphire rapids", 0xff, 0xfff9fffe, 0xc2577fff, 0x407fffff, 0xffff, BASIC_TRUE | 0x2b,
	  0x600401e0, 0xf0106734141, NULL, true, true, true, true },
	{ "nested on broadwell", 0x7f, 0xfff9fffe, 0x00037bff, 0x007fffff, 0xf3ff,
	  BASIC_TRUE | 0x11e57ed0, 0x20000165, 0xf0106334041, NULL, true, true, true, false },
	{ "without APICv", 0x7f, 0xfff9fffe, 0x000000ff, 0x407fffff, 0xffff, BASIC_TRUE, 0x1e0,
	  0xf0106114141, NULL, false, true, true, false },
	{ "without TPR shadow", 0x7f, 0xffd9fffe, 0x00057fff, 0x407fffff, 0xffff, BASIC_TRUE, 0x1e0,
	  0xf0106334141, NULL, false, true, true, false },
	{ "without preemption timer", 0x3f, 0xfff9fffe, 0x000000ff, 0x407fffff, 0xffff, BASIC_TRUE,
	  0x1e0, 0xf0106114141, NULL, false, true, false, false },
	{ "without monitor trap flag", 0x7f, 0xf7f9fffe, 0x00057fff, 0x407fffff, 0xffff,
	  BASIC_TRUE | 0x2b, 0x200401e0, 0xf0106334141, NULL, true, true, true, false },
	{ "delivery without x2APIC mode", 0x7f, 0xfff9fffe, 0x000003ef, 0x407fffff, 0xffff,
	  BASIC_TRUE, 0x1e0, 0xf0106114141, NULL, false, true, true, false },
	{ "lynnfield", 0x7f, 0xfff9fffe, 0x0000006f, 0x407fffff, 0xffff, BASIC_TRUE, 0x1e0,
	  0xf0106114141, "unrestricted guest", false, false, false, false },
	{ "without EPT", 0x7f, 0xfff9fffe, 0x00000041, 0x407fffff, 0xffff, BASIC_TRUE, 0x1e0, 0,
	  "EPT (extended page tables)", false, false, false, false },
	{ "first VMX", 0x1f, 0x77b9fffe, 0, 0x3edff, 0x11ff, 0x1a040000000007, 0x403c0, 0,
	  "secondary processor-based controls", false, false, false, false },
	{ "tables uncacheable", 0x7f, 0xfff9fffe, 0x000000ff, 0x407fffff, 0xffff, BASIC_TRUE, 0x1e0,
	  0xf0106110141, "write-back", false, false, false, false },
	{ "without INVEPT", 0x7f, 0xfff9fffe, 0x000000ff, 0x407fffff, 0xffff, BASIC_TRUE, 0x1e0,
	  0xf0100014141, "INVEPT", false, false, false, false },
	{ "without EFER switching", 0x7f, 0xfff9fffe, 0x000000ff, 0x0003ffff, 0x3fff, BASIC_TRUE,
	  0x1e0, 0xf0106114141, "loading of IA32_EFER", false, false, false, false },
	{ "without virtual NMIs", 0x5f, 0xfff9fffe, 0x000000ff, 0x407fffff, 0xffff, BASIC_TRUE,
	  0x1e0, 0xf0106114141, "virtual NMIs", false, false, false, false },
};

/* The default-1 classes as every CPU has them; the TRUE_* registers allow CR3 exits to be off. */
static void set_machine(const struct machine *m)
{
	fake_reset();
	fake_cpuid_set(0, 0, 0x16, 0, 0, 0);
	fake_cpuid_set(1, 0, 0x306d4, 0, CPUID_1_ECX_VMX | CPUID_1_ECX_XSAVE, 0);
	fake_cpuid_set(0xd, 0, 7, 0, 0, 0);
	fake_cpuid_set(0xd, 1, 0xf, 0, 0, 0);
	fake_cpuid_set(0xd, 2, 256, 576, 0, 0);
	fake_cpuid_set(0x80000000, 0, 0x80000008, 0, 0, 0);
	fake_cpuid_set(0x80000008, 0, 0x3028, 0, 0, 0);
	fake_tme.tdx_bits = 2;
	fake_msr_set(MSR_IA32_FEATURE_CONTROL, 0);
	fake_msr_set(MSR_IA32_VMX_BASIC, m->basic);
	fake_msr_set(MSR_IA32_VMX_MISC, m->misc);
	fake_msr_set(MSR_IA32_VMX_PINBASED_CTLS, HIGH(m->pin) | 0x16);
	fake_msr_set(MSR_IA32_VMX_TRUE_PINBASED_CTLS, HIGH(m->pin) | 0x16);
	fake_msr_set(MSR_IA32_VMX_PROCBASED_CTLS, HIGH(m->cpu) | 0x0401e172);
	fake_msr_set(MSR_IA32_VMX_TRUE_PROCBASED_CTLS, HIGH(m->cpu) | 0x04006172);
	fake_msr_set(MSR_IA32_VMX_EXIT_CTLS, HIGH(m->exit) | 0x36dff);
	fake_msr_set(MSR_IA32_VMX_TRUE_EXIT_CTLS, HIGH(m->exit) | 0x36dfb);
	fake_msr_set(MSR_IA32_VMX_ENTRY_CTLS, HIGH(m->entry) | 0x11ff);
	fake_msr_set(MSR_IA32_VMX_TRUE_ENTRY_CTLS, HIGH(m->entry) | 0x11fb);
	if ((m->cpu & CPU_SECONDARY_CONTROLS) != 0) {
		fake_msr_set(MSR_IA32_VMX_PROCBASED_CTLS2, HIGH(m->cpu2));
		if (m->ept != 0) {
			fake_msr_set(MSR_IA32_VMX_EPT_VPID_CAP, m->ept);
		}
	}
	fake_msr_set(MSR_IA32_VMX_CR0_FIXED0, 0x80000021);
	fake_msr_set(MSR_IA32_VMX_CR0_FIXED1, 0xffffffff);
	fake_msr_set(MSR_IA32_VMX_CR4_FIXED0, 0x2000);
	fake_msr_set(MSR_IA32_VMX_CR4_FIXED1, 0x3727ff);
}

static void start_vmx(void)
{
	vmx_choose(false);
	vmx_init();
}

/*
 * The exact control words, with the SDM's bit numbers (vol. 3, "VM-Execution Control Fields" and
 * following): what Umbra needs, what it uses if available, and what cannot be cleared; nothing
 * else.
 */
#define PIN_WANTED (BIT(0) | BIT(3) | BIT(5) | BIT(6)) /* interrupts, NMIs, virtual NMIs, timer */
#define CPU_WANTED /* TSC offset; HLT, MWAIT, RDPMC; TPR shadow; ports; bitmaps, MONITOR, more */ \
	(BIT(3) | BIT(7) | BIT(10) | BIT(11) | BIT(21) | BIT(24) | BIT(28) | BIT(29) | BIT(31))
#define CPU2_WANTED  0xd01097fbu
#define EXIT_WANTED  (BIT(2) | BIT(9) | BIT(20) | BIT(21)) /* DR7, 64-bit host, EFER twice */
#define ENTRY_WANTED (BIT(2) | BIT(15))			   /* DR7, EFER */

static void check_words(const struct machine *m)
{
	const struct vmx_caps *caps = vmx_caps();
	uint32_t cpu = (CPU_WANTED & m->cpu) | 0x04006172;
	uint32_t cpu2 = CPU2_WANTED & m->cpu2;

	if ((m->cpu & BIT(21)) == 0) {
		cpu |= BIT(19) | BIT(20); /* CR8 exits in place of the shadow */
		cpu2 &= ~(uint32_t)BIT(4);
	}
	if (!m->delivery) {
		cpu2 &= ~(uint32_t)(BIT(8) | BIT(9));
	}
	assert_int_equal(caps->pin, (PIN_WANTED & m->pin) | 0x16);
	assert_int_equal(caps->cpu, cpu);
	assert_int_equal(caps->cpu2, cpu2);
	assert_int_equal(caps->exit, EXIT_WANTED | 0x36dfb);
	assert_int_equal(caps->entry, ENTRY_WANTED | 0x11fb);
}

TEST(test_machines)
{
	for (size_t i = 0; i < ARRAY_COUNT(machines); i++) {
		const struct machine *m = &machines[i];
		const struct vmx_caps *caps = vmx_caps();

		set_machine(m);
		if (vmx_preflight() != (m->missing == NULL)) {
			fail_msg("%s: %s", m->name, fake_log_text());
		}
		if (m->missing != NULL) {
			assert_non_null(strstr(fake_log_text(), m->missing));
			continue;
		}
		assert_string_equal(fake_log_text(), "");
		start_vmx();
		check_words(m);
		assert_int_equal(caps->monitor_trap, (m->cpu & CPU_MONITOR_TRAP_FLAG) != 0);
		assert_int_equal(caps->virtual_delivery, m->delivery);
		assert_int_equal(caps->apic_accesses, m->apic_accesses);
		assert_int_equal(caps->preemption_timer, m->timer);
		assert_int_equal(caps->xsaves, m->xsaves);
		assert_int_equal(told.page_2m, (m->ept & BIT(16)) != 0);
		assert_int_equal(told.page_1g, (m->ept & BIT(17)) != 0);
		assert_int_equal(told.accessed_dirty, (m->ept & BIT(21)) != 0);
		assert_int_equal(told.phys_bits, 38); /* TDX has two bits */
	}
}

/* MOV DR exits if DR0 to DR3 hold a key. A CPU on which it cannot exit never gets one. */
TEST(test_kept_debug_registers)
{
	set_machine(&machines[0]);
	assert_true(vmx_can_keep_debug_registers());
	vmx_choose(true);
	assert_true(vmx_caps()->keeps_debug_registers);
	assert_int_equal(vmx_caps()->cpu & CPU_MOV_DR_EXITING, CPU_MOV_DR_EXITING);
	vmx_choose(false);
	assert_false(vmx_caps()->keeps_debug_registers);
	assert_int_equal(vmx_caps()->cpu & CPU_MOV_DR_EXITING, 0);
	fake_msr_set(MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
		     HIGH(machines[0].cpu & ~(uint32_t)CPU_MOV_DR_EXITING) | 0x04006172);
	assert_false(vmx_can_keep_debug_registers());
}

TEST(test_no_vmx)
{
	set_machine(&machines[0]);
	fake_cpuid_set(1, 0, 0x306d4, 0, 0, 0);
	assert_false(vmx_preflight());
	assert_non_null(strstr(fake_log_text(), "no VMX"));
}

/* IA32_FEATURE_CONTROL: open, locked on, locked off, on for SMX alone. */
static const struct {
	uint64_t value;
	bool ok;
	uint64_t after;
} locks[] = {
	{ 0, true, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX },
	{ BIT(20), true, BIT(20) | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX },
	{ 0x100005, true, 0x100005 },
	{ FEATURE_CONTROL_LOCK, false, FEATURE_CONTROL_LOCK },
	{ FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_SMX, false,
	  FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_SMX },
};

TEST(test_feature_control)
{
	for (size_t i = 0; i < ARRAY_COUNT(locks); i++) {
		set_machine(&machines[0]);
		start_vmx();
		fake_msr_set(MSR_IA32_FEATURE_CONTROL, locks[i].value);
		fake_cr4 = BIT(14); /* which CR4_FIXED1 says must be 0 */
		assert_int_equal(vmx_preflight(), locks[i].ok);
		assert_int_equal(vmx_start_all(), locks[i].ok ? 0 : ERR_UNSUPPORTED);
		assert_int_equal(fake_msr_get(MSR_IA32_FEATURE_CONTROL), locks[i].after);
		if (locks[i].ok) {
			assert_int_equal(fake_cr4, CR4_VMXE);
			assert_int_equal(fake_cr0 & 0x80000021, 0x80000021);
			assert_non_null(percpu_self()->vmxon_region);
			assert_int_equal(*(uint32_t *)percpu_self()->vmxon_region, 0x2b);
			assert_ptr_equal(fake_at_end, vmx_stop_this_cpu);
			vmx_stop_this_cpu();
			assert_int_equal(fake_cr4 & CR4_VMXE, 0);
			assert_null(percpu_self()->vmxon_region);
		} else {
			assert_null(percpu_self()->vmxon_region);
			assert_non_null(strstr(fake_log_text(), "firmware set-up"));
		}
	}
}

/* Guests see IA32_XSS = 0 and can write no other value, so firmware's value must not stay. */
TEST(test_no_supervisor_states)
{
	set_machine(&machines[1]); /* has XSAVES */
	fake_msr_set(MSR_IA32_XSS, BIT(8));
	start_vmx();
	assert_int_equal(vmx_start_all(), 0);
	assert_int_equal(fake_msr_get(MSR_IA32_XSS), 0);
	vmx_stop_this_cpu();
}

/* A feature with an erratum is not used. */
TEST(test_errata)
{
	static const struct {
		uint32_t signature;
		bool timer, accessed_dirty;
	} cpus
		[] = {
			{ 0x306d4, true, true }, /* Broadwell */
			{ 0x20652, false, true },    { 0x20655, false, true },
			{ 0x206e6, false, true },    { 0x306a8, false, true },
			{ 0x306a9, true, true }, /* Ivy Bridge in most versions */
			{ 0x406d8, true, false },    { 0x23306a8, true, true }, /* another family */
			{ 0x50020655, false, true }, /* reserved bits do not count */
		};

	for (size_t i = 0; i < ARRAY_COUNT(cpus); i++) {
		set_machine(&machines[0]);
		fake_cpuid_set(1, 0, cpus[i].signature, 0, CPUID_1_ECX_VMX | CPUID_1_ECX_XSAVE, 0);
		start_vmx();
		assert_int_equal(vmx_caps()->preemption_timer, cpus[i].timer);
		assert_int_equal((vmx_caps()->pin & PIN_PREEMPTION_TIMER) != 0, cpus[i].timer);
		assert_int_equal(told.accessed_dirty, cpus[i].accessed_dirty);
	}
}

/* A CPU's description of its flaws (SDM, IA32_ARCH_CAPABILITIES), and what is done about them. */
#define ALL_FLAW_BITS                                                        \
	(CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_L1D_FLUSH | \
	 CPUID_7_EDX_MD_CLEAR | CPUID_7_EDX_ARCH_CAPS)

static const struct {
	const char *name;
	uint32_t edx, ebx;
	uint64_t facts;
	uint8_t flush;
	bool ibpb, spec_ctrl;
} flaws[] = {
	{ "before microcode updates", 0, 0, 0, 0, false, false },
	{ "Haswell, updated",
	  CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_L1D_FLUSH | CPUID_7_EDX_MD_CLEAR,
	  0, 0, VMX_FLUSH_L1D | VMX_FLUSH_MDS, true, true },
	{ "L1D flush by the hypervisor below", CPUID_7_EDX_L1D_FLUSH | CPUID_7_EDX_ARCH_CAPS, 0,
	  BIT(3), 0, false, false },
	{ "Cascade Lake", ALL_FLAW_BITS, CPUID_7_EBX_RTM, BIT(0) | BIT(1) | BIT(3) | BIT(5),
	  VMX_FLUSH_MDS, true, true },
	{ "the same, TSX fused off", ALL_FLAW_BITS, 0, BIT(0) | BIT(1) | BIT(3) | BIT(5), 0, true,
	  true },
	{ "Ice Lake", ALL_FLAW_BITS, CPUID_7_EBX_RTM,
	  BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(8), 0, true, true },
	{ "Gracemont", ALL_FLAW_BITS, 0, BIT(0) | BIT(5) | BIT(28), VMX_FLUSH_MDS, true, true },
	{ "IBRS alone", CPUID_7_EDX_IBRS_IBPB, 0, 0, 0, true, true },
	{ "STIBP alone", CPUID_7_EDX_STIBP, 0, 0, 0, false, true },
	{ "SSBD alone", CPUID_7_EDX_SSBD, 0, 0, 0, false, true },
};

static void warned(bool wanted)
{
	const char *warning = "warning: CPU: L1TF: this flaw is not mitigated, because the CPU or "
			      "its microcode lacks L1D_FLUSH.";

	assert_int_equal(strstr(fake_log_text(), warning) != NULL, wanted);
}

TEST(test_flaws)
{
	for (size_t i = 0; i < ARRAY_COUNT(flaws); i++) {
		const struct vmx_caps *caps = vmx_caps();

		set_machine(&machines[0]);
		fake_cpuid_set(7, 0, 0, flaws[i].ebx, 0, flaws[i].edx);
		if ((flaws[i].edx & CPUID_7_EDX_ARCH_CAPS) != 0) {
			fake_msr_set(MSR_IA32_ARCH_CAPABILITIES, flaws[i].facts);
		}
		start_vmx();
		if (caps->entry_flush != flaws[i].flush || caps->ibpb != flaws[i].ibpb ||
		    caps->spec_ctrl != flaws[i].spec_ctrl ||
		    told.no_large_exec != ((flaws[i].facts & BIT(6)) == 0)) {
			fail_msg("%s: flushes %#x, IBPB %d, SPEC_CTRL %d", flaws[i].name,
				 caps->entry_flush, caps->ibpb, caps->spec_ctrl);
		}
		warned(i == 0 || i >= ARRAY_COUNT(flaws) - 3);
	}
}
