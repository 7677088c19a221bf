/* SPDX-License-Identifier: Apache-2.0 */
/* What RDMSR and WRMSR of a guest do, and which of them cause exits. */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/attention.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/msr.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define HOOK_VALUE 0x1122334455667788ul

static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_private priv;
static unsigned gps;

void inject_gp(struct vcpu *v)
{
	gps++;
}

static int hook_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = HOOK_VALUE;
	return msr == 0x80e ? ERR_NOTFOUND : 0;
}

static int hook_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	return msr == 0x80e ? ERR_NOTFOUND : 0;
}

static const struct vm_hooks hooks = { .msr_read = hook_read, .msr_write = hook_write };

static int start(void **state)
{
	fake_setup(state);
	memset(&priv, 0, sizeof(priv));
	memset(&vcpu, 0, sizeof(vcpu));
	fake_caps = (struct vmx_caps){
		.cpu2 = CPU2_ENABLE_RDTSCP | CPU2_VIRTUALIZE_X2APIC_MODE,
		.arch_capabilities = UINT64_MAX,
		.has_arch_capabilities = true,
		.virtual_delivery = true,
		.xsaves = true,
		.spec_ctrl = true,
		.ibpb = true,
		.flush_cmd = true,
	};
	fake_msr_set(MSR_IA32_BIOS_SIGN_ID, 0x2f00000000);
	vm.hooks = &hooks;
	vcpu.vm = &vm;
	vcpu.priv = &priv;
	gps = 0;
	msr_reset(&vcpu);
	vmwrite(VMCS_GUEST_EFER, 0);
	vmwrite(VMCS_GUEST_CR0, 0);
	vmwrite(VMCS_GUEST_DEBUGCTL, 0);
	return 0;
}

/* A write with its result, then a read with its result. */
static const struct {
	uint32_t msr;
	uint64_t write;
	int write_err;
	uint64_t read;
	int read_err;
} rows[] = {
	{ MSR_IA32_APIC_BASE, 1, 0, HOOK_VALUE, 0 },
	{ 0x830, 1, 0, HOOK_VALUE, 0 },
	{ 0x80e, 1, ERR_NOTFOUND, 0, ERR_NOTFOUND },
	{ MSR_IA32_TSC_DEADLINE, 1, 0, HOOK_VALUE, 0 },
	{ MSR_IA32_FEATURE_CONTROL, 5, ERR_NOTFOUND, 1, 0 },
	{ MSR_IA32_BIOS_SIGN_ID, 0, 0, 0x2f00000000, 0 },
	{ MSR_PLATFORM_INFO, 0, ERR_NOTFOUND, 0x00000a0000000a00, 0 }, /* 1 GHz by 100 MHz */
	{ MSR_IA32_MISC_ENABLE, 0, 0, MISC_ENABLE_BTS_UNAVAIL | MISC_ENABLE_PEBS_UNAVAIL, 0 },
	{ MSR_IA32_MISC_ENABLE, MISC_ENABLE_LIMIT_CPUID | MISC_ENABLE_XD_DISABLE | 1, 0,
	  MISC_ENABLE_BTS_UNAVAIL | MISC_ENABLE_PEBS_UNAVAIL | 1, 0 },
	{ MSR_IA32_PAT, 0x0007040600070406, 0, 0x0007040600070406, 0 },
	{ MSR_IA32_PAT, 0x0007010600070106, 0, 0x0007010600070106, 0 },
	{ MSR_IA32_PAT, 0x0007040600070402, ERR_NOTFOUND, 0x0007040600070406, 0 },
	{ MSR_IA32_PAT, 0x0807040600070406, ERR_NOTFOUND, 0x0007040600070406, 0 },
	{ MSR_IA32_MTRRCAP, 0, ERR_NOTFOUND, 0x508, 0 },
	{ MSR_IA32_MTRR_DEF_TYPE, 0xc00, 0, 0xc00, 0 },
	{ MSR_IA32_MTRR_DEF_TYPE, 0xc07, ERR_NOTFOUND, 0x806, 0 },
	{ MSR_IA32_MTRR_DEF_TYPE, 0x1c06, ERR_NOTFOUND, 0x806, 0 },
	{ 0x20f, 0xfc0000800, 0, 0xfc0000800, 0 },
	{ 0x210, 0, ERR_NOTFOUND, 0, ERR_NOTFOUND },
	{ 0x250, 0x0505050505050505, 0, 0x0505050505050505, 0 },
	{ 0x26f, 0x0707070707070707, ERR_NOTFOUND, 0x0606060606060606, 0 },
	{ MSR_IA32_MCG_CAP, 0, ERR_NOTFOUND, 0, 0 },
	{ MSR_IA32_MCG_STATUS, 4, ERR_NOTFOUND, 0, 0 },
	{ MSR_IA32_DEBUGCTL, 2, 0, 2, 0 },
	{ MSR_IA32_DEBUGCTL, 1, ERR_NOTFOUND, 0, 0 },
	{ MSR_IA32_XSS, 0, 0, 0, 0 },
	{ MSR_IA32_XSS, BIT(11), ERR_NOTFOUND, 0, 0 },
	{ MSR_IA32_TSC_ADJUST, 77, 0, 77, 0 },
	{ MSR_IA32_TME_ACTIVATE, 0, ERR_NOTFOUND, 0, ERR_NOTFOUND },
	{ MSR_IA32_VMX_BASIC, 0, ERR_NOTFOUND, 0, ERR_NOTFOUND },
	{ 0x570 /* IA32_RTIT_CTL */, 0, ERR_NOTFOUND, 0, ERR_NOTFOUND },
	{ 0xc1, 0, ERR_NOTFOUND, 0, ERR_NOTFOUND },
	{ 0xffffffff, 0, ERR_NOTFOUND, 0, ERR_NOTFOUND },
};

TEST(test_rows, start, fake_teardown)
{
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint64_t value = 0;

		msr_reset(&vcpu);
		vmwrite(VMCS_GUEST_DEBUGCTL, 0);
		if (msr_guest_write(&vcpu, rows[i].msr, rows[i].write) != rows[i].write_err ||
		    msr_guest_read(&vcpu, rows[i].msr, &value) != rows[i].read_err ||
		    (rows[i].read_err == 0 && value != rows[i].read)) {
			fail_msg("row %zu: MSR %#x reads %#lx", i, rows[i].msr, value);
		}
	}
}

/* All MSRs that are answered: by the table, or by the platform's hooks (x2APIC, for example). */
static const uint32_t answered[][2] = {
	{ 0x17, 0x17 },	  { 0x1b, 0x1b },   { 0x3a, 0x3b },   { 0x8b, 0x8b },	{ 0xce, 0xce },
	{ 0xfe, 0xfe },	  { 0x10a, 0x10a }, { 0x179, 0x17a }, { 0x1a0, 0x1a0 }, { 0x1d9, 0x1d9 },
	{ 0x200, 0x20f }, { 0x250, 0x250 }, { 0x258, 0x259 }, { 0x268, 0x26f }, { 0x277, 0x277 },
	{ 0x2ff, 0x2ff }, { 0x6e0, 0x6e0 }, { 0xda0, 0xda0 },
};

static bool is_answered(uint32_t msr)
{
	for (size_t i = 0; i < ARRAY_COUNT(answered); i++) {
		if (msr >= answered[i][0] && msr <= answered[i][1]) {
			return true;
		}
	}
	return false;
}

/* No other MSR is answered, in both architectural ranges and in the range that hypervisors use. */
TEST(test_no_other_is_answered, start, fake_teardown)
{
	static const uint32_t ranges[][2] = { { 0, 0x1fff },
					      { 0x40000000, 0x400001ff },
					      { 0x4b564d00, 0x4b564d0f },
					      { 0xc0000000, 0xc0001fff },
					      { 0xc0010000, 0xc00101ff } };

	fake_caps.has_arch_capabilities = fake_caps.xsaves = true;
	for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
		for (uint32_t msr = ranges[i][0]; msr <= ranges[i][1]; msr++) {
			uint64_t value;

			if (msr >= MSR_IA32_X2APIC_FIRST && msr <= MSR_IA32_X2APIC_LAST) {
				continue;
			}
			if ((msr_guest_read(&vcpu, msr, &value) == 0) != is_answered(msr)) {
				fail_msg("MSR %#x is %s", msr,
					 is_answered(msr) ? "gone" : "answered");
			}
		}
	}
}

/* Each has its own value. */
TEST(test_fixed_mtrrs, start, fake_teardown)
{
	static const uint32_t msrs[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
					 0x26b, 0x26c, 0x26d, 0x26e, 0x26f };
	static const uint8_t types[] = { 0, 1, 4, 5, 6 };
	uint64_t value;

	for (size_t i = 0; i < ARRAY_COUNT(msrs); i++) {
		value = types[i % 5] | (uint64_t)types[i / 5] << 56;
		assert_int_equal(msr_guest_write(&vcpu, msrs[i], value), 0);
	}
	for (size_t i = 0; i < ARRAY_COUNT(msrs); i++) {
		assert_int_equal(msr_guest_read(&vcpu, msrs[i], &value), 0);
		assert_int_equal(value, types[i % 5] | (uint64_t)types[i / 5] << 56);
	}
}

static const struct {
	uint64_t old, write;
	bool paging;
	int err;
	uint64_t expect;
} efers[] = {
	{ 0, EFER_LME | EFER_NXE | EFER_SCE, false, 0, EFER_LME | EFER_NXE | EFER_SCE },
	{ EFER_LME | EFER_LMA, EFER_LME | EFER_NXE, true, 0, EFER_LME | EFER_LMA | EFER_NXE },
	{ EFER_LME | EFER_LMA, 0, true, ERR_NOTFOUND, EFER_LME | EFER_LMA },
	{ 0, EFER_LME, true, ERR_NOTFOUND, 0 },
	{ EFER_LME, 0, false, 0, 0 },
	{ 0, EFER_LMA, false, 0, 0 },		/* a guest cannot set LMA */
	{ 0, BIT(12), false, ERR_NOTFOUND, 0 }, /* SVME */
	{ 0, BIT(63), false, ERR_NOTFOUND, 0 },
};

TEST(test_efer, start, fake_teardown)
{
	for (size_t i = 0; i < ARRAY_COUNT(efers); i++) {
		vmwrite(VMCS_GUEST_EFER, efers[i].old);
		vmwrite(VMCS_GUEST_CR0, efers[i].paging ? CR0_PG | CR0_PE : 0);
		assert_int_equal(msr_guest_write(&vcpu, MSR_IA32_EFER, efers[i].write),
				 efers[i].err);
		assert_int_equal(vmread(VMCS_GUEST_EFER), efers[i].expect);
	}
}

/* SDM, "IA32_TSC_ADJUST MSR". */
TEST(test_tsc, start, fake_teardown)
{
	uint64_t value;

	fake_tsc = 1000;
	priv.tsc_offset = (uint64_t)-400; /* the guest's TSC reads 600 */
	assert_int_equal(msr_guest_write(&vcpu, MSR_IA32_TSC, 5000), 0);
	assert_int_equal(vmread(VMCS_TSC_OFFSET), 4000);
	assert_int_equal(msr_guest_read(&vcpu, MSR_IA32_TSC_ADJUST, &value), 0);
	assert_int_equal(value, 4400);
	assert_int_equal(msr_guest_write(&vcpu, MSR_IA32_TSC_ADJUST, 0), 0);
	assert_int_equal(vmread(VMCS_TSC_OFFSET), (uint64_t)-400);
	assert_true(attention_has(&vcpu, ATTENTION_EVENTS));
}

TEST(test_arch_capabilities, start, fake_teardown)
{
	uint64_t value;

	assert_int_equal(msr_guest_read(&vcpu, MSR_IA32_ARCH_CAPABILITIES, &value), 0);
	/*
	 * Bits that announce MSRs which a guest does not have: TSX_CTRL, MISC_PACKAGE_CTLS,
	 * FB_CLEAR_CTRL ...
	 */
	assert_int_equal(value & (BIT(3) | BIT(7) | BIT(10) | BIT(11) | BIT(12) | BIT(18) |
				  BIT(21) | BIT(23)),
			 0);
	assert_true((value & BIT(0)) != 0);
	fake_caps.has_arch_capabilities = false;
	assert_int_equal(msr_guest_read(&vcpu, MSR_IA32_ARCH_CAPABILITIES, &value), ERR_NOTFOUND);
}

TEST(test_exits, start, fake_teardown)
{
	vcpu.regs.gpr[GPR_RCX] = 0xffff00000000 | MSR_IA32_APIC_BASE;
	assert_int_equal(exit_rdmsr(&vcpu), EXIT_NEXT_INSN);
	assert_int_equal(vcpu.regs.gpr[GPR_RAX], (uint32_t)HOOK_VALUE);
	assert_int_equal(vcpu.regs.gpr[GPR_RDX], HOOK_VALUE >> 32);
	vcpu.regs.gpr[GPR_RAX] = 0xdead00000006;
	vcpu.regs.gpr[GPR_RDX] = 0xdead00000000;
	vcpu.regs.gpr[GPR_RCX] = MSR_IA32_MTRR_DEF_TYPE;
	assert_int_equal(exit_wrmsr(&vcpu), EXIT_NEXT_INSN);
	assert_int_equal(priv.msr_mtrr_def_type, 6);
	vcpu.regs.gpr[GPR_RCX] = MSR_IA32_VMX_BASIC;
	assert_int_equal(exit_rdmsr(&vcpu), EXIT_RESUME);
	assert_int_equal(exit_wrmsr(&vcpu), EXIT_RESUME);
	assert_int_equal(gps, 2);
}

/* In the bitmap 0 means "no exit". */
static bool passes(const uint8_t *bitmap, uint32_t msr, bool write)
{
	uint32_t at = (msr & 0x1fff) / 8 + (msr >= 0xc0000000 ? 1024 : 0) + (write ? 2048 : 0);

	return (bitmap[at] >> (msr % 8) & 1) == 0;
}

static const struct {
	uint32_t msr;
	bool read, write;	/* no exit in xAPIC mode */
	bool x2_read, x2_write; /* no exit in x2APIC mode */
} passed[] = {
	{ MSR_IA32_FS_BASE, true, true, true, true },
	{ MSR_IA32_KERNEL_GS_BASE, true, true, true, true },
	{ MSR_IA32_LSTAR, true, true, true, true },
	{ MSR_IA32_SYSENTER_EIP, true, true, true, true },
	{ MSR_IA32_TSC_AUX, true, true, true, true },
	{ MSR_IA32_SPEC_CTRL, true, true, true, true },
	{ MSR_IA32_PRED_CMD, false, true, false, true },
	{ MSR_IA32_EFER, true, false, true, false },
	{ MSR_IA32_TSC, true, false, true, false },
	{ MSR_X2APIC_TPR, false, false, true, true },
	{ MSR_X2APIC_EOI, false, false, false, true },
	{ MSR_X2APIC_SELF_IPI, false, false, false, true },
	{ 0x830, false, false, false, false },
	{ 0x839, false, false, false, false },
	{ MSR_IA32_APIC_BASE, false, false, false, false },
	{ MSR_IA32_TSC_DEADLINE, false, false, false, false },
	{ MSR_IA32_XSS, false, false, false, false },
	{ MSR_IA32_VMX_BASIC, false, false, false, false },
};

TEST(test_bitmap, start, fake_teardown)
{
	static uint8_t x[4096], x2[4096];
	unsigned open = 0;

	msr_fill_bitmap(x, false);
	msr_fill_bitmap(x2, true);
	for (size_t i = 0; i < ARRAY_COUNT(passed); i++) {
		assert_int_equal(passes(x, passed[i].msr, false), passed[i].read);
		assert_int_equal(passes(x, passed[i].msr, true), passed[i].write);
		assert_int_equal(passes(x2, passed[i].msr, false), passed[i].x2_read);
		assert_int_equal(passes(x2, passed[i].msr, true), passed[i].x2_write);
	}
	/* All others cause exits. */
	for (size_t i = 0; i < sizeof(x2); i++) {
		open += 8 - (unsigned)__builtin_popcount(x2[i]);
	}
	assert_int_equal(open, 32);
}

TEST(test_bitmap_without_features, start, fake_teardown)
{
	static uint8_t x2[4096];

	memset(&fake_caps, 0, sizeof(fake_caps));
	msr_fill_bitmap(x2, true);
	assert_false(passes(x2, MSR_IA32_SPEC_CTRL, true));
	assert_false(passes(x2, MSR_IA32_PRED_CMD, true));
	assert_false(passes(x2, MSR_IA32_FLUSH_CMD, true));
	assert_false(passes(x2, MSR_IA32_TSC_AUX, true));
	assert_false(passes(x2, MSR_X2APIC_TPR, true));
	assert_false(passes(x2, MSR_X2APIC_EOI, true));
}
