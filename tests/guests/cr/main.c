/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control registers: the guest reads back what it wrote. Bits that the SDM calls reserved, and
 * features that the guest does not have (VMX, SMX), cause #GP(0) and change nothing. Bits that the
 * hypervisor keeps for itself read as the guest set them (SDM vol. 3, "Control Registers").
 */
#include "tests/guests/common/guest.h"

static void exits(void)
{
	for (unsigned i = 0; i < 50; i++) {
		(void)cpuid(0, 0);
	}
}

static void cr0_keeps(uint64_t bits, const char *what)
{
	uint64_t before = read_cr0();

	for (unsigned i = 0; i < 2; i++) {
		uint64_t value = i == 0 ? before ^ bits : before;

		if (try_write_cr0(value) != NO_TRAP) {
			fail("CR0: %s refuses %lx", what, value);
		}
		exits();
		if (read_cr0() != value) {
			fail("CR0: %s reads %lx, not %lx", what, read_cr0(), value);
		}
	}
}

static void cr4_keeps(uint64_t bits, const char *what)
{
	uint64_t before = read_cr4();

	for (unsigned i = 0; i < 2; i++) {
		uint64_t value = i == 0 ? before ^ bits : before;

		if (try_write_cr4(value) != NO_TRAP) {
			fail("CR4: %s refuses %lx", what, value);
		}
		exits();
		if (read_cr4() != value) {
			fail("CR4: %s reads %lx, not %lx", what, read_cr4(), value);
		}
	}
}

static void refuse(unsigned reg, uint64_t value, const char *what)
{
	uint64_t before = reg == 0 ? read_cr0() : read_cr4();
	unsigned vector = reg == 0 ? try_write_cr0(value) : try_write_cr4(value);

	if (vector != VECTOR_GP || caught.error != 0) {
		fail("CR%u: %s (%lx): vector %u instead of #GP(0)", reg, what, value, vector);
	}
	check_equal(reg == 0 ? read_cr0() : read_cr4(), before);
}

static void check_cr0(void)
{
	uint64_t cr0 = read_cr0();

	check_equal(cr0 & (CR0_PE | CR0_PG), CR0_PE | CR0_PG);
	cr0_keeps(CR0_WP, "WP");
	cr0_keeps(CR0_AM, "AM");
	cr0_keeps(CR0_TS, "TS");
	cr0_keeps(CR0_MP, "MP");
	cr0_keeps(CR0_EM, "EM");
	cr0_keeps(CR0_NE, "NE");
	cr0_keeps(CR0_CD, "CD");
	check(try_write_cr0((cr0 | CR0_CD) & ~(uint64_t)CR0_NW) == NO_TRAP);
	cr0_keeps(CR0_NW, "NW beside CD");
	check(try_write_cr0(cr0) == NO_TRAP);
	refuse(0, cr0 | BIT(32), "bit 32");
	refuse(0, cr0 | BIT(63), "bit 63");
	refuse(0, (cr0 | CR0_NW) & ~(uint64_t)CR0_CD, "NW without CD");
	refuse(0, cr0 & ~(uint64_t)CR0_PE, "PG without PE");
	refuse(0, cr0 & ~(uint64_t)CR0_PG, "PG cleared in 64-bit mode");
	/* CLTS and LMSW are moves to CR0 too. LMSW sets PE and cannot clear it. */
	check(try_write_cr0(cr0 | CR0_TS) == NO_TRAP);
	__asm__ volatile("clts");
	check_equal(read_cr0(), cr0 & ~(uint64_t)CR0_TS);
	__asm__ volatile("lmsw %w0" : : "r"(0xe));
	check_equal(read_cr0() & 0xf, 0xf);
	__asm__ volatile("lmsw %w0" : : "r"((uint32_t)cr0 & 0xf));
	check(try_write_cr0(cr0) == NO_TRAP);
}

static void check_cr4(void)
{
	uint64_t cr4 = read_cr4();
	uint32_t features = cpuid(7, 0).ebx;

	check_equal(cr4 & (CR4_VMXE | CR4_SMXE), 0);
	cr4_keeps(CR4_TSD, "TSD");
	cr4_keeps(CR4_DE, "DE");
	cr4_keeps(CR4_PGE, "PGE");
	cr4_keeps(CR4_MCE, "MCE");
	cr4_keeps(CR4_OSFXSR | CR4_OSXMMEXCPT, "OSFXSR");
	if ((features & BIT(7)) != 0) {
		cr4_keeps(CR4_SMEP, "SMEP");
	}
	if ((features & BIT(20)) != 0) {
		cr4_keeps(CR4_SMAP, "SMAP");
	}
	if ((features & BIT(0)) != 0) {
		cr4_keeps(CR4_FSGSBASE, "FSGSBASE");
	}
	refuse(4, cr4 | CR4_VMXE, "VMXE");
	refuse(4, cr4 | CR4_SMXE, "SMXE");
	refuse(4, cr4 & ~(uint64_t)CR4_PAE, "PAE cleared in 64-bit mode");
	refuse(4, cr4 ^ CR4_LA57, "LA57 changed in 64-bit mode");
	refuse(4, cr4 | BIT(15), "bit 15");
	refuse(4, cr4 | BIT(31), "bit 31");
	refuse(4, cr4 | BIT(40), "bit 40");
}

static void check_others(void)
{
	uint64_t cr3, value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	check_equal(try_write_cr3(cr3 | BIT(60)), VECTOR_GP);
	check_equal(try_write_cr3(cr3), NO_TRAP);
	for (uint64_t priority = 0; priority < 16; priority++) {
		__asm__ volatile("movq %0, %%cr8" : : "r"(priority));
		exits();
		__asm__ volatile("movq %%cr8, %0" : "=r"(value));
		check_equal(value, priority);
		check_equal(apic_read(APIC_TPR), priority << 4);
	}
	__asm__ volatile("movq %0, %%cr8" : : "r"(0ull));
	__asm__ volatile(TRY("movq %0, %%cr8") : : "r"(0x10ull));
	check_equal(trapped(), VECTOR_GP);
}

void guest_main(void)
{
	apic_start(false);
	check_cr0();
	check_cr4();
	check_others();
}
