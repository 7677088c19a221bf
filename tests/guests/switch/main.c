/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each vCPU keeps its own registers while others take turns on the same CPU: x87, MXCSR, XMM, YMM,
 * ZMM and mask registers, XCR0, CR2, CR4, CR8, DR0 to DR3, DR6, DR7, EFER, and the MSRs below. Each
 * round sets all of them to new values, sleeps or spins so that others run and set theirs, and
 * compares. State that a vCPU could write and that is not switched must not exist: PKRU, PKRS,
 * supervisor states (CET, UINTR), XFD, TSX_CTRL, PASID, UMWAIT_CONTROL, trace and branch records.
 * Command line: seed=N, vcpus=N, rounds=N.
 */
#include "tests/guests/common/guest.h"

#define CPU_MAX	   4
#define VECTOR	   0x50
#define CANONICAL  0x00007fffffffffffull
#define TIMER_MODE 0x40000 /* TSC-deadline */

/* --- The MSRs --- */

static bool has_tsc_aux(void)
{
	return (cpuid(0x80000001, 0).edx & BIT(27)) != 0;
}

static bool has_spec_ctrl(void)
{
	return (cpuid(7, 0).edx & (BIT(26) | BIT(27) | BIT(31))) != 0;
}

static const struct msr {
	const char *name;
	uint32_t msr;
	uint64_t random, set; /* bits that may have any value; bits that are always set */
	bool (*offered)(void);
} msrs[] = {
	{ "STAR", MSR_IA32_STAR, UINT64_MAX, 0, NULL },
	{ "LSTAR", MSR_IA32_LSTAR, CANONICAL, 0, NULL },
	{ "CSTAR", MSR_IA32_CSTAR, CANONICAL, 0, NULL },
	{ "FMASK", MSR_IA32_FMASK, UINT32_MAX, 0, NULL },
	{ "KERNEL_GS_BASE", MSR_IA32_KERNEL_GS_BASE, CANONICAL, 0, NULL },
	{ "FS_BASE", MSR_IA32_FS_BASE, CANONICAL, 0, NULL },
	{ "GS_BASE", MSR_IA32_GS_BASE, CANONICAL, 0, NULL },
	{ "SYSENTER_CS", MSR_IA32_SYSENTER_CS, 0xffff, 0, NULL },
	{ "SYSENTER_ESP", MSR_IA32_SYSENTER_ESP, CANONICAL, 0, NULL },
	{ "SYSENTER_EIP", MSR_IA32_SYSENTER_EIP, CANONICAL, 0, NULL },
	{ "PAT", MSR_IA32_PAT, 0x0001000100010001, 0x0604060406040604, NULL },
	{ "EFER", MSR_IA32_EFER, EFER_SCE | EFER_NXE, EFER_LME | EFER_LMA, NULL },
	{ "DEBUGCTL", MSR_IA32_DEBUGCTL, BIT(1), 0, NULL },
	{ "MISC_ENABLE", MSR_IA32_MISC_ENABLE, BIT(0), BIT(11) | BIT(12), NULL },
	{ "MTRR_PHYSBASE0", MSR_IA32_MTRR_PHYSBASE0, 0xfffff000, 6, NULL },
	{ "TSC_AUX", MSR_IA32_TSC_AUX, UINT32_MAX, 0, has_tsc_aux },
	{ "SPEC_CTRL", MSR_IA32_SPEC_CTRL, BIT(0), 0, has_spec_ctrl },
};

/* --- One vCPU's registers --- */

struct registers {
	uint8_t vector[VECTOR_AREA] __attribute__((aligned(64)));
	uint64_t xcr0, cr2, cr4, cr8, dr[4], dr6, dr7;
	uint64_t msr[ARRAY_COUNT(msrs)];
};

static struct registers wanted[CPU_MAX], found[CPU_MAX];
static uint64_t mask, slices[CPU_MAX];
static volatile bool done[CPU_MAX];
static unsigned cpus;

#define READ_REG(name, value)  __asm__ volatile("movq %%" name ", %0" : "=r"(value))
#define WRITE_REG(name, value) __asm__ volatile("movq %0, %%" name : : "r"(value) : "memory")

static void choose(struct registers *r, uint64_t round)
{
	static const uint64_t turns[] = { 3, 7, 0xe7 };

	vector_pattern(r->vector, mask);
	r->xcr0 = turns[(round + random64()) % ARRAY_COUNT(turns)] & mask;
	r->cr2 = random64();
	r->cr4 = read_cr4() ^ (random64() & (CR4_PCE | CR4_DE | CR4_TSD));
	r->cr8 = random64() % 5;
	for (unsigned i = 0; i < ARRAY_COUNT(r->dr); i++) {
		r->dr[i] = random64() & CANONICAL;
	}
	r->dr6 = 0xffff0ff0 | (random64() & 0xe00f);
	r->dr7 = 0x400 | (random64() & 0x300);
	for (unsigned i = 0; i < ARRAY_COUNT(msrs); i++) {
		r->msr[i] = (random64() & msrs[i].random) | msrs[i].set;
	}
}

static void load(const struct registers *r)
{
	if ((read_cr4() & CR4_OSXSAVE) != 0) {
		check(try_xsetbv(0, mask) == NO_TRAP);
	}
	vector_load(r->vector, mask);
	if ((read_cr4() & CR4_OSXSAVE) != 0) {
		check(try_xsetbv(0, r->xcr0) == NO_TRAP);
	}
	WRITE_REG("cr2", r->cr2);
	WRITE_REG("cr4", r->cr4);
	WRITE_REG("cr8", r->cr8);
	WRITE_REG("db7", r->dr7);
	WRITE_REG("db0", r->dr[0]);
	WRITE_REG("db1", r->dr[1]);
	WRITE_REG("db2", r->dr[2]);
	WRITE_REG("db3", r->dr[3]);
	WRITE_REG("db6", r->dr6);
	for (unsigned i = 0; i < ARRAY_COUNT(msrs); i++) {
		if (msrs[i].offered == NULL || msrs[i].offered()) {
			wrmsr(msrs[i].msr, r->msr[i]);
		}
	}
}

static void save(struct registers *r)
{
	uint32_t lo = (uint32_t)mask, hi = 0;

	/*
	 * Reads registers first that this function's own instructions change: none of those above.
	 */
	READ_REG("cr2", r->cr2);
	READ_REG("cr4", r->cr4);
	READ_REG("cr8", r->cr8);
	READ_REG("db0", r->dr[0]);
	READ_REG("db1", r->dr[1]);
	READ_REG("db2", r->dr[2]);
	READ_REG("db3", r->dr[3]);
	READ_REG("db6", r->dr6);
	READ_REG("db7", r->dr7);
	for (unsigned i = 0; i < ARRAY_COUNT(msrs); i++) {
		if (msrs[i].offered == NULL || msrs[i].offered()) {
			r->msr[i] = rdmsr(msrs[i].msr);
		}
	}
	if ((r->cr4 & CR4_OSXSAVE) != 0) {
		__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		check(try_xsetbv(0, mask) == NO_TRAP);
	}
	r->xcr0 = lo | (uint64_t)hi << 32;
	for (unsigned i = 0; i < VECTOR_AREA; i++) {
		r->vector[i] = 0;
	}
	vector_save(r->vector, mask);
}

static void compare(unsigned cpu, uint64_t round)
{
	const struct registers *got = &found[cpu], *want = &wanted[cpu];

	check_equal(got->xcr0, want->xcr0);
	check_equal(got->cr2, want->cr2);
	check_equal(got->cr4, want->cr4);
	check_equal(got->cr8, want->cr8);
	for (unsigned i = 0; i < ARRAY_COUNT(got->dr); i++) {
		if (got->dr[i] != want->dr[i]) {
			fail("vcpu %u, round %lu: DR%u is %lx, not %lx", cpu, round, i, got->dr[i],
			     want->dr[i]);
		}
	}
	check_equal(got->dr6, want->dr6);
	check_equal(got->dr7, want->dr7);
	for (unsigned i = 0; i < ARRAY_COUNT(msrs); i++) {
		if ((msrs[i].offered == NULL || msrs[i].offered()) && got->msr[i] != want->msr[i]) {
			fail("vcpu %u, round %lu: %s is %lx, not %lx", cpu, round, msrs[i].name,
			     got->msr[i], want->msr[i]);
		}
	}
	vector_compare(got->vector, want->vector, mask, round);
}

/* --- Turns --- */

static void on_timer(struct trap_frame *frame)
{
	apic_write(APIC_EOI, 0);
}

/* Half of the rounds sleep. In the others the slice sometimes ends while the vCPU spins. */
static void let_others_run(unsigned cpu, uint64_t round)
{
	uint64_t us = tsc_hz() / 1000000, last = rdtsc(), now, until;

	if (round % 32 != 0) {
		wrmsr(MSR_IA32_TSC_DEADLINE, last + us * (20 + random64() % 100));
		__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
		return;
	}
	for (until = last + 20000 * us; last < until; last = now) {
		now = rdtsc();
		if (now - last > 50 * us) {
			slices[cpu]++;
			return;
		}
	}
}

static void turns(unsigned cpu)
{
	uint64_t rounds = arg_number("rounds", 200);

	apic_write(APIC_SVR, 0x1ff);
	apic_write(APIC_LVT_TIMER, TIMER_MODE | VECTOR);
	for (uint64_t round = 0; round < rounds; round++) {
		choose(&wanted[cpu], round);
		load(&wanted[cpu]);
		let_others_run(cpu, round);
		save(&found[cpu]);
		compare(cpu, round);
	}
	done[cpu] = true;
}

/* --- Features that must not exist --- */

static void hidden(void)
{
	static const uint32_t absent[] = { 0xe1,  0x122, 0x1c4, 0x1c5, 0x1c8, 0x1c9, 0x48f, 0x560,
					   0x570, 0x6a0, 0x6a2, 0x6a4, 0x6a7, 0x6a8, 0x6e1, 0x985,
					   0x986, 0x988, 0x98a, 0xd90, 0xd93, 0x14ce };
	/* VMXE, SMXE, KL, PKE, CET, PKS, UINTR, LASS, LAM_SUP. */
	static const uint8_t cr4_bits[] = { 13, 14, 19, 22, 23, 24, 25, 27, 28 };
	static const uint8_t xcr0_bits[] = { 3, 4, 8, 9, 11, 12, 14, 17, 18 };
	uint64_t value;

	for (unsigned i = 0; i < ARRAY_COUNT(absent); i++) {
		if (try_rdmsr(absent[i], &value) != VECTOR_GP ||
		    try_wrmsr(absent[i], 0) != VECTOR_GP) {
			fail("MSR %x is there", absent[i]);
		}
	}
	for (unsigned i = 0; i < ARRAY_COUNT(cr4_bits); i++) {
		if (try_write_cr4(read_cr4() | BIT(cr4_bits[i])) != VECTOR_GP) {
			fail("CR4 takes bit %u", cr4_bits[i]);
		}
	}
	__asm__ volatile(TRY("rdpkru") : : "c"(0) : "rax", "rdx");
	check_equal(trapped(), VECTOR_UD);
	check_equal(cpuid(7, 0).ecx & (BIT(3) | BIT(4) | BIT(7)), 0);	/* PKU, CET_SS */
	check_equal(cpuid(7, 0).edx & (BIT(5) | BIT(20) | BIT(24)), 0); /* UINTR, CET_IBT, AMX */
	if ((read_cr4() & CR4_OSXSAVE) == 0) {
		return;
	}
	for (unsigned i = 0; i < ARRAY_COUNT(xcr0_bits); i++) {
		if (try_xsetbv(0, mask | BIT(xcr0_bits[i])) != VECTOR_GP) {
			fail("XCR0 takes bit %u", xcr0_bits[i]);
		}
	}
	check_equal(cpuid(0xd, 1).ecx | cpuid(0xd, 1).edx, 0);
	if (try_rdmsr(MSR_IA32_XSS, &value) == NO_TRAP) {
		check_equal(value, 0);
	}
	for (unsigned i = 0; i < 20; i++) {
		check_equal(try_wrmsr(MSR_IA32_XSS, BIT(i)), VECTOR_GP);
	}
}

void guest_main(void)
{
	uint64_t seed = arg_number("seed", 1);

	cpus = (unsigned)arg_number("vcpus", 1);
	if (cpus == 0 || cpus > CPU_MAX) {
		error("1 to 4 vCPUs");
	}
	mask = vector_start(0xe7);
	apic_start(false);
	trap_handlers[VECTOR] = on_timer;
	hidden();
	while (seed-- > 0) {
		(void)random64();
	}
	for (unsigned cpu = 1; cpu < cpus; cpu++) {
		cpu_start(cpu, turns);
	}
	turns(0);
	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		while (!done[cpu]) {
			__asm__ volatile("pause");
		}
		print("vcpu %u: its own over %lu rounds, %lu of them preempted\n", cpu,
		      arg_number("rounds", 200), slices[cpu]);
	}
}
