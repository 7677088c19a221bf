/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that a guest does not have, or that the hypervisor executes in its own way: each
 * raises the exception that the SDM names for a CPU without the feature (vol. 2), or has no visible
 * effect; none ends the VM or disturbs the machine.
 */
#include "tests/guests/common/guest.h"

#define ANY 0x100 /* the result is a matter of policy; the test is that the guest goes on */

static uint64_t operand[512] __attribute__((aligned(4096)));

#define CASE(name_, want_, text)                                                \
	do {                                                                    \
		__asm__ volatile(TRY(text)                                      \
				 :                                              \
				 : "a"(0), "c"(0), "d"(0), "b"(0), "D"(operand) \
				 : "memory", "cc");                             \
		check_vector(name_, trapped(), want_);                          \
	} while (0)

static void check_vector(const char *name, unsigned got, unsigned want)
{
	if (want != ANY && got != want) {
		fail("%s: vector %u, not %u", name, got, want);
	}
	print("%s: %u\n", name, got);
}

static void refused(void)
{
	CASE("VMXON", VECTOR_UD, "vmxon (%%rdi)");
	CASE("VMXOFF", VECTOR_UD, "vmxoff");
	CASE("VMLAUNCH", VECTOR_UD, "vmlaunch");
	CASE("VMRESUME", VECTOR_UD, "vmresume");
	CASE("VMPTRLD", VECTOR_UD, "vmptrld (%%rdi)");
	CASE("VMCLEAR", VECTOR_UD, "vmclear (%%rdi)");
	CASE("VMREAD", VECTOR_UD, "vmread %%rax, %%rdi");
	CASE("VMWRITE", VECTOR_UD, "vmwrite %%rax, %%rdi");
	CASE("VMFUNC", VECTOR_UD, ".byte 0x0f, 0x01, 0xd4");
	CASE("INVEPT", VECTOR_UD, "invept (%%rdi), %%rax");
	CASE("INVVPID", VECTOR_UD, "invvpid (%%rdi), %%rax");
	CASE("GETSEC", VECTOR_UD, ".byte 0x0f, 0x37");
	CASE("MONITOR", VECTOR_UD, ".byte 0x0f, 0x01, 0xc8");
	CASE("MWAIT", VECTOR_UD, ".byte 0x0f, 0x01, 0xc9");
	CASE("ENCLS", VECTOR_UD, ".byte 0x0f, 0x01, 0xcf");
	CASE("PCONFIG", VECTOR_UD, ".byte 0x0f, 0x01, 0xc5");
	CASE("RSM", VECTOR_UD, "rsm");
	CASE("XGETBV", VECTOR_UD, "xgetbv"); /* CR4.OSXSAVE is off */
	CASE("RDPMC", VECTOR_GP, "rdpmc");
}

static void policy(void)
{
	CASE("VMCALL", ANY, "vmcall");
	CASE("INVD", NO_TRAP, "invd");
	CASE("WBINVD", NO_TRAP, "wbinvd");
	CASE("PAUSE", NO_TRAP, "pause");
	CASE("INVLPG", NO_TRAP, "invlpg (%%rdi)");
	CASE("SGDT", NO_TRAP, "sgdt (%%rdi)");
	CASE("STR", NO_TRAP, "str %%ax");
	CASE("SMSW", NO_TRAP, "smsw %%ax");
	CASE("RDTSC", NO_TRAP, "rdtsc");
	CASE("RDRAND", ANY, "rdrand %%rax");
	CASE("RDSEED", ANY, "rdseed %%rax");
}

/* A guest without the feature gets #UD even if the real CPU has it. */
static void as_cpuid_says(void)
{
	CASE("RDTSCP", (cpuid(0x80000001, 0).edx & BIT(27)) != 0 ? NO_TRAP : VECTOR_UD, "rdtscp");
	CASE("INVPCID", (cpuid(7, 0).ebx & BIT(10)) != 0 ? NO_TRAP : VECTOR_UD,
	     "invpcid (%%rdi), %%rax");
	CASE("RDPID", (cpuid(7, 0).ecx & BIT(22)) != 0 ? NO_TRAP : VECTOR_UD,
	     ".byte 0xf3, 0x0f, 0xc7, 0xf8");
	CASE("TPAUSE", (cpuid(7, 0).ecx & BIT(5)) != 0 ? NO_TRAP : VECTOR_UD,
	     ".byte 0x66, 0x0f, 0xae, 0xf1");
	check(try_write_cr4(read_cr4() | CR4_OSFXSR) == NO_TRAP);
	if ((cpuid(1, 0).ecx & BIT(26)) != 0) {
		check(try_write_cr4(read_cr4() | CR4_OSXSAVE) == NO_TRAP);
		CASE("XSAVES", (cpuid(0xd, 1).eax & BIT(3)) != 0 ? NO_TRAP : VECTOR_UD,
		     "xsaves64 (%%rdi)");
	}
}

void guest_main(void)
{
	refused();
	policy();
	as_cpuid_says();
	for (unsigned i = 0; i < 10000; i++) {
		__asm__ volatile(TRY("vmcall") : : "a"(random64()) : "memory");
		(void)trapped();
	}
}
