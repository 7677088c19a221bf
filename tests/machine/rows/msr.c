/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID, MSRs and activation: rows 5 to 15 and 41. */
#include "rows.h"

#define CPUID_TME	BIT(13) /* (7,0):ECX */
#define CPUID_PCONFIG	BIT(18) /* (7,0):EDX */
#define LEAF_PCONFIG	0x1b
#define TARGET_TME_MK	1u
#define ACTIVATE_LOCK	BIT(0)
#define ACTIVATE_ENABLE BIT(1)
#define ACTIVATE_BYPASS BIT(31)
#define EXCLUDE_ENABLE	BIT(11)
#define APIC_X2		BIT(10)
#define APIC_ON		BIT(11)
#define ABSENT		UINT64_MAX

/* 52 bits, XTS-128, bypass, 6 KeyID bits: the value for the late activation of P12. */
#define LATE_ACTIVATE 0x0001000680000002ull

struct profile {
	unsigned physical_bits;
	uint64_t capability, activate; /* ABSENT: the MSRs do not exist */
	uint64_t partitioning;
	unsigned keyids; /* that software may use */
};

static const struct profile profiles[] = {
	[1] = { 39, ABSENT, ABSENT, 0, 0 },
	[2] = { 39, 0x0000000000000001, 0x0000000000000003, 0, 0 },
	[3] = { 52, 0x000003f680000001, 0x0001000600000003, 0, 63 },
	[4] = { 46, 0x000000f480000004, 0x0004000400000023, 0, 15 },
	[5] = { 52, 0x000007f780000005, 0x0004000700000023, 0, 127 },
	[6] = { 52, 0x000003f68000000f, 0x0001001680000003, 0x000000200000001f, 31 },
	[7] = { 52, 0x000003f68000000f, 0x0001006680000003, 0x0000003f00000000, 0 },
	[8] = { 52, 0x000003f680000005, 0x0005000680000003, 0, 63 },
	[9] = { 52, 0x000003f680000005, 0x0000000000000001, 0, 0 },
	[10] = { 52, 0x000003f680000005, 0x0000000000000003, 0, 0 },
	[11] = { 52, 0x0000028680000001, 0x0001000600000003, 0, 40 },
	[12] = { 52, 0x000003f680000005, 0x0000000000000000, 0, 0 },
};

static const struct profile *this_profile(void)
{
	unsigned n = profile();

	if (n == 0 || n >= ARRAY_COUNT(profiles)) {
		cannot("\\rows.txt names no profile");
		return NULL;
	}
	return &profiles[n];
}

static uint64_t msr_or_absent(uint32_t msr)
{
	uint64_t value;

	return try_rdmsr(msr, &value) == NO_TRAP ? value : ABSENT;
}

/* The machine has the values of its profile. */
static void row_profile(void)
{
	const struct profile *p = this_profile();
	bool tme, keys;

	if (p == NULL) {
		return;
	}
	tme = p->capability != ABSENT;
	keys = tme && (p->capability >> 32 & 15) != 0;
	check_equal("CPUID.80000008H:EAX[7:0]", physical_bits(), p->physical_bits);
	check_equal("CPUID.(7,0):ECX[13]", (cpuid(7, 0).ecx & CPUID_TME) != 0, tme);
	check_equal("CPUID.(7,0):EDX[18]", (cpuid(7, 0).edx & CPUID_PCONFIG) != 0, keys);
	check_equal("MSR 981H", msr_or_absent(MSR_TME_CAPABILITY), p->capability);
	check_equal("MSR 982H", msr_or_absent(MSR_TME_ACTIVATE), p->activate);
	if (p->partitioning != 0) {
		check_equal("MSR 87H", msr_or_absent(MSR_PARTITIONING), p->partitioning);
	}
	if (keys) {
		struct cpuid leaf = cpuid(LEAF_PCONFIG, 0);

		check_equal("CPUID.(1BH,0):EAX", leaf.eax, 1);
		check_equal("CPUID.(1BH,0):EBX, ECX or EDX is target 1",
			    leaf.ebx == TARGET_TME_MK || leaf.ecx == TARGET_TME_MK ||
				    leaf.edx == TARGET_TME_MK,
			    true);
	}
}

/*
 * 3: TARGETS= lists 2, 1 in sub-leaf 0, nothing in 1, and target 1 again in 2, which does not
 * count.
 */
static void row_3(void)
{
	struct cpuid leaf = cpuid(LEAF_PCONFIG, 0);

	check_equal("CPUID.(1BH,0):EAX", leaf.eax, 1);
	check_equal("CPUID.(1BH,0):EBX", leaf.ebx, 2);
	check_equal("CPUID.(1BH,0):ECX", leaf.ecx, 1);
	check_equal("CPUID.(1BH,0):EDX", leaf.edx, 0);
	check_equal("CPUID.(1BH,1):EAX", cpuid(LEAF_PCONFIG, 1).eax, 0);
	set_key(1, 1);
}

/* 4: without target 1 the instruction exists, but leaf 0 does not. */
static void row_4(void)
{
	struct key_program key;

	check_equal("CPUID.(1BH,0):EBX", cpuid(LEAF_PCONFIG, 0).ebx, 2);
	check_equal("CPUID.(1BH,0):ECX", cpuid(LEAF_PCONFIG, 0).ecx, 0);
	program(&key, 1, SET_KEY_DIRECT, algorithm(), 1);
	check_equal("PCONFIG leaf 0: vector", pconfig_key(&key).trap, VECTOR_GP);
}

/* 5: the highest KeyID is the one that follows from the profile. */
static void row_5(void)
{
	const struct profile *p = this_profile();
	struct key_program key;

	if (p == NULL) {
		return;
	}
	if (p->keyids != 0) {
		set_key(p->keyids, 2);
	}
	program(&key, p->keyids + 1, SET_KEY_DIRECT, algorithm(), 3);
	check_equal("the next one: vector", pconfig_key(&key).trap, VECTOR_GP);
}

static void locked_write(unsigned expected)
{
	uint64_t before = rdmsr(MSR_TME_ACTIVATE);
	const uint64_t tried[] = { 0, before, before ^ ACTIVATE_BYPASS, before | BIT(52) };

	for (size_t i = 0; i < ARRAY_COUNT(tried); i++) {
		print("  write %lx:\n", tried[i]);
		check_equal("  vector", try_wrmsr(MSR_TME_ACTIVATE, tried[i]), expected);
		check_equal("  value after", rdmsr(MSR_TME_ACTIVATE), before);
	}
}

/* 7: documents differ on a write to the locked MSR: LOCKED_WRITE=GP ... */
static void row_7_gp(void)
{
	locked_write(VECTOR_GP);
}

/* ... or LOCKED_WRITE=IGNORE. */
static void row_7_ignore(void)
{
	locked_write(NO_TRAP);
}

/* 8: values that IA32_TME_ACTIVATE refuses. */
static void row_8(void)
{
	static const struct {
		const char *what;
		uint64_t value;
	} tried[] = {
		{ "k = 7 of at most 6", LATE_ACTIVATE | BIT(32) },
		{ "k = 1 without enable", BIT(32) },
		{ "reserved bit 40", LATE_ACTIVATE | BIT(40) },
		{ "reserved bit 9", LATE_ACTIVATE | BIT(9) },
		{ "policy 1", LATE_ACTIVATE | 1 << 4 },
		{ "policy 3", LATE_ACTIVATE | 3 << 4 },
		{ "policy 5", LATE_ACTIVATE | 5 << 4 },
		{ "p = 7, k = 6", LATE_ACTIVATE | 7ull << 36 },
		{ "algorithm bit 49", LATE_ACTIVATE | BIT(49) },
		{ "algorithm bit 52", LATE_ACTIVATE | BIT(52) },
	};

	for (size_t i = 0; i < ARRAY_COUNT(tried); i++) {
		print("  %s, %lx:\n", tried[i].what, tried[i].value);
		check_equal("  vector", try_wrmsr(MSR_TME_ACTIVATE, tried[i].value), VECTOR_GP);
		check_equal("  error code", this_cpu()->caught.error, 0);
		check_equal("  MSR 982H", rdmsr(MSR_TME_ACTIVATE), 0);
	}
	check_equal("write to MSR 981H: vector", try_wrmsr(MSR_TME_CAPABILITY, 0), VECTOR_GP);
}

/* 9: turned off for good, and no PCONFIG afterwards. */
static void row_9(void)
{
	struct key_program key;

	check_equal("write 0: vector", try_wrmsr(MSR_TME_ACTIVATE, 0), NO_TRAP);
	check_equal("MSR 982H", rdmsr(MSR_TME_ACTIVATE), ACTIVATE_LOCK);
	program(&key, 1, SET_KEY_DIRECT, ALG_XTS_128, 1);
	check_equal("PCONFIG: vector", pconfig_key(&key).trap, VECTOR_GP);
	check_equal("  its error code", this_cpu()->caught.error, 0);
}

/* 10: with RNG_FAIL_N=2 no TME key can be made at the first two tries; row 11 makes the third. */
static void row_10(void)
{
	uint64_t before;

	check_equal("enable, k = 0: vector",
		    try_wrmsr(MSR_TME_ACTIVATE, ACTIVATE_ENABLE | ACTIVATE_BYPASS), NO_TRAP);
	before = rdmsr(MSR_TME_ACTIVATE);
	check_equal("MSR 982H bits 2:0", before & 7, 0);
	check_equal("enable, k = 6: vector", try_wrmsr(MSR_TME_ACTIVATE, LATE_ACTIVATE), NO_TRAP);
	check_equal("MSR 982H, not committed", rdmsr(MSR_TME_ACTIVATE), before);
}

static void core_activate(void *argument)
{
	wrmsr(MSR_CORE_ACTIVATE, 0);
}

/* In the order that a driver needs: empty the caches, enable with bypass, notify every core. */
static void activate_late(void)
{
	if (rdmsr(MSR_TME_ACTIVATE) & ACTIVATE_LOCK) {
		return;
	}
	wbinvd();
	check_equal("write 0001000680000002H: vector", try_wrmsr(MSR_TME_ACTIVATE, LATE_ACTIVATE),
		    NO_TRAP);
	core_activate(NULL);
	map_aliases();
}

/* 11: late activation keeps the content of DRAM, because KeyID 0 stays in clear. */
static void row_11(void)
{
	uint64_t at = test_page(2);
	uint8_t before[LINE_BYTES], now[LINE_BYTES];

	pattern(before, 11, LINE_BYTES);
	copy((void *)at, before, LINE_BYTES);
	evict_all();
	activate_late();
	check_equal("MSR 982H", rdmsr(MSR_TME_ACTIVATE), LATE_ACTIVATE | ACTIVATE_LOCK);
	copy(now, (void *)at, LINE_BYTES);
	check_bytes("memory", now, before, LINE_BYTES);
	bus_read(at, now, LINE_BYTES);
	check_bytes("DRAM", now, before, LINE_BYTES);
	set_key(1, 11);
	copy(alias(1, at), before, LINE_BYTES);
	clflush(alias(1, at), LINE_BYTES);
	bus_read(at, now, LINE_BYTES);
	check_garbage("DRAM after a write with KeyID 1", now, before, LINE_BYTES);
}

/* 12: without bypass in CAPABILITY (CAP=) the bit is reserved: there is no late activation. */
static void row_12(void)
{
	check_equal("MSR 981H bit 31", rdmsr(MSR_TME_CAPABILITY) >> 31 & 1, 0);
	check_equal("enable with bypass: vector", try_wrmsr(MSR_TME_ACTIVATE, LATE_ACTIVATE),
		    VECTOR_GP);
	check_equal("MSR 982H", rdmsr(MSR_TME_ACTIVATE), 0);
}

static void read_line(void *argument)
{
	uint64_t at = test_page(3);

	map_aliases();
	copy(argument, alias(1, at), LINE_BYTES);
}

/* 13 (STRICT_9FF=1): a core can use KeyIDs after MSR 9FFH was written there. */
static void row_13(void)
{
	uint8_t plain[LINE_BYTES], saw[LINE_BYTES];

	activate_late();
	set_key(1, 13);
	pattern(plain, 13, LINE_BYTES);
	copy(alias(1, test_page(3)), plain, LINE_BYTES);
	if (on_cpu1(core_activate, NULL) && on_cpu1(read_line, saw)) {
		check_bytes("KeyID 1 on CPU 1 after MSR 9FFH", saw, plain, LINE_BYTES);
	}
}

/* The same without MSR 9FFH: the machine stops, and nothing is printed after this line. */
static void row_13_abort(void)
{
	uint8_t saw[LINE_BYTES];

	activate_late();
	set_key(1, 13);
	print("  CPU 1 uses KeyID 1 without MSR 9FFH: the machine has to stop now\n");
	on_cpu1(read_line, saw);
	check_equal("machine stopped", false, true);
}

/* 14: MSR 9FFH accepts only 0, and exists only with TME-MK. */
static void row_14(void)
{
	bool keys = cpuid(7, 0).edx & CPUID_PCONFIG;
	uint64_t value;

	check_equal("write 1: vector", try_wrmsr(MSR_CORE_ACTIVATE, 1), VECTOR_GP);
	check_equal("write 2^32", try_wrmsr(MSR_CORE_ACTIVATE, BIT(32)), VECTOR_GP);
	check_equal("write 0", try_wrmsr(MSR_CORE_ACTIVATE, 0), keys ? NO_TRAP : VECTOR_GP);
	check_equal("read", try_rdmsr(MSR_CORE_ACTIVATE, &value), keys ? NO_TRAP : VECTOR_GP);
	if (keys) {
		check_equal("value", value, (uint64_t)keyid_bits() << 32);
	}
}

static uint64_t width_mask(void)
{
	return BIT(physical_bits()) - 1;
}

/* 15: the exclusion range is locked with MSR 982H ... */
static void row_15(void)
{
	uint64_t mask = rdmsr(MSR_TME_EXCLUDE_MASK), base = rdmsr(MSR_TME_EXCLUDE_BASE);
	uint64_t good = (width_mask() & ~0xffffffull) | EXCLUDE_ENABLE;

	check_equal("locked, mask: vector", try_wrmsr(MSR_TME_EXCLUDE_MASK, good), VECTOR_GP);
	check_equal("locked, base", try_wrmsr(MSR_TME_EXCLUDE_BASE, ARENA), VECTOR_GP);
	check_equal("MSR 983H", rdmsr(MSR_TME_EXCLUDE_MASK), mask);
	check_equal("MSR 984H", rdmsr(MSR_TME_EXCLUDE_BASE), base);
}

/* ... and before that accepts contiguous masks within the physical width. */
static void row_15_unlocked(void)
{
	uint64_t good = (width_mask() & ~0xffffffull) | EXCLUDE_ENABLE;
	unsigned m = physical_bits();

	check_equal("mask with a gap: vector", try_wrmsr(MSR_TME_EXCLUDE_MASK, good & ~BIT(30)),
		    VECTOR_GP);
	check_equal("mask bit m", try_wrmsr(MSR_TME_EXCLUDE_MASK, good | BIT(m)), VECTOR_GP);
	check_equal("mask bit 0", try_wrmsr(MSR_TME_EXCLUDE_MASK, good | 1), VECTOR_GP);
	check_equal("base bit m", try_wrmsr(MSR_TME_EXCLUDE_BASE, BIT(m)), VECTOR_GP);
	check_equal("base bit 11", try_wrmsr(MSR_TME_EXCLUDE_BASE, BIT(11)), VECTOR_GP);
	check_equal("MSR 983H", rdmsr(MSR_TME_EXCLUDE_MASK), 0);
	check_equal("MSR 984H", rdmsr(MSR_TME_EXCLUDE_BASE), 0);
	check_equal("good mask", try_wrmsr(MSR_TME_EXCLUDE_MASK, good), NO_TRAP);
	check_equal("good base", try_wrmsr(MSR_TME_EXCLUDE_BASE, ARENA), NO_TRAP);
	check_equal("MSR 983H", rdmsr(MSR_TME_EXCLUDE_MASK), good);
	check_equal("MSR 984H", rdmsr(MSR_TME_EXCLUDE_BASE), ARENA);
	wrmsr(MSR_TME_EXCLUDE_MASK, 0);
	wrmsr(MSR_TME_EXCLUDE_BASE, 0);
}

static uint64_t guest_rdmsr(uint64_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"((uint32_t)msr));
	return lo | (uint64_t)hi << 32;
}

static void guest_x2apic(uint64_t activate)
{
	struct vm vm = { .controls2 = CPU2_X2APIC, .msr_bitmap = true };
	struct exit exit;

	if (!vm_start(&vm)) {
		return;
	}
	exit = vm_run(guest_rdmsr, MSR_TME_ACTIVATE);
	check_equal("guest with a virtual x2APIC: exit reason", exit.reason, EXIT_VMCALL);
	check_equal("  it read MSR 982H", exit.rax, activate);
	vm_stop();
}

/* 41: MSR 982H does not belong to the x2APIC, neither here nor under "virtualize x2APIC mode". */
static void row_41(void)
{
	uint64_t activate = rdmsr(MSR_TME_ACTIVATE);

	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_ON);
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_X2);
	check_equal("x2APIC mode, MSR 802H (APIC ID)", msr_or_absent(0x802), 0);
	check_equal("MSR 982H", rdmsr(MSR_TME_ACTIVATE), activate);
	check_equal("MSR 981H is as before", msr_or_absent(MSR_TME_CAPABILITY) == ABSENT, false);
	guest_x2apic(activate);
}

const struct row msr_rows[] = {
	{ "profile", row_profile },
	{ "3", row_3 },
	{ "4", row_4 },
	{ "5", row_5 },
	{ "7-gp", row_7_gp },
	{ "7-ignore", row_7_ignore },
	{ "8", row_8 },
	{ "9", row_9 },
	{ "12", row_12 },
	{ "14", row_14 },
	{ "15", row_15 },
	{ "15-unlocked", row_15_unlocked },
	{ "10", row_10 },
	{ "11", row_11 },
	{ "13", row_13 },
	{ "13-abort", row_13_abort },
	{ "41", row_41 },
	{ NULL, NULL },
};
