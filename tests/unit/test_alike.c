/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/alike.c and the functions of vmm/vmx.c that it uses: CPUs that differ from the boot
 * processor. The fake machine has one CPU at a time: first it has the boot processor's registers,
 * then another CPU's.
 */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "ept/ept.h"
#include "vmm/alike.h"
#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmcs.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"

#define HIGH(v) ((uint64_t)(v) << 32)

#define BASIC	  0xd810000000002b
#define CAPS_GOOD (BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(27)) /* RFDS_NO last */

void ept_configure(const struct ept_caps *caps)
{
	fake_ept_caps = *caps;
}

int vmcs_init(void)
{
	return 0;
}

/* The registers of a CPU of this machine: of Ice Lake, as far as they matter. */
static void set_cpu(void)
{
	fake_cpuid_set(0, 0, 0x16, 0, 0, 0);
	fake_cpuid_set(1, 0, 0x706e5, 0x100800, 0x7ffafbff, 0xbfebfbff);
	fake_cpuid_set(7, 0, 2, 0xf2bf67eb, 0x40417f5e, 0xbc000410);
	fake_cpuid_set(7, 2, 0, 0, 0, 0x14);
	fake_cpuid_set(0xd, 0, 0x2e7, 0, 0, 0);
	fake_cpuid_set(0xd, 1, 0xf, 0, 0, 0);
	fake_cpuid_set(0xd, 2, 256, 576, 0, 0);
	fake_cpuid_set(0x80000000, 0, 0x80000008, 0, 0, 0);
	fake_cpuid_set(0x80000001, 0, 0, 0, 0x121, 0x2c100800);
	fake_cpuid_set(0x80000008, 0, 0x3027, 0, 0, 0);
	fake_msr_set(MSR_IA32_ARCH_CAPABILITIES, CAPS_GOOD);
	fake_msr_set(MSR_IA32_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
	fake_msr_set(MSR_IA32_VMX_BASIC, BASIC);
	fake_msr_set(MSR_IA32_VMX_MISC, 0x600401e0 | 5);
	fake_msr_set(MSR_IA32_VMX_TRUE_PINBASED_CTLS, HIGH(0xff) | 0x16);
	fake_msr_set(MSR_IA32_VMX_TRUE_PROCBASED_CTLS, HIGH(0xfff9fffe) | 0x04006172);
	fake_msr_set(MSR_IA32_VMX_TRUE_EXIT_CTLS, HIGH(0x407fffff) | 0x36dfb);
	fake_msr_set(MSR_IA32_VMX_TRUE_ENTRY_CTLS, HIGH(0xffff) | 0x11fb);
	fake_msr_set(MSR_IA32_VMX_PROCBASED_CTLS2, HIGH(0x02577fff));
	fake_msr_set(MSR_IA32_VMX_EPT_VPID_CAP, 0xf0106734141);
	fake_msr_set(MSR_IA32_VMX_CR0_FIXED0, 0x80000021);
	fake_msr_set(MSR_IA32_VMX_CR0_FIXED1, 0xffffffff);
	fake_msr_set(MSR_IA32_VMX_CR4_FIXED0, 0x2000);
	fake_msr_set(MSR_IA32_VMX_CR4_FIXED1, 0x3727ff);
}

static int start(void **state)
{
	fake_setup(state);
	set_cpu();
	vmx_choose(false);
	return 0;
}

TEST(test_equal, start)
{
	char why[160] = "";

	assert_true(alike_check(why, sizeof(why)));
	/*
	 * Differences that do no harm: APIC ID, CR4.OSXSAVE, stepping, and bits that Umbra does not
	 * use.
	 */
	fake_cpuid_set(1, 0, 0x706e2, 0x3100800, 0x77fafbff, 0xbfebfbff);
	fake_msr_set(MSR_IA32_VMX_MISC, 0x400001e0 | 5);
	assert_true(alike_check(why, sizeof(why)));
	assert_string_equal(why, "");
}

enum { EAX, EBX, ECX, EDX, MSR };

/* One register changed by XOR with bits. NULL: the CPU is accepted all the same. */
static const struct {
	uint32_t index, subleaf;
	uint8_t reg;
	uint64_t bits;
	const char *why;
} changes[] = {
	{ 1, 0, EAX, 0x10, "CPUID.1:EAX (model)" },
	{ 1, 0, ECX, CPUID_1_ECX_AESNI, "CPUID.1:ECX is" },
	{ 1, 0, ECX, CPUID_1_ECX_TSC_DEADLINE, "CPUID.1:ECX is" },
	{ 1, 0, ECX, CPUID_1_ECX_VMX, "it has no VMX" },
	{ 1, 0, ECX, BIT(15), NULL }, /* PDCM: hidden from guests */
	{ 1, 0, EDX, CPUID_1_EDX_SSE2, "CPUID.1:EDX is" },
	{ 7, 0, EBX, CPUID_7_EBX_AVX512F, "CPUID.7:EBX is" },
	{ 7, 0, ECX, CPUID_7_ECX_VAES, "CPUID.7:ECX is" },
	/* This CPU has it, the boot processor does not. */
	{ 7, 0, ECX, CPUID_7_ECX_MOVDIR64B, NULL },
	{ 7, 0, EDX, CPUID_7_EDX_IBRS_IBPB, "CPUID.7:EDX is" },
	{ 0xd, 0, EAX, XCR0_AVX, "(XCR0)" },
	{ 0xd, 0, EAX, XCR0_PKRU, NULL },
	{ 0xd, 1, EAX, CPUID_D_1_EAX_XSAVES, "(XSAVE)" },
	{ 0x80000001, 0, ECX, CPUID_80000001_ECX_LZCNT, "CPUID.80000001H:ECX" },
	{ 0x80000001, 0, EDX, CPUID_80000001_EDX_NX, "CPUID.80000001H:EDX" },
	{ 0x80000008, 0, EAX, 1, "(address widths)" },
	{ 0x80000008, 0, EAX, 0x100, "(address widths)" },
	{ MSR_IA32_VMX_BASIC, 0, MSR, 1, "IA32_VMX_BASIC" },
	{ MSR_IA32_VMX_BASIC, 0, MSR, VMX_BASIC_INS_OUTS_INFO, "IA32_VMX_BASIC" },
	{ MSR_IA32_VMX_MISC, 0, MSR, 1, "IA32_VMX_MISC" },
	{ MSR_IA32_VMX_CR0_FIXED0, 0, MSR, BIT(18), "IA32_VMX_CR0_FIXED0" },
	/* The bit may be 0 on the boot processor, and must be 1 here. */
	{ MSR_IA32_VMX_CR0_FIXED0, 0, MSR, BIT(5), NULL },
	{ MSR_IA32_VMX_CR0_FIXED1, 0, MSR, BIT(16), "IA32_VMX_CR0_FIXED1" },
	{ MSR_IA32_VMX_CR4_FIXED0, 0, MSR, BIT(5), "IA32_VMX_CR4_FIXED0" },
	{ MSR_IA32_VMX_CR4_FIXED1, 0, MSR, BIT(20), "IA32_VMX_CR4_FIXED1" },
	{ MSR_IA32_VMX_CR4_FIXED1, 0, MSR, BIT(23), NULL },
	{ MSR_IA32_VMX_EPT_VPID_CAP, 0, MSR, EPT_CAP_1G, "IA32_VMX_EPT_VPID_CAP" },
	{ MSR_IA32_VMX_EPT_VPID_CAP, 0, MSR, EPT_CAP_INVVPID_SINGLE, "IA32_VMX_EPT_VPID_CAP" },
	{ MSR_IA32_VMX_EPT_VPID_CAP, 0, MSR, EPT_CAP_ACCESSED_DIRTY, "no accessed and dirty" },
	{ MSR_IA32_VMX_EPT_VPID_CAP, 0, MSR, EPT_CAP_UC, NULL },
	{ MSR_IA32_VMX_TRUE_PINBASED_CTLS, 0, MSR, HIGH(PIN_PREEMPTION_TIMER),
	  "pin-based controls, bits 0x40 cannot be set" },
	{ MSR_IA32_VMX_TRUE_PINBASED_CTLS, 0, MSR, HIGH(BIT(7)), NULL }, /* posted interrupts */
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, 0, MSR, CPU_CR3_LOAD_EXITING,
	  "processor-based controls, bits 0 cannot be set, bits 0x8000 cannot be cleared" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, 0, MSR, HIGH(CPU_SECONDARY_CONTROLS),
	  "processor-based controls" },
	{ MSR_IA32_VMX_PROCBASED_CTLS2, 0, MSR, HIGH(CPU2_VIRTUAL_INTERRUPT_DELIVERY),
	  "secondary controls, bits 0x200 cannot be set" },
	{ MSR_IA32_VMX_PROCBASED_CTLS2, 0, MSR, HIGH(CPU2_BUS_LOCK_DETECTION), NULL },
	{ MSR_IA32_VMX_TRUE_EXIT_CTLS, 0, MSR, HIGH(EXIT_LOAD_EFER), "exit controls" },
	{ MSR_IA32_VMX_TRUE_ENTRY_CTLS, 0, MSR, HIGH(ENTRY_LOAD_EFER), "entry controls" },
	{ MSR_IA32_FEATURE_CONTROL, 0, MSR, FEATURE_CONTROL_VMX, "VMX is locked off" },
	{ MSR_IA32_FEATURE_CONTROL, 0, MSR, FEATURE_CONTROL_VMX | FEATURE_CONTROL_LOCK, NULL },
};

static void change(size_t i)
{
	if (changes[i].reg == MSR) {
		fake_msr_set(changes[i].index, fake_msr_get(changes[i].index) ^ changes[i].bits);
	} else {
		struct cpuid_regs r = fake_cpuid(changes[i].index, changes[i].subleaf);
		uint32_t *const regs[] = { &r.eax, &r.ebx, &r.ecx, &r.edx };

		*regs[changes[i].reg] ^= (uint32_t)changes[i].bits;
		fake_cpuid_set(changes[i].index, changes[i].subleaf, r.eax, r.ebx, r.ecx, r.edx);
	}
}

TEST(test_differences, start)
{
	for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
		char why[160] = "";

		start(state);
		change(i);
		if (alike_check(why, sizeof(why)) != (changes[i].why == NULL) ||
		    (changes[i].why != NULL && strstr(why, changes[i].why) == NULL)) {
			fail_msg("change %zu: %s", i, why);
		}
	}
}

/* An erratum of another stepping makes a difference in the feature that it takes away. */
TEST(test_erratum, start)
{
	char why[160] = "";

	fake_cpuid_set(1, 0, 0x306a9, 0, 0x7ffafbff, 0xbfebfbff);
	vmx_choose(false);
	assert_true(alike_check(why, sizeof(why)));
	fake_cpuid_set(1, 0, 0x306a8, 0, 0x7ffafbff, 0xbfebfbff);
	assert_false(alike_check(why, sizeof(why)));
	assert_non_null(strstr(why, "bits 0x40 cannot be set"));
}

static void no_platform(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
}

/* What a guest reads in ECX of leaf 7 on the current CPU. */
static uint32_t guest_reads(void)
{
	static const struct vm_hooks hooks = { .cpuid = no_platform };
	static struct vm vm = { .hooks = &hooks };
	static struct vcpu_private priv;
	static struct vcpu vcpu = { .vm = &vm, .priv = &priv };

	memset(&priv, 0, sizeof(priv)); /* forget cached answers */
	vcpu.regs.gpr[GPR_RAX] = 7;
	vcpu.regs.gpr[GPR_RCX] = 0;
	assert_int_equal(exit_cpuid(&vcpu), EXIT_NEXT_INSN);
	return (uint32_t)vcpu.regs.gpr[GPR_RCX];
}

/* Features that only the boot processor lacks are hidden from guests on every path. */
TEST(test_trim, start)
{
	char why[160] = "";
	uint32_t regs[4] = { 1, 0xffffffff, 0xffffffff, 0xffffffff };

	alike_trim(7, 0, regs);
	/* All CPUs are alike so far, so nothing is changed. */
	assert_int_equal(regs[2], 0xffffffff);
	fake_cpuid_set(7, 0, 2, 0xf2bf67eb, 0x40417f5e | CPUID_7_ECX_MOVDIR64B, 0xbc000410);
	assert_true(alike_check(why, sizeof(why)));
	assert_int_equal(guest_reads() & CPUID_7_ECX_MOVDIR64B, 0);
	assert_int_not_equal(guest_reads() & CPUID_7_ECX_VAES, 0);
	alike_trim(7, 0, regs);
	assert_int_equal(regs[2] & CPUID_7_ECX_MOVDIR64B, 0);
	assert_int_not_equal(regs[2] & CPUID_7_ECX_VAES, 0);
	assert_int_equal(regs[0], 1);
	regs[2] = 0xffffffff;
	alike_trim(7, 1, regs);
	alike_trim(6, 0, regs);
	assert_int_equal(regs[2], 0xffffffff);
}

/* Two kinds of cores: one has RFDS, which VERW mitigates, the other MDS. */
TEST(test_flaws, start)
{
	char why[160];

	vmx_init();
	assert_int_equal(vmx_caps()->entry_flush, 0);
	assert_false(fake_ept_caps.no_large_exec);
	fake_msr_set(MSR_IA32_ARCH_CAPABILITIES, (CAPS_GOOD & ~BIT(27)) | BIT(28));
	assert_true(alike_check(why, sizeof(why)));
	fake_msr_set(MSR_IA32_ARCH_CAPABILITIES, CAPS_GOOD & ~BIT(6));
	assert_true(alike_check(why, sizeof(why)));
	vmx_init();
	assert_int_equal(vmx_caps()->entry_flush, VMX_FLUSH_MDS);
	assert_true(fake_ept_caps.no_large_exec);
	assert_int_equal(vmx_caps()->arch_capabilities,
			 (CAPS_GOOD & ~(BIT(6) | BIT(27))) | BIT(28));
	assert_int_equal(alike_flaws()->model, 0x7e);
}
