/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs: those that a guest may use keep what is written, also across many exits. Reserved bits and
 * read-only MSRs raise #GP and change nothing. MSRs that the guest does not have fault on RDMSR and
 * WRMSR, whatever the machine has. With "x2apic" the registers of the APIC are MSRs 800H to 8FFH
 * during the test, and no others (SDM vol. 3, "x2APIC Register Address Space").
 */
#include "tests/guests/common/guest.h"

struct row {
	uint32_t msr;
	uint64_t values[2];
};

/* Writable, and kept. */
static const struct row kept[] = {
	{ MSR_IA32_SYSENTER_CS, { 0x08, 0x10 } },
	{ MSR_IA32_SYSENTER_ESP, { 0x123456, 0xffff800000001000 } },
	{ MSR_IA32_SYSENTER_EIP, { 0x654321, 0xffff800000002000 } },
	{ MSR_IA32_PAT, { 0x0007040600070406, 0x0007040600070106 } },
	{ MSR_IA32_STAR, { 0x0023001000000000, 0x0013000800000000 } },
	{ MSR_IA32_LSTAR, { 0xffffffff81000000, 0x1000 } },
	{ MSR_IA32_CSTAR, { 0xffffffff82000000, 0x2000 } },
	{ MSR_IA32_FMASK, { 0x47700, 0x200 } },
	{ MSR_IA32_FS_BASE, { 0x7fff00001000, 0xffff800000003000 } },
	{ MSR_IA32_GS_BASE, { 0x7fff00002000, 0xffff800000004000 } },
	{ MSR_IA32_KERNEL_GS_BASE, { 0x7fff00003000, 0xffff800000005000 } },
};

/* MSRs that do not exist in a guest: VMX, SMX, SGX, TME, key locker, SMM. */
static const uint32_t absent[] = {
	MSR_IA32_SMM_MONITOR_CTL,
	0x9e,
	MSR_IA32_VMX_BASIC,
	MSR_IA32_VMX_PINBASED_CTLS,
	MSR_IA32_VMX_PROCBASED_CTLS,
	MSR_IA32_VMX_MISC,
	MSR_IA32_VMX_CR4_FIXED1,
	MSR_IA32_VMX_EPT_VPID_CAP,
	MSR_IA32_VMX_VMFUNC,
	MSR_IA32_TME_CAPABILITY,
	MSR_IA32_TME_ACTIVATE,
	MSR_IA32_TME_EXCLUDE_MASK,
	MSR_IA32_TME_EXCLUDE_BASE,
	0x87,  /* IA32_MKTME_KEYID_PARTITIONING */
	0x9fb, /* IA32_TME_CLEAR_SAVED_KEY */
	0x9ff, /* MK_TME_CORE_ACTIVATE */
	0x8c,
	0x8f,
	0x4000,
	0x1fff,
	0xc0001fff,
	0x12345678,
	0xffffffff,
};

/* A value that the MSR must refuse; or, with `flip`, bits of it that cannot change. */
static const struct refused {
	uint32_t msr;
	bool flip;
	uint64_t value;
} refused[] = {
	{ MSR_IA32_EFER, true, BIT(1) },
	{ MSR_IA32_EFER, true, BIT(63) },
	{ MSR_IA32_PAT, false, 0x0007040600070402 },   /* type 2 */
	{ MSR_IA32_PAT, false, 0x0907040600070406 },   /* type 9 */
	{ MSR_IA32_LSTAR, false, 0x8000000000000000 }, /* not canonical */
	{ MSR_IA32_FS_BASE, false, 0x0123000000000000 },
	{ MSR_IA32_GS_BASE, false, 0x0123000000000000 },
	{ MSR_IA32_KERNEL_GS_BASE, false, 0x0123000000000000 },
	{ MSR_IA32_SYSENTER_EIP, false, 0x0123000000000000 },
	{ MSR_IA32_APIC_BASE, true, BIT(0) },
	{ MSR_IA32_APIC_BASE, true, BIT(62) },
	{ MSR_IA32_MTRRCAP, true, 0 },
};

static void exits(unsigned count)
{
	while (count-- > 0) {
		(void)cpuid(0, 0);
	}
}

static void check_kept(void)
{
	for (unsigned i = 0; i < ARRAY_COUNT(kept); i++) {
		uint64_t before = rdmsr(kept[i].msr);

		for (unsigned v = 0; v < 2; v++) {
			wrmsr(kept[i].msr, kept[i].values[v]);
			exits(100);
			if (rdmsr(kept[i].msr) != kept[i].values[v]) {
				fail("MSR %x is %lx, not %lx", kept[i].msr, rdmsr(kept[i].msr),
				     kept[i].values[v]);
			}
		}
		wrmsr(kept[i].msr, before);
	}
}

static void check_absent(void)
{
	uint64_t value;

	for (unsigned i = 0; i < ARRAY_COUNT(absent); i++) {
		if (try_rdmsr(absent[i], &value) != VECTOR_GP) {
			fail("RDMSR %x gives %lx", absent[i], value);
		}
		if (try_wrmsr(absent[i], 0) != VECTOR_GP) {
			fail("WRMSR %x is taken", absent[i]);
		}
	}
}

static void check_refused(void)
{
	uint64_t value;

	for (unsigned i = 0; i < ARRAY_COUNT(refused); i++) {
		uint64_t before = rdmsr(refused[i].msr);

		value = refused[i].value ^ (refused[i].flip ? before : 0);
		if (try_wrmsr(refused[i].msr, value) != VECTOR_GP) {
			fail("MSR %x takes %lx", refused[i].msr, value);
		}
		check_equal(rdmsr(refused[i].msr), before);
	}
	/* If it exists, it is locked and shows no VMX. */
	if (try_rdmsr(MSR_IA32_FEATURE_CONTROL, &value) == NO_TRAP) {
		check_equal(value, FEATURE_CONTROL_LOCK);
		check_equal(try_wrmsr(MSR_IA32_FEATURE_CONTROL, 5), VECTOR_GP);
	}
}

/* Paging is on, so LME cannot change; LMA is read-only. */
static void check_efer(void)
{
	uint64_t efer = rdmsr(MSR_IA32_EFER);

	check_equal(efer & (EFER_LMA | EFER_LME), EFER_LMA | EFER_LME);
	check_equal(try_wrmsr(MSR_IA32_EFER, efer & ~(uint64_t)EFER_LME), VECTOR_GP);
	wrmsr(MSR_IA32_EFER, efer ^ EFER_SCE ^ EFER_NXE);
	exits(100);
	check_equal(rdmsr(MSR_IA32_EFER), efer ^ EFER_SCE ^ EFER_NXE);
	wrmsr(MSR_IA32_EFER, efer);
}

void guest_main(void)
{
	apic_start(arg("x2apic"));
	check_kept();
	check_absent();
	check_refused();
	check_efer();
	if ((cpuid(0x80000001, 0).edx & BIT(27)) != 0) {
		wrmsr(MSR_IA32_TSC_AUX, 0x1234567);
		exits(1000);
		check_equal(rdmsr(MSR_IA32_TSC_AUX), 0x1234567);
	}
}
