/* SPDX-License-Identifier: Apache-2.0 */
/* What CPUID shows a guest on a processor that claims to have every feature. */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define ALL    0xffffffffu
#define AVX512 (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)
#define ALL_CONTROLS \
	(CPU2_ENABLE_INVPCID | CPU2_ENABLE_RDTSCP | CPU2_ENABLE_XSAVES | CPU2_ENABLE_EPT)

enum { EAX, EBX, ECX, EDX };

static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_private priv;
static uint32_t hook_leaf;

static void hook(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	hook_leaf = leaf;
}

static const struct vm_hooks hooks = { .cpuid = hook };

/* The SDM's example of an XSAVE layout: component, size, offset. */
static const struct {
	uint32_t component, bytes, offset, flags;
} components[] = {
	{ 2, 256, 576, 0 }, { 3, 64, 960, 0 },	 { 4, 64, 1024, 0 },
	{ 5, 64, 1088, 0 }, { 6, 512, 1152, 0 }, { 7, 1024, 1664, 0 },
	{ 9, 8, 2688, 0 },  { 17, 64, 2752, 0 }, { 18, 8192, 2816, 2 },
};

static int start(void **state)
{
	fake_setup(state);
	fake_ept_caps.phys_bits = 0xfc; /* three bits less than CPUID says */
	for (uint32_t leaf = 0; leaf <= 0x20; leaf++) {
		for (uint32_t sub = 0; sub < 3; sub++) {
			fake_cpuid_set(leaf, sub, ALL, ALL, ALL, ALL);
		}
	}
	for (uint32_t leaf = 0x80000000; leaf <= 0x80000008; leaf++) {
		fake_cpuid_set(leaf, 0, ALL, ALL, ALL, ALL);
	}
	for (size_t i = 0; i < ARRAY_COUNT(components); i++) {
		fake_cpuid_set(0xd, components[i].component, components[i].bytes,
			       components[i].offset, components[i].flags, 0);
	}
	fake_caps = (struct vmx_caps){
		.cpu2 = ALL_CONTROLS,
		.max_basic_leaf = 0x20,
		.guest_xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX | AVX512,
		.guest_cr4 = CR4_UMIP,
		.xsave_bytes = 2688,
		.xsaves = true,
	};
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&priv, 0, sizeof(priv));
	vm.hooks = &hooks;
	vcpu.vm = &vm;
	vcpu.priv = &priv;
	priv.xcr0 = XCR0_X87;
	vmwrite(VMCS_GUEST_CR4, 0);
	vmwrite(VMCS_GUEST_EFER, EFER_LMA);
	vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, SEG_AR_L);
	return 0;
}

static void ask(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	vcpu.regs.gpr[GPR_RAX] = leaf | 0xdead00000000;
	vcpu.regs.gpr[GPR_RCX] = subleaf | 0xdead00000000;
	vcpu.regs.gpr[GPR_RBX] = vcpu.regs.gpr[GPR_RDX] = UINT64_MAX;
	assert_int_equal(exit_cpuid(&vcpu), EXIT_NEXT_INSN);
	assert_int_equal(hook_leaf, leaf);
	assert_int_equal(vcpu.regs.gpr[GPR_RAX] >> 32, 0);
	assert_int_equal(vcpu.regs.gpr[GPR_RBX] >> 32, 0);
	regs[EAX] = (uint32_t)vcpu.regs.gpr[GPR_RAX];
	regs[EBX] = (uint32_t)vcpu.regs.gpr[GPR_RBX];
	regs[ECX] = (uint32_t)vcpu.regs.gpr[GPR_RCX];
	regs[EDX] = (uint32_t)vcpu.regs.gpr[GPR_RDX];
}

/* Bits that must be 0, and bits that must be 1. */
static const struct {
	uint32_t leaf, subleaf;
	unsigned reg;
	uint64_t hidden, shown;
} bits[] = {
	{ 1, 0, ECX,
	  CPUID_1_ECX_VMX | CPUID_1_ECX_SMX | CPUID_1_ECX_MONITOR | CPUID_1_ECX_EST |
		  CPUID_1_ECX_TM2 | CPUID_1_ECX_PDCM | CPUID_1_ECX_DCA | CPUID_1_ECX_OSXSAVE |
		  CPUID_1_ECX_DTES64 | CPUID_1_ECX_DS_CPL | CPUID_1_ECX_SDBG,
	  CPUID_1_ECX_HYPERVISOR | CPUID_1_ECX_XSAVE | CPUID_1_ECX_AVX | CPUID_1_ECX_PCID |
		  CPUID_1_ECX_RDRAND | CPUID_1_ECX_CX16 },
	{ 1, 0, EDX,
	  CPUID_1_EDX_DS | CPUID_1_EDX_ACPI | CPUID_1_EDX_TM | CPUID_1_EDX_PBE | BIT(18) | BIT(10),
	  CPUID_1_EDX_FPU | CPUID_1_EDX_APIC | CPUID_1_EDX_MTRR | CPUID_1_EDX_PAT },
	{ 5, 0, EAX, ALL, 0 },
	{ 7, 0, EAX, ALL, 0 },
	{ 7, 0, EBX,
	  CPUID_7_EBX_SGX | CPUID_7_EBX_HLE | CPUID_7_EBX_RTM | CPUID_7_EBX_PQM | CPUID_7_EBX_MPX |
		  CPUID_7_EBX_PQE | CPUID_7_EBX_PT,
	  CPUID_7_EBX_SMEP | CPUID_7_EBX_SMAP | CPUID_7_EBX_AVX512F | CPUID_7_EBX_INVPCID |
		  CPUID_7_EBX_TSC_ADJUST },
	{ 7, 0, ECX,
	  CPUID_7_ECX_PKU | CPUID_7_ECX_OSPKE | CPUID_7_ECX_WAITPKG | CPUID_7_ECX_CET_SS |
		  CPUID_7_ECX_TME | CPUID_7_ECX_LA57 | CPUID_7_ECX_KL | CPUID_7_ECX_ENQCMD |
		  CPUID_7_ECX_SGX_LC | CPUID_7_ECX_PKS | BIT(24),
	  CPUID_7_ECX_VAES | CPUID_7_ECX_UMIP | CPUID_7_ECX_RDPID },
	{ 7, 0, EDX,
	  CPUID_7_EDX_UINTR | CPUID_7_EDX_HYBRID | CPUID_7_EDX_PCONFIG | CPUID_7_EDX_ARCH_LBR |
		  CPUID_7_EDX_CET_IBT | CPUID_7_EDX_AMX_BF16 | CPUID_7_EDX_AMX_TILE |
		  CPUID_7_EDX_AMX_INT8 | CPUID_7_EDX_CORE_CAPS | BIT(11) | BIT(13),
	  CPUID_7_EDX_FSRM | CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_SSBD | CPUID_7_EDX_ARCH_CAPS },
	{ 7, 1, EAX, ALL, 0 }, /* LAM, FRED, LASS, LKGS ... */
	{ 7, 2, EDX, ALL, 0 },
	{ 0xa, 0, EAX, ALL, 0 },
	{ 0x12, 0, EAX, ALL, 0 },
	{ 0x14, 0, EBX, ALL, 0 },
	{ 0x17, 0, EAX, ALL, 0 },
	{ 0x1b, 0, EAX, ALL, 0 },
	{ 0x1d, 1, EAX, ALL, 0 },
	{ 0x40000000, 0, EBX, ALL, 0 },
	{ 0x80000001, 0, EDX, 0, CPUID_80000001_EDX_NX | CPUID_80000001_EDX_SYSCALL },
	{ 0x80000001, 0, ECX, BIT(2), CPUID_80000001_ECX_LAHF }, /* SVM */
	{ 0x80000007, 0, EDX, ALL & ~CPUID_80000007_EDX_INVARIANT_TSC,
	  CPUID_80000007_EDX_INVARIANT_TSC },
	{ 0x80000008, 0, EAX, 0xffff0003, 0xfffc },
	{ 0x80000008, 0, EBX, ALL, 0 },
	{ 0x8000001f, 0, EAX, ALL, 0 },
	{ 0xd, 0, EAX, XCR0_BNDREGS | XCR0_BNDCSR | XCR0_PKRU | XCR0_TILECFG | XCR0_TILEDATA,
	  XCR0_X87 | XCR0_SSE | XCR0_AVX | AVX512 },
	{ 0xd, 1, EAX, BIT(4), 0xf },
	{ 0xd, 1, ECX, ALL, 0 },
	{ 0xd, 9, EAX, ALL, 0 },
	{ 0xd, 18, EAX, ALL, 0 },
	{ 0xd, 63, EAX, ALL, 0 },
	{ 0xd, 64, EAX, ALL, 0 },
};

TEST(test_bits, start, fake_teardown)
{
	uint32_t regs[4];

	for (size_t i = 0; i < ARRAY_COUNT(bits); i++) {
		ask(bits[i].leaf, bits[i].subleaf, regs);
		if ((regs[bits[i].reg] & bits[i].hidden) != 0 ||
		    (regs[bits[i].reg] & bits[i].shown) != (uint32_t)bits[i].shown) {
			fail_msg("leaf %#x.%u register %u is %#x", bits[i].leaf, bits[i].subleaf,
				 bits[i].reg, regs[bits[i].reg]);
		}
	}
}

TEST(test_max_leaves, start, fake_teardown)
{
	uint32_t regs[4];

	ask(0, 0, regs);
	assert_int_equal(regs[EAX], 0x16);
	ask(0x80000000, 0, regs);
	assert_int_equal(regs[EAX], 0x80000008);
	/* A CPU without the leaf returns its last leaf; the guest must not see that. */
	fake_caps.max_basic_leaf = 4;
	ask(7, 0, regs);
	assert_int_equal(regs[EBX], 0);
}

TEST(test_osxsave_follows_cr4, start, fake_teardown)
{
	uint32_t regs[4];

	vmwrite(VMCS_GUEST_CR4, CR4_OSXSAVE);
	ask(1, 0, regs);
	assert_true((regs[ECX] & CPUID_1_ECX_OSXSAVE) != 0);
}

/* Features that need a VM-execution control are hidden without it. */
TEST(test_controls_missing, start, fake_teardown)
{
	uint32_t regs[4];

	fake_caps.cpu2 = CPU2_ENABLE_EPT;
	fake_caps.xsaves = false;
	fake_caps.guest_cr4 = 0;
	ask(7, 0, regs);
	assert_int_equal(regs[EBX] & CPUID_7_EBX_INVPCID, 0);
	assert_int_equal(regs[ECX] & (CPUID_7_ECX_RDPID | CPUID_7_ECX_UMIP), 0);
	ask(0x80000001, 0, regs);
	assert_int_equal(regs[EDX] & CPUID_80000001_EDX_RDTSCP, 0);
	ask(0xd, 1, regs);
	assert_int_equal(regs[EAX],
			 CPUID_D_1_EAX_XSAVEOPT | CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XGETBV1);
}

TEST(test_no_xsave, start, fake_teardown)
{
	uint32_t regs[4];

	fake_caps.guest_xcr0 = 0;
	for (uint32_t sub = 0; sub < 3; sub++) {
		ask(0xd, sub, regs);
		assert_int_equal(regs[EAX] | regs[EBX] | regs[ECX] | regs[EDX], 0);
	}
}

/* Sizes for the present value of XCR0: standard format, and compacted. */
static const struct {
	uint64_t xcr0;
	uint32_t standard, compacted;
} sizes[] = {
	{ XCR0_X87, 576, 576 },
	{ XCR0_X87 | XCR0_SSE, 576, 576 },
	{ XCR0_X87 | XCR0_SSE | XCR0_AVX, 832, 832 },
	{ XCR0_X87 | XCR0_SSE | XCR0_AVX | AVX512, 2688, 576 + 256 + 64 + 512 + 1024 },
};

TEST(test_xsave_sizes, start, fake_teardown)
{
	uint32_t regs[4];

	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		priv.xcr0 = sizes[i].xcr0;
		ask(0xd, 0, regs);
		assert_int_equal(regs[EBX], sizes[i].standard);
		assert_int_equal(regs[ECX], 2688);
		ask(0xd, 1, regs);
		assert_int_equal(regs[EBX], sizes[i].compacted);
	}
}

TEST(test_syscall_in_compatibility_mode, start, fake_teardown)
{
	uint32_t regs[4];

	vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, 0);
	ask(0x80000001, 0, regs);
	assert_int_equal(regs[EDX] & CPUID_80000001_EDX_SYSCALL, 0);
}
