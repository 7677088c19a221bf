/* SPDX-License-Identifier: Apache-2.0 */
/* Writes of a guest to control registers and XCR0 that cause an exit. */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define LONG   (EFER_LME | EFER_LMA)
#define PAGED  (CR0_PE | CR0_PG | CR0_ET | CR0_NE)
#define AVX512 (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)
#define GP     0xfffffffffffful /* instead of a value */

static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_private priv;
static uint64_t pdptes[4];

static unsigned gps;
static uint8_t cr8;

void inject_gp(struct vcpu *v)
{
	gps++;
}

void vcpu_state_set_xcr0(struct vcpu *v, uint64_t xcr0)
{
	v->priv->xcr0 = xcr0;
}

int gmem_read(struct gmem *gmem, gpa_t gpa, void *buf, size_t bytes)
{
	if (gpa.v != 0x1000 || bytes != sizeof(pdptes)) {
		return ERR_RANGE;
	}
	memcpy(buf, pdptes, bytes);
	return 0;
}

static uint8_t cr8_read(struct vcpu *v)
{
	return cr8;
}

static void cr8_write(struct vcpu *v, uint8_t value)
{
	cr8 = value;
}

static const struct vm_hooks hooks = { .cr8_read = cr8_read, .cr8_write = cr8_write };

static int start(void **state)
{
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&priv, 0, sizeof(priv));
	memset(pdptes, 0, sizeof(pdptes));
	memset(&fake_caps, 0, sizeof(fake_caps));
	fake_ept_caps.phys_bits = 39;
	vm.hooks = &hooks;
	vcpu.vm = &vm;
	vcpu.priv = &priv;
	priv.xcr0 = XCR0_X87;
	gps = 0;
	return 0;
}

/* A MOV from RBX to CR0 that caused an exit; the first columns are the state. */
static const struct {
	const char *what;
	uint64_t cr0, efer, cr4;
	bool long_cs;
	uint64_t write;
	uint64_t real, shadow; /* GP: a fault, and nothing changed */
	uint64_t expect_efer;
} cr0s[] = {
	{ "CD is kept for the guest alone", PAGED, LONG, CR4_PAE, true, PAGED | CR0_CD, PAGED,
	  PAGED | CR0_CD, LONG },
	{ "NE stays on", PAGED, LONG, CR4_PAE, true, PAGED & ~CR0_NE, PAGED, PAGED & ~CR0_NE,
	  LONG },
	{ "NW without CD", PAGED, LONG, CR4_PAE, true, PAGED | CR0_NW, GP, 0, LONG },
	{ "PG without PE", CR0_ET | CR0_NE, 0, 0, false, CR0_PG, GP, 0, 0 },
	{ "upper half", PAGED, LONG, CR4_PAE, true, PAGED | BIT(32), GP, 0, LONG },
	{ "a reserved bit of the lower half is dropped", PAGED, LONG, CR4_PAE, true, PAGED | BIT(7),
	  PAGED, PAGED, LONG },
	{ "ET cannot be cleared", CR0_PE | CR0_ET | CR0_NE, 0, 0, false, CR0_PE,
	  CR0_PE | CR0_ET | CR0_NE, CR0_PE | CR0_ET, 0 },
	{ "into long mode", CR0_PE | CR0_ET | CR0_NE, EFER_LME, CR4_PAE, false, PAGED & ~CR0_NE,
	  PAGED, PAGED & ~CR0_NE, LONG },
	{ "long mode needs PAE", CR0_PE | CR0_ET | CR0_NE, EFER_LME, 0, false, PAGED & ~CR0_NE, GP,
	  0, EFER_LME },
	{ "long mode from 64-bit code", CR0_PE | CR0_ET | CR0_NE, EFER_LME, CR4_PAE, true,
	  PAGED & ~CR0_NE, GP, 0, EFER_LME },
	{ "out of long mode", PAGED, LONG, CR4_PAE, false, CR0_PE, CR0_PE | CR0_ET | CR0_NE,
	  CR0_PE | CR0_ET, EFER_LME },
	{ "out of long mode from 64-bit code", PAGED, LONG, CR4_PAE, true, CR0_PE, GP, 0, LONG },
	{ "out of paging with PCIDE", PAGED, LONG, CR4_PAE | CR4_PCIDE, false, CR0_PE, GP, 0,
	  LONG },
	{ "32-bit paging", CR0_PE | CR0_ET | CR0_NE, 0, 0, false, PAGED & ~CR0_NE, PAGED,
	  PAGED & ~CR0_NE, 0 },
};

static void write_cr(unsigned number, uint64_t value)
{
	vcpu.regs.gpr[GPR_RBX] = value;
	vmwrite(VMCS_EXIT_QUALIFICATION, number | GPR_RBX << 8);
}

TEST(test_cr0, start, NULL)
{
	for (size_t i = 0; i < ARRAY_COUNT(cr0s); i++) {
		bool fault = cr0s[i].real == GP;
		uint64_t entry = (cr0s[i].efer & EFER_LMA) != 0 ? ENTRY_IA32E_MODE_GUEST : 0;

		gps = 0;
		fake_caps.vpid = true;
		fake_invvpids = 0;
		vmwrite(VMCS_GUEST_CR0, cr0s[i].cr0);
		vmwrite(VMCS_CR0_READ_SHADOW, cr0s[i].cr0);
		vmwrite(VMCS_GUEST_CR4, cr0s[i].cr4);
		vmwrite(VMCS_GUEST_EFER, cr0s[i].efer);
		vmwrite(VMCS_ENTRY_CONTROLS, entry);
		vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, cr0s[i].long_cs ? SEG_AR_L : 0);
		write_cr(0, cr0s[i].write);
		assert_int_equal(exit_cr_access(&vcpu), fault ? EXIT_RESUME : EXIT_NEXT_INSN);
		/* Translations are flushed when paging is turned on or off. */
		assert_int_equal(fake_invvpids,
				 !fault && ((cr0s[i].real ^ cr0s[i].cr0) & CR0_PG) != 0);
		if (gps != fault ||
		    vmread(VMCS_GUEST_CR0) != (fault ? cr0s[i].cr0 : cr0s[i].real) ||
		    vmread(VMCS_CR0_READ_SHADOW) != (fault ? cr0s[i].cr0 : cr0s[i].shadow) ||
		    vmread(VMCS_GUEST_EFER) != cr0s[i].expect_efer ||
		    (vmread(VMCS_ENTRY_CONTROLS) == ENTRY_IA32E_MODE_GUEST) !=
			    ((cr0s[i].expect_efer & EFER_LMA) != 0)) {
			fail_msg("%s: CR0 %#lx, shadow %#lx, EFER %#lx", cr0s[i].what,
				 vmread(VMCS_GUEST_CR0), vmread(VMCS_CR0_READ_SHADOW),
				 vmread(VMCS_GUEST_EFER));
		}
	}
}

/* A guest turns on PAE paging outside of long mode: the four PDPTEs are read from memory. */
TEST(test_pdptes, start, NULL)
{
	static const struct {
		uint64_t cr3, pdpte;
		bool fault;
	} rows[] = {
		{ 0x1000, 0x2001, false },
		{ 0x1000, 0x2003, true },  /* bit 1 is reserved */
		{ 0x1000, 0x2019, false }, /* PWT and PCD */
		{ 0x1000, 0x2021, true },  /* bits 5 to 8 are reserved */
		{ 0x1000, 0x2101, true },
		{ 0x1000, 0x2002, false }, /* not present: ignored */
		{ 0x9000, 0x2001, true },  /* no memory there */
		{ 0x1000, 0x7ffffff001, false },
		{ 0x1000, 0x8000002001, true }, /* a 40-bit address on a CPU with 39 bits */
		{ 0x1000, BIT(63) | 0x2001, true },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		gps = 0;
		pdptes[2] = rows[i].pdpte;
		vmwrite(VMCS_GUEST_CR0, CR0_PE | CR0_ET | CR0_NE);
		vmwrite(VMCS_GUEST_CR4, CR4_PAE);
		vmwrite(VMCS_GUEST_EFER, 0);
		vmwrite(VMCS_GUEST_CR3, rows[i].cr3);
		vmwrite(VMCS_GUEST_PDPTE0 + 4, 0);
		write_cr(0, PAGED & ~CR0_NE);
		(void)exit_cr_access(&vcpu);
		assert_int_equal(gps, rows[i].fault);
		assert_int_equal(vmread(VMCS_GUEST_PDPTE0 + 4), rows[i].fault ? 0 : rows[i].pdpte);
	}
}

/* The real CR4 has VMXE and MCE set; the guest reads what it wrote. */
#define CR4_ON (CR4_VMXE | CR4_MCE)

static const struct {
	const char *what;
	uint64_t old, efer, cr3, write;
	bool fault;
} cr4s[] = {
	{ "MCE on", CR4_PAE, LONG, 0, CR4_PAE | CR4_MCE, false },
	{ "MCE off", CR4_PAE | CR4_PGE, LONG, 0, CR4_PAE | CR4_PGE, false },
	{ "VMXE", CR4_PAE, LONG, 0, CR4_PAE | CR4_VMXE, true },
	{ "LA57", CR4_PAE, LONG, 0, CR4_PAE | CR4_MCE | CR4_LA57, true },
	{ "upper half", CR4_PAE, LONG, 0, CR4_PAE | CR4_MCE | BIT(40), true },
	{ "PAE off in long mode", CR4_PAE, LONG, 0, CR4_MCE, true },
	{ "PAE off elsewhere", CR4_PAE, 0, 0x1000, CR4_MCE, false },
	{ "PCIDE", CR4_PAE, LONG, 0x1000, CR4_PAE | CR4_MCE | CR4_PCIDE, false },
	{ "PCIDE with a PCID", CR4_PAE, LONG, 0x1003, CR4_PAE | CR4_MCE | CR4_PCIDE, true },
	{ "PCIDE outside of long mode", CR4_PAE, 0, 0x1000, CR4_PAE | CR4_MCE | CR4_PCIDE, true },
	{ "PCIDE stays", CR4_PAE | CR4_PCIDE, LONG, 0x1003, CR4_PAE | CR4_MCE | CR4_PCIDE, false },
	{ "PAE paging reloads", CR4_PAE, 0, 0x1000, CR4_PAE | CR4_MCE | CR4_PGE, false },
	{ "PAE paging from nowhere", CR4_PAE, 0, 0x9000, CR4_PAE | CR4_MCE | CR4_PGE, true },
};

TEST(test_cr4, start, NULL)
{
	fake_caps.guest_cr4 = CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_OSXSAVE;
	fake_caps.guest_cr4_on = CR4_ON;
	for (size_t i = 0; i < ARRAY_COUNT(cr4s); i++) {
		uint64_t expect = cr4s[i].fault ? cr4s[i].old | CR4_ON : cr4s[i].write | CR4_ON;

		gps = 0;
		vmwrite(VMCS_GUEST_CR0, PAGED);
		vmwrite(VMCS_GUEST_EFER, cr4s[i].efer);
		vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, cr4s[i].efer != 0 ? SEG_AR_L : 0);
		vmwrite(VMCS_GUEST_CR3, cr4s[i].cr3);
		vmwrite(VMCS_GUEST_CR4, cr4s[i].old | CR4_ON);
		vmwrite(VMCS_CR4_READ_SHADOW, cr4s[i].old);
		write_cr(4, cr4s[i].write);
		assert_int_equal(exit_cr_access(&vcpu),
				 cr4s[i].fault ? EXIT_RESUME : EXIT_NEXT_INSN);
		if (gps != cr4s[i].fault || vmread(VMCS_GUEST_CR4) != expect ||
		    vmread(VMCS_CR4_READ_SHADOW) != (cr4s[i].fault ? cr4s[i].old : cr4s[i].write)) {
			fail_msg("%s: CR4 %#lx", cr4s[i].what, vmread(VMCS_GUEST_CR4));
		}
	}
}

TEST(test_cr8, start, NULL)
{
	vmwrite(VMCS_GUEST_EFER, LONG);
	vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, SEG_AR_L);
	write_cr(8, 11);
	assert_int_equal(exit_cr_access(&vcpu), EXIT_NEXT_INSN);
	assert_int_equal(cr8, 11);
	vmwrite(VMCS_EXIT_QUALIFICATION, 8 | CRQ_MOV_FROM << 4 | GPR_RSI << 8);
	assert_int_equal(exit_cr_access(&vcpu), EXIT_NEXT_INSN);
	assert_int_equal(vcpu.regs.gpr[GPR_RSI], 11);
	write_cr(8, 16);
	assert_int_equal(exit_cr_access(&vcpu), EXIT_RESUME);
	assert_int_equal(gps, 1);
	assert_int_equal(cr8, 11);
}

static const struct {
	uint64_t offered;
	uint32_t ecx;
	uint64_t write;
	bool fault;
} xcr0s[] = {
	{ 0xe7, 0, 1, false },		{ 0xe7, 0, 3, false },	  { 0xe7, 0, 7, false },
	{ 0xe7, 0, 0xe7, false },	{ 0xe7, 0, 0, true },	  { 0xe7, 0, 2, true },
	{ 0xe7, 0, 5, true },		{ 0xe7, 0, 0x67, true },  { 0xe7, 0, 0xe3, true },
	{ 0x7, 0, 0xe7, true },		{ 0xe7, 0, 0x207, true }, { 0xe7, 1, 7, true },
	{ 0xe7, 0, BIT(63) | 7, true },
};

TEST(test_xsetbv, start, NULL)
{
	for (size_t i = 0; i < ARRAY_COUNT(xcr0s); i++) {
		gps = 0;
		priv.xcr0 = XCR0_X87;
		fake_caps.guest_xcr0 = xcr0s[i].offered;
		vcpu.regs.gpr[GPR_RCX] = xcr0s[i].ecx | BIT(40);
		vcpu.regs.gpr[GPR_RAX] = (uint32_t)xcr0s[i].write | BIT(40);
		vcpu.regs.gpr[GPR_RDX] = xcr0s[i].write >> 32;
		assert_int_equal(exit_xsetbv(&vcpu), xcr0s[i].fault ? EXIT_RESUME : EXIT_NEXT_INSN);
		assert_int_equal(gps, xcr0s[i].fault);
		assert_int_equal(priv.xcr0, xcr0s[i].fault ? XCR0_X87 : xcr0s[i].write);
	}
}
